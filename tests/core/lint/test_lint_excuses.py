"""Excuses in files: one rule, one line, until a day, with a reason."""

from __future__ import annotations

from datetime import date

import pytest

from everyhop.core.guidelines.registry import find
from everyhop.core.lint.judge import judge_file
from everyhop.core.lint.rule import File

GUIDELINE = find("mozilla-intermediate@6.0")
BAD = "proxy_pass http://10.0.0.5;"
GOOD_EXCUSE = "everyhop: allow nginx-upstream-plain until 2026-12-31 because it moves in December"


def found(text: str, path: str = "nginx.conf", today: date = date(2026, 11, 22)) -> list[tuple[str, bool]]:
    findings = judge_file(File(path, text), GUIDELINE, today=today)
    return [(one.rule, bool(one.excused)) for one in findings]


@pytest.mark.parametrize("text", [f"# {GOOD_EXCUSE}\n{BAD}", f"{BAD} # {GOOD_EXCUSE}"])
def test_an_excuse_holds_on_its_line_and_the_next_through_its_last_day(text: str) -> None:
    assert found(text) == [("nginx-upstream-plain", True)]
    assert found(text, today=date(2026, 12, 31)) == [("nginx-upstream-plain", True)]
    assert found(text, today=date(2027, 1, 1)) in (
        [("excuse-expired", False), ("nginx-upstream-plain", False)],
        [("nginx-upstream-plain", False), ("excuse-expired", False)],
    )


def test_an_excuse_two_lines_above_excuses_nothing() -> None:
    assert found(f"# {GOOD_EXCUSE}\n\n{BAD}") == [("excuse-unused", False), ("nginx-upstream-plain", False)]


@pytest.mark.parametrize(
    "comment",
    [
        "everyhop: allow",
        "everyhop: allow everything until 2026-12-31 because I can",
        "everyhop: allow nginx-upstream-plain",
        "everyhop: allow nginx-upstream-plain because of reasons",
        "everyhop: allow nginx-upstream-plain until 2026-12-31",
        "everyhop: allow nginx-upstream-plain until 2026-13-31 because of a slip",
    ],
)
def test_what_is_no_excuse_is_a_finding(comment: str) -> None:
    assert found(f"# {comment}\n{BAD}") == [("excuse-invalid", False), ("nginx-upstream-plain", False)]


def test_it_excuses_exactly_one_rule() -> None:
    text = f"# {GOOD_EXCUSE}\nssl_protocols TLSv1;"
    assert found(text) == [("excuse-unused", False), ("nginx-version-old", False)]


@pytest.mark.parametrize("opener", ["//", "/*", "*", ";", "--"])
def test_comments_of_other_languages(opener: str) -> None:
    excuse = GOOD_EXCUSE.replace("nginx-upstream-plain", "go-verification-off")
    end = " */" if "*" in opener else ""
    assert found(f"{opener} {excuse}{end}\nInsecureSkipVerify: true,\n", "a.go") == [("go-verification-off", True)]


def test_a_text_in_python_that_shows_an_excuse_is_none() -> None:
    assert found(f'HELP = """\n# {GOOD_EXCUSE}\n"""\n', "a.py") == []
    assert found(f"# {GOOD_EXCUSE}\nA = 1\n", "a.py") == [("excuse-unused", False)]


def test_prose_may_speak_about_excuses() -> None:
    assert found(f"# {GOOD_EXCUSE}\n", "a.md") == []
