"""YAML text to values with places: the core schema, the limits, and where everything stands."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everyhop.core import document
from everyhop.core.document import Position, parse, scalar
from everyhop.core.fault import FaultCode, describe, did_you_mean, written

TEXT = """\
everyhop: 1
services:
  web:
    calls: [api, {service: db}]
    "quoted key": 'x'
"""


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        ((), 1, 1),
        (("everyhop",), 1, 11),
        (("services", "web", "calls"), 4, 12),
        (("services", "web", "calls", 0), 4, 13),
        (("services", "web", "calls", 1, "service"), 4, 28),
        (("services", "web", "quoted key"), 5, 19),
    ],
)
def test_every_value_has_a_place(path: tuple[str | int, ...], line: int, column: int) -> None:
    assert parse(TEXT, file="f").locate(path) == Position(line, column)


def test_keys_have_places_and_missing_values_have_those_around_them() -> None:
    read = parse(TEXT, file="f")
    assert read.locate(("services", "web", "calls"), key=True) == Position(4, 5)
    assert read.locate(("services", "web", "listen"), key=True) == Position(3, 3)
    assert read.reach(("services", "web", "calls", 0, "service")) == ("services", "web", "calls", 0)
    assert read.at(("services", "web", "calls", 0, "service")) == "api"


def test_columns_count_characters_and_a_byte_order_mark_counts_nothing() -> None:
    read = parse("\ufeffä: {ö: [ü, x]}\n", file="f")
    assert read.value == {"ä": {"ö": ["ü", "x"]}}
    assert read.locate(("ä", "ö", 1)) == Position(1, 12)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("off", "off"),
        ("Yes", "Yes"),
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-5", -5),
        ("1.20", 1.2),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        ("9" * 5000, math.inf),
        ("2027-03-01", "2027-03-01"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("127.0.0.1", "127.0.0.1"),
        ("٣", "٣"),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_quoted_scalars_are_texts_and_keys_are_what_is_written() -> None:
    read = parse("a: '1'\nb: \"true\"\n1: |\n  2\nno: yes\n", file="f")
    assert read.value == {"a": "1", "b": "true", "1": "2\n", "no": "yes"}


def test_a_repeated_key_is_told_with_both_lines_and_the_first_one_counts() -> None:
    read = parse("a:\n  b: 1\n  c: 2\n  b: 3\n", file="f")
    assert read.value == {"a": {"b": 1, "c": 2}}
    (fault,) = read.faults
    assert (fault.line, fault.column, fault.path, fault.code) == (4, 3, "a.b", FaultCode.DUPLICATE)
    assert "line 2" in fault.hint


def test_an_alias_has_a_place_of_its_own() -> None:
    read = parse("a: &x {b: 1}\nc: *x\n", file="f")
    assert read.value == {"a": {"b": 1}, "c": {"b": 1}}
    assert read.locate(("c",)) == Position(2, 4)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x" * (document.MAX_BYTES + 1), FaultCode.LIMIT),
        ("ä" * (document.MAX_BYTES // 2 + 1), FaultCode.LIMIT),
        ("[" * 5000, FaultCode.LIMIT),
        ("- " * 5000, FaultCode.LIMIT),
        ("- x\n" * (document.MAX_VALUES + 1), FaultCode.LIMIT),
        ("a: &a [*a]", FaultCode.SYNTAX),
        ("a: *b", FaultCode.SYNTAX),
        ("? [a]\n: b", FaultCode.SYNTAX),
        ("*a : b", FaultCode.SYNTAX),
        ("a: \ud800", FaultCode.SYNTAX),
        ("a: \0", FaultCode.SYNTAX),
    ],
)
def test_what_cannot_be_read_ends_reading_with_one_fault(text: str, code: FaultCode) -> None:
    read = parse(text, file="f")
    assert not read.complete
    assert [fault.code for fault in read.faults] == [code]


def test_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30))]
    read = parse("\n".join(lines), file="f")
    assert [fault.code for fault in read.faults] == [FaultCode.LIMIT]


@settings(deadline=None, database=None, max_examples=200)
@given(st.one_of(st.text(), st.text(alphabet="ab:-[]{}&*!|>'\"#%@`, \n\t?~0.")))
def test_any_text_is_read_or_refused(text: str) -> None:
    read = parse(text, file="f")
    assert read.complete or read.faults
    for fault in read.faults:
        assert fault.line >= 1
        assert fault.column >= 1
        assert fault.expected
        assert fault.got
        assert fault.hint


@pytest.mark.parametrize(
    ("value", "path", "said"),
    [
        ("web", (), "'web'"),
        ("", (), "an empty text"),
        (None, (), "nothing"),
        (True, (), "true"),
        (8081, (), "8081"),
        ([1], (), "a list of 1 item"),
        ({}, (), "an empty mapping"),
        ("x" * 61, (), "a text of 61 characters"),
        ("hunter2", ("a", "db_password"), "a text of 7 characters (not shown)"),
        (1234, ("a", "apiKey"), "a number (not shown)"),
        ("x", ("services", "web", "run", "environment", "PATH"), "a text of 1 characters (not shown)"),
        ("x", ("services", "web", "run", "command", 0), "a text of 1 characters (not shown)"),
        ("demo!", ("environment",), "'demo!'"),
        ("127.0.0.1", ("services", "token-api", "listen"), "'127.0.0.1'"),
        ("-----BEGIN EC PRIVATE KEY-----", (), "a text of 30 characters (not shown)"),
        ("postgres://u:p@h/d", (), "a text of 18 characters (not shown)"),
        ("AKIA0123456789", (), "a text of 14 characters (not shown)"),
        ("0123456789abcdef01234567", (), "a text of 24 characters (not shown)"),
        ("aB3dE5fG7hI9jK1lM3nO", (), "a text of 20 characters (not shown)"),
    ],
)
def test_values_are_described_without_length_and_without_secrets(
    value: document.Plain, path: tuple[str | int, ...], said: str
) -> None:
    assert describe(value, path) == said


def test_paths_are_written_as_people_write_them() -> None:
    assert written(("services", "web", "calls", 0)) == "services.web.calls[0]"
    assert written(("edge", "hosts", "shop.localhost", "to")) == 'edge.hosts["shop.localhost"].to'
    assert written(("services", "x" * 100)) == "services[...]"


def test_hints_find_the_nearest_word() -> None:
    assert did_you_mean("listn", ["listen", "mesh"], otherwise="no") == "did you mean 'listen'?"
    assert did_you_mean("MODERN", ["modern"], otherwise="no") == "did you mean 'modern'?"
    assert did_you_mean("zebra", ["listen", "mesh"], otherwise="no") == "no"
    assert did_you_mean(12, ["listen"], otherwise="no") == "no"
