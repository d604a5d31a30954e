"""Commands of shells that leave the other side unverified.

Rules: an option counts only behind the program that it belongs to, in the same command. Patterns are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from everyhop.core.finding import Severity

_REST = r"(?:[^\n;|&]|\\\n){0,400}?"
_COMMANDS = (
    (rf"\bcurl\b{_REST}\s(?:--insecure|--proxy-insecure|-(?!-)[A-Za-z]{{0,20}}k[A-Za-z]{{0,20}})(?=[\s\"'\\,)\]]|\Z)",
     "curl to verify the server, got -k"),
    (rf"\bwget\b{_REST}\s--no-check-certificate\b", "wget to verify the server, got --no-check-certificate"),
    (rf"\b(?:http|https|httpie)\b{_REST}\s--verify[= ](?:no|false)\b", "httpie to verify the server, got --verify=no"),
    (rf"\bgit\b{_REST}http\.(?:\S{{0,100}}\.)?sslVerify[= ][\"']?(?:false|0)\b", "git to verify the server, got sslVerify=false"),
    (rf"\bnpm\b{_REST}strict-ssl[= ]false\b", "npm to verify the registry, got strict-ssl=false"),
    (rf"\byarn\b{_REST}strict-ssl[= ][\"']?false\b", "yarn to verify the registry, got strict-ssl=false"),
    (rf"\bpip[0-9.]{{0,5}}\b{_REST}--trusted-host\b", "pip to verify the index, got --trusted-host"),
    (rf"\b(?:kubectl|helm|oc)\b{_REST}--(?:kube-)?insecure-skip-tls-verify(?!=false)\b", "the API server to be verified, got a skip"),
    (rf"\b(?:skopeo|podman|buildah)\b{_REST}--(?:src-|dest-)?tls-verify=false\b", "the registry to be verified, got --tls-verify=false"),
    (r"Acquire::https?::(?:[\w.-]{1,100}::)?Verify-(?:Peer|Host)[= \"']{1,3}(?:false|0)", "apt to verify the server, got Verify-Peer false"),
    (rf"\bldap(?:search|modify|add)\b{_REST}\s-x\b{_REST}ldap://(?!localhost|127\.)", "ldaps to another host, got ldap"),
    (rf"\bapk\b{_REST}--allow-untrusted\b", "packages that are signed, got --allow-untrusted"),
)  # fmt: skip
_PATTERNS = tuple((re.compile(pattern), what) for pattern, what in _COMMANDS)
_OLD = re.compile(
    rf"\b(?:curl|wget)\b{_REST}\s(?:--tlsv1\.[01]|--sslv[23]|-[23]|--secure-protocol=(?:SSLv[23]|TLSv1(?:_1)?))(?=\s|\Z)"
)
_WORD = re.compile(
    r"\b(?:curl|wget|httpie?|https|git|npm|yarn|pip[0-9.]*|kubectl|helm|oc|skopeo|podman|buildah|ldap\w+|apk)\b|Acquire"
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command that should not be written so."""

    offset: int
    what: str
    statement: str
    severity: Severity | None = None


def unverified_commands(text: str) -> Iterator[Command]:
    """Every command in a text that switches verification off."""
    if not _WORD.search(text):
        return
    for pattern, what in _PATTERNS:
        for found in pattern.finditer(text):
            yield Command(found.start(), found[0].split()[0], f"expected {what}")


def old_commands(text: str) -> Iterator[Command]:
    """Every command in a text that asks for an old version of TLS."""
    for found in _OLD.finditer(text):
        yield Command(found.start(), found[0].split()[0], f"expected TLS 1.2 or newer, got {found[0].split()[-1]}")
