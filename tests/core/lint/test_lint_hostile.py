"""Whatever a file holds: an answer, no exception, and time that grows with its length and not faster."""

from __future__ import annotations

import resource
import string
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everyhop.core.guidelines.registry import find
from everyhop.core.lint.judge import judge_file
from everyhop.core.lint.languages import LANGUAGES, SECRETS
from everyhop.core.lint.rule import File, Language, Unreadable

INTERMEDIATE = find("mozilla-intermediate@6.0")
TODAY = date(2026, 11, 22)
EVERY = (*LANGUAGES, SECRETS)
WORDS = sorted({word for language in EVERY for rule in language.rules for word in (rule.bad + rule.good).split(" ")})
PIECES = st.one_of(
    st.sampled_from(
        [*WORDS, "{", "}", ";", "\n", '"', "'", "\\", "#", "//", "/*", "*/", "<", ">", "</", "---\n", "${", "&a", "*a"]
    ),
    st.text(alphabet=string.printable, max_size=12),
    st.text(max_size=4),
)
TEXTS = st.lists(PIECES, max_size=60).map(" ".join)


def look(language: Language[Any], text: str) -> None:
    """Ask everything of a text, whatever its kind would have been."""
    file = File(language.example, text, 0o644, tracked=True)
    for finding in (*language.look(file, INTERMEDIATE), *judge_file(file, INTERMEDIATE, today=TODAY)):
        assert finding.statement
        assert "\n" not in finding.evidence


@pytest.mark.parametrize("language", EVERY, ids=lambda language: language.name)
def test_nothing_raises(language: Language[Any]) -> None:
    @settings(max_examples=150, deadline=None)
    @given(TEXTS)
    def check(text: str) -> None:
        look(language, text)

    check()


@pytest.mark.parametrize("language", EVERY, ids=lambda language: language.name)
def test_parsers_answer_or_say_why_not(language: Language[Any]) -> None:
    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=200))
    def check(text: str) -> None:
        with suppress(Unreadable):
            language.parse(File(language.example, text))

    check()


LONG: dict[str, Callable[[int], str]] = {
    "braces": lambda n: "a {" * n,
    "closed": lambda n: "a { } " * n,
    "quotes": lambda n: '"' * n,
    "backslashes": lambda n: "\\" * n,
    "sections": lambda n: "<a>\n" * n,
    "brackets": lambda n: "[" * n,
    "passes": lambda n: "server {" + "proxy_pass https://a; proxy_ssl on; fastcgi_pass a:1; " * (n // 6) + "}",
    "servers": lambda n: "backend a\n" + " server a 10.0.0.1:1 ssl\n" * n,
    "locations": lambda n: "listen 443 ssl; location / { proxy_pass http://a; }\n" * n,
    "hosts": lambda n: "<VirtualHost *:443>\nSSLEngine on\nProxyPass / https://a/\n</VirtualHost>\n" * n,
    "documents": lambda n: "---\na: b\n" * n,
    "aliases": lambda n: "a: &a [1, 2]\n" + "b: *a\n" * n,
    "comments": lambda n: "/* " * n + "// " * n,
    "addresses": lambda n: "redis://" * n,
    "users": lambda n: "redis://" + "a:" * n,
    "keys": lambda n: "-----BEGIN PRIVATE KEY-----\n" * n,
    "heads": lambda n: "-----BEGIN PRIVATE KEY-----" + "\nA-b: c" * n,
    "curls": lambda n: "curl " * n + "-k",
    "switches": lambda n: "git " + "http.sslVerify http. " * n,
    "blanks": lambda n: "checkServerTrusted(" + " " * n,
    "excuses": lambda n: "# everyhop: allow nginx-no-redirect until 2026-12-31 because of it\n" * n,
    "calls": lambda n: "a(" * n,
    "sums": lambda n: "+".join("a" * (n // 2)),
    "assignments": lambda n: "A=1 " * n,
}


def seconds(action: Callable[[], object]) -> float:
    """CPU time, which other processes do not lengthen."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    action()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("shape", LONG)
def test_time_is_linear_in_the_text(shape: str) -> None:
    """Eight times the text may take twenty times the time, never sixty-four."""
    for language in EVERY:
        short, long = LONG[shape](1500), LONG[shape](12_000)
        spent = seconds(lambda language=language, long=long: look(language, long))
        if spent > 0.4:
            base = min(seconds(lambda language=language, short=short: look(language, short)) for _ in range(2))
            assert spent < 20 * base + 0.3, f"{language.name}: {base:.3f} s, then {spent:.3f} s"
