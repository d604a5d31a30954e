"""Commands of shells that leave the other side unverified.

Rules: an option counts only behind the program that it belongs to, in the same command and not too far from it. Options
are looked for first, so that the time is linear in the text whatever stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from everyhop.core.finding import Severity

_REACH = 400
"""Characters between a program and its option."""
_BORDER = re.compile(r"(?<!\\)\n|[;|&]")
_END = r"(?=[\s\"'\\,;)\]]|\Z)"


@dataclass(frozen=True, slots=True)
class Command:
    """A command that should not be written so."""

    offset: int
    what: str
    """The program's name."""
    statement: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class _Switch:
    """An option, the programs that it belongs to, and what should be instead."""

    option: re.Pattern[str]
    programs: re.Pattern[str]
    expected: str

    def find(self, text: str) -> Iterator[Command]:
        for found in self.option.finditer(text):
            window = text[max(0, found.start() - _REACH) : found.start()]
            begin = max((border.end() for border in _BORDER.finditer(window)), default=0)
            program = self.programs.search(window, begin)
            if program:
                offset = found.start() - len(window) + program.start()
                yield Command(offset, program[0], f"expected {self.expected}, got {found[0].strip()}")


def _switch(programs: str, option: str, expected: str) -> _Switch:
    return _Switch(re.compile(option), re.compile(rf"(?<![\w.-])(?:{programs})(?![\w-])"), expected)


_UNVERIFIED = (
    _switch(
        "curl",
        rf"(?<=[\s\"'])(?:--(?:proxy-)?insecure|-[A-Za-jl-z]{{0,20}}k[A-Za-z]{{0,20}}){_END}",
        "a verified server",
    ),
    _switch("wget", r"--no-check-certificate\b", "a verified server"),
    _switch("https?|httpie", r"--verify[= ](?:no|false)\b", "a verified server"),
    _switch("git", r"\bsslVerify[= ][\"']?(?:false|0)\b", "a verified server"),
    _switch("npm|yarn|pnpm", r"\bstrict-ssl[= ][\"']?false\b", "a verified registry"),
    _switch(r"pip[0-9.]{0,5}|uv", r"--(?:trusted-host|allow-insecure-host)\b", "a verified index"),
    _switch("kubectl|helm|oc", r"--(?:kube-)?insecure-skip-tls-verify\b(?!=false)", "a verified API server"),
    _switch("skopeo|podman|buildah", r"--(?:src-|dest-)?tls-verify=false\b", "a verified registry"),
    _switch("apt|apt-get|echo|printf", r"\bVerify-(?:Peer|Host)[= \"']{1,3}(?:false|0)", "a verified mirror"),
)
_OLD = _switch(
    "curl|wget",
    rf"(?<=\s)(?:--tlsv1\.[01]|--sslv[23]|--secure-protocol=(?:SSLv[23]|TLSv1(?:_1)?)){_END}",
    "TLS 1.2 or newer",
)


def unverified_commands(text: str) -> Iterator[Command]:
    """Every command in a text that switches verification off."""
    for switch in _UNVERIFIED:
        yield from switch.find(text)


def old_commands(text: str) -> Iterator[Command]:
    """Every command in a text that asks for an old version of TLS."""
    return _OLD.find(text)
