"""Seal texts and signed notes: one spelling each, read strictly, and nothing else is ever taken for one."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everyhop.core.evidence.note import (
    SealText,
    SignedNote,
    digest_of,
    key_id_of,
    origin_of,
    read_note,
    read_text,
)
from everyhop.core.observation import Stream

AT = datetime(2026, 11, 22, 20, 40, 0, 123456, tzinfo=UTC)
TEXT = """\
everyhop/shop.internal/demo/record
60
AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=
seal 12
observations 661-720
previous AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=
at 2026-11-22T20:40:00.123456+00:00
"""
SEAL = SealText("everyhop/shop.internal/demo/record", 12, 661, 720, b"\x01" * 32, b"\x02" * 32, AT)


def test_the_text_is_a_checkpoint_with_extension_lines() -> None:
    assert SEAL.text() == TEXT
    assert read_text(TEXT) == SEAL
    assert SEAL.stream is Stream.RECORD
    assert origin_of("shop.internal", "demo", Stream.RECORD) == SEAL.origin


def test_the_first_seal_names_none_before_it() -> None:
    first = SealText(SEAL.origin, 1, 1, 3, SEAL.root, b"", AT)
    assert "previous none\n" in first.text()
    assert read_text(first.text()) == first


def test_a_note_is_laid_out_as_c2sp_says() -> None:
    note = SignedNote(SEAL, key_id_of(b"a key"), b"a signature").to_bytes()
    text, signature = note.decode().split("\n\n")
    assert text + "\n" == TEXT
    assert signature.startswith("— everyhop/shop.internal/demo/record ")
    assert signature.endswith("\n")
    read = read_note(note)
    assert (read.seal, read.key_id, read.signature) == (SEAL, key_id_of(b"a key"), b"a signature")
    assert key_id_of(b"a key") == hashlib.sha256(b"a key").digest()[:4]
    assert digest_of(note) == hashlib.sha256(note).digest()


moments = st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))
numbers = st.integers(1, 10**17)


@given(numbers, numbers, numbers, st.binary(min_size=32, max_size=32), moments, st.sampled_from(Stream))
def test_whatever_is_sealed_is_read_back(
    number: int, first: int, more: int, root: bytes, at: datetime, on: Stream
) -> None:
    seal = SealText(origin_of("a.b", "E_1", on), number, first, first + more, root, root[::-1], at)
    note = SignedNote(seal, b"1234", b"x" * 70)
    assert read_note(note.to_bytes()) == note


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("60\n", "060\n"),
        ("60\n", "61\n"),
        ("seal 12", "seal  12"),
        ("seal 12", "seal +12"),
        ("661-720", "661–720"),
        ("661-720", "661-719"),
        ("AQE=", "AQF="),
        ("AQE=", "AQE"),
        (".123456+00:00", ".123456Z"),
        (".123456+00:00", ".123456"),
        ("T20:40:00.123456+00:00", "T21:40:00.123456+01:00"),
        ("everyhop/", "Everyhop/"),
        ("/record", "/other"),
        ("previous", "\nprevious"),
        ("at 2026", "more\nat 2026"),
        ("60\n", "６０\n"),
    ],
)
def test_another_spelling_is_refused(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(ValueError):
        read_text(TEXT.replace(old, new, 1))


@given(st.data())
def test_no_byte_of_a_note_can_be_changed_without_a_trace(data: st.DataObject) -> None:
    """It is refused, or it says something else, or it carries another signature."""
    note = SignedNote(SEAL, b"1234", bytes(range(70)))
    changed = bytearray(note.to_bytes())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert read_note(bytes(changed)) != note
    except ValueError:
        pass


@given(st.binary(max_size=400))
def test_bytes_of_strangers_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        read_note(content)


def test_a_note_has_one_signature_line() -> None:
    note = SignedNote(SEAL, b"1234", b"x" * 70).to_bytes()
    for other in (note + note.split(b"\n\n")[1], note[:-1], note.replace("—".encode(), b"-"), note + b"\n"):
        with pytest.raises(ValueError):
            read_note(other)
