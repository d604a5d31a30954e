"""Places in a text, and texts without their comments.

Rules: everything is linear in the length of the text. What is blanked keeps its length and its lines, so that an
offset means the same before and after.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from everyhop.core.lint.rule import Place

MAX_EVIDENCE = 120
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_USERINFO = re.compile(r"(\w://)[^\s/@'\"]{1,200}@")
_SECRET = re.compile(r"(?i)((?:password|passwd|secret|token|api_?key)[\"']?\s*[=:]\s*)[^\s,;)&]{1,200}")

_C_LIKE = re.compile(
    r"""//[^\n]*|/\*(?:[^*]|\*(?!/))*+(?:\*/)?|"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?|`(?:[^`\\]|\\.)*+`?""",
    re.DOTALL,
)
_HASH_LIKE = re.compile(r"""(?:^|(?<=[\s;]))\#[^\n]*|"(?:[^"\\]|\\.)*+"?|'[^']*+'?|\\.""", re.DOTALL | re.MULTILINE)
_NOT_LINE_END = re.compile(r"[^\n]")


class Lines:
    """Turns offsets into places."""

    __slots__ = ("_starts",)

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def place(self, offset: int) -> Place:
        """The line and column of an offset."""
        line = bisect_right(self._starts, offset)
        return Place(line, offset - self._starts[line - 1] + 1)


def evidence(text: str) -> str:
    """A file's words in one short line that holds no password and no control character."""
    line = " ".join(_CONTROL.sub(" ", text).split())
    line = _SECRET.sub(r"\1…", _USERINFO.sub(r"\1…@", line))
    return line if len(line) <= MAX_EVIDENCE else f"{line[: MAX_EVIDENCE - 1]}…"


def without_c_comments(text: str) -> str:
    """The text of a C-like language (Go, Java, JavaScript), comments blanked and strings kept."""
    return _C_LIKE.sub(lambda found: _blank(found[0]) if found[0][0] == "/" else found[0], text)


def without_hash_comments(text: str) -> str:
    """The text of a shell-like language, comments blanked and strings kept."""
    return _HASH_LIKE.sub(lambda found: _blank(found[0]) if found[0][0] == "#" else found[0], text)


def _blank(text: str) -> str:
    return _NOT_LINE_END.sub(" ", text)
