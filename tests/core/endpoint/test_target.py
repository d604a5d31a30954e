"""Targets as people write them: what is written carelessly is refused with a sentence, and never guessed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everyhop.core.endpoint.target import Target, Wire


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("shop.example.org", "shop.example.org", 443),
        ("shop.example.org.:8443", "shop.example.org.", 8443),
        (" localhost:5432 ", "localhost", 5432),
        ("_sip.example.org:5061", "_sip.example.org", 5061),
        ("bücher.example", "bücher.example", 443),
        ("192.0.2.1:6379", "192.0.2.1", 6379),
        ("2001:db8::1", "2001:db8::1", 443),
        ("::1", "::1", 443),
        ("[2001:db8::1]", "2001:db8::1", 443),
        ("[fe80::1%eth0]:5432", "fe80::1%eth0", 5432),
        ("postgres://db.internal/orders", "db.internal", 5432),
        ("https://[::1]:8443/", "::1", 8443),
    ],
)
def test_what_is_written_well_is_read(text: str, host: str, port: int) -> None:
    target = Target.parse(text)
    assert (target.host, target.port) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":443",
        "[::1",
        "[::1]443",
        "[::1]x:443",
        "[192.0.2.1]:443",
        "[]:443",
        "[shop.test]:443",
        "1.2.3.4:443:5",
        "shop.test:443:5",
        "::1::2",
        "shop]:443",
        "a..b",
        ".a",
        "-x",
        "x-.test",
        "--json",
        "1.2.3",
        "999.1.1.1",
        "300:443",
        "a b",
        "a\x9bb",
        "a\u202eb",
        "a?b",
        "shop.test:",
        "shop.test:0",
        "shop.test:65536",
        "shop.test:" + "9" * 5000,
        "shop.test:\u0663",
        "a" * 64 + ".test",
        "a." * 130,
        "gopher://shop.test",
        "https://",
        "https:///path",
    ],
)
def test_what_is_written_carelessly_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected .*, got "):
        Target.parse(text)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="no password") as refused:
        Target.parse("postgres://shop:s3cret@db.internal")
    assert "s3cret" not in str(refused.value)


def test_what_is_registered_is_known() -> None:
    assert Target.parse("db.test:5432").wire is Wire.POSTGRESQL
    assert Target.parse("shop.test:8444").wire is None


@given(st.text(alphabet="a1.-:[]/@% \x9b", max_size=30) | st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        target = Target.parse(text)
        assert Target.parse(str(target)).host == target.host
        assert str(target).isprintable()
