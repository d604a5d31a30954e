"""What goes wrong in HAProxy's configuration.

Rules: what ``default-server`` and ``ssl-default-server-options`` say holds for every server after them. In mode tcp a
server on a port that is TLS by itself is taken as a pass-through, which is no plaintext hop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from everyhop.core.finding import Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.certificates import is_self_signed, says_renewal
from everyhop.core.lint.ciphers import judge_list, least, old_versions, too_low
from everyhop.core.lint.haproxy_config import HaproxyConfig, Line, Section, parse_haproxy
from everyhop.core.lint.hops import is_local, is_variable
from everyhop.core.lint.reasons import (
    NAME_UNCHECKED,
    NO_HSTS,
    NO_HSTS_SOURCE,
    NO_REDIRECT,
    NO_REDIRECT_SOURCE,
    OLD_VERSION,
    OLD_VERSION_SOURCE,
    PLAIN_HOP,
    PLAIN_HOP_SOURCE,
    SELF_SIGNED,
    SELF_SIGNED_REMEDY,
    SELF_SIGNED_SOURCE,
    UNMANAGED,
    UNMANAGED_REMEDY,
    UNMANAGED_SOURCE,
    UNVERIFIED,
    WEAK_SUITE,
    WEAK_SUITE_SOURCE,
)
from everyhop.core.lint.rule import File, Hit, Language, Rule
from everyhop.core.lint.text import evidence

_ADDRESS = re.compile(
    r"(?:ipv[46]@|tcp[46]?@)?(?P<host>\[[^\]]*\]|[^:]*|(?:[0-9a-f]*:){2,7}[0-9a-f]*)(?::(?P<port>\d+))?\Z"
)
_TLS_PORTS = frozenset(("443", "8443", "636", "853", "465", "993", "995", "5671", "6443", "6514", "8883"))
_LOWEST = ("ssl-min-ver",)
_FORCED = {"force-sslv3": "SSLv3", "force-tlsv10": "TLSv1.0", "force-tlsv11": "TLSv1.1"}
_MANUAL = "HAProxy manual, 5.2"
_LOOKS = re.compile(r"^(?:frontend|backend|listen|defaults|global)\b", re.MULTILINE)
_PROOF = re.compile(
    r"^\s{0,40}(?:bind|server|option\s{1,9}\w{1,30}|mode\s{1,9}(?:http|tcp)|ssl-default-\S{1,40})\s?", re.MULTILINE
)


def _reads(file: File) -> bool:
    if not file.path.endswith((".cfg", ".conf", ".haproxy")):
        return False
    return _LOOKS.search(file.text) is not None and _PROOF.search(file.text) is not None


def _said(one: Line) -> str:
    return evidence(one.text)


# --- versions and suites ------------------------------------------------------------------------------------------


def _versions(config: HaproxyConfig, guideline: Guideline) -> Iterator[Hit]:
    for one in config.lines():
        named = [value for word in _LOWEST if (value := one.after(word)) and too_low(value, guideline)]
        forced = old_versions((_FORCED[word] for word in one.words if word in _FORCED), guideline)
        if named or forced:
            yield Hit(one.place, f"expected {least(guideline)} or newer, got {', '.join(named + forced)}", _said(one))


def _ciphers(config: HaproxyConfig, guideline: Guideline) -> Iterator[Hit]:
    for one in config.lines():
        whole = one.keyword in ("ssl-default-bind-ciphers", "ssl-default-server-ciphers")
        ciphers = " ".join(one.words) if whole else one.after("ciphers") if one.keyword in _SPEAKERS else None
        if not ciphers:
            continue
        judgement = judge_list(ciphers, guideline)
        if judgement.broken:
            yield Hit(one.place, f"expected sound suites only, got {', '.join(judgement.broken)}", _said(one))
        elif judgement.beyond:
            words = ", ".join(judgement.beyond[:4])
            yield Hit(one.place, f"expected suites that {guideline} permits, got {words}", _said(one), Severity.LOW)


_SPEAKERS = frozenset(("bind", "server", "default-server", "server-template"))


# --- servers ------------------------------------------------------------------------------------------------------


def _servers(config: HaproxyConfig) -> Iterator[tuple[Line, str, str, tuple[str, ...]]]:
    """Every server on another host: its line, host, port, and all words that hold for it."""
    for section in config.of("backend", "listen"):
        base = section.last("default-server")
        for one in section.lines:
            if one.keyword == "default-server":
                base = one
            if one.keyword not in ("server", "server-template"):
                continue
            index = 1 if one.keyword == "server" else 2
            found = _ADDRESS.match(one.words[index]) if len(one.words) > index else None
            if found is None or is_local(found["host"]):
                continue
            inherited = base.words if base and "no-ssl" not in one.words else ()
            yield one, found["host"], found["port"] or "", (*one.words[index + 1 :], *inherited)


def _encrypts(words: tuple[str, ...]) -> bool:
    return "ssl" in words


def _plain(config: HaproxyConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    through = {id(section) for section in config.of("backend", "listen") if section.mode == "tcp"}
    for one, host, port, words in _servers(config):
        if _encrypts(words) or (id(one.section) in through and port in _TLS_PORTS):
            continue
        if not is_variable(host):
            yield Hit(one.place, f"expected ssl towards {host}, which is another host, got plaintext", _said(one))


def _unverified(config: HaproxyConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    everywhere = config.option("ssl-server-verify")
    if everywhere and everywhere.words[:1] == ("none",):
        yield Hit(
            everywhere.place, "expected ssl-server-verify required, got none: no server is verified", _said(everywhere)
        )
    for one, host, _, words in _servers(config):
        if _encrypts(words) and _after(words, "verify") == "none":
            yield Hit(one.place, f"expected verify required towards {host}, got none: anybody can be it", _said(one))


def _after(words: tuple[str, ...], word: str) -> str:
    index = words.index(word) + 1 if word in words else len(words)
    return words[index] if index < len(words) else ""


def _name_unchecked(config: HaproxyConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one, host, _, words in _servers(config):
        verified = _encrypts(words) and _after(words, "verify") != "none" and "ca-file" in words
        if verified and not {"verifyhost", "sni"} & set(words):
            statement = (
                f"expected verifyhost or sni towards {host}, got neither: any certificate of the authority will do"
            )
            yield Hit(one.place, statement, _said(one))


def _client(config: HaproxyConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in config.lines():
        if one.keyword == "bind" and one.after("verify") == "optional" and "ssl_c_" not in config.text:
            yield Hit(one.place, "expected verify required, got optional, and nothing looks at who came", _said(one))


# --- certificates -------------------------------------------------------------------------------------------------


def _self_signed(config: HaproxyConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in config.lines():
        path = one.after("crt") if one.keyword == "bind" else None
        if path and is_self_signed(path):
            yield Hit(one.place, "expected a certificate that somebody vouches for, got a self-signed one", _said(one))


def _unmanaged(config: HaproxyConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    if says_renewal(config.text):
        return
    for one in config.lines():
        path = one.after("crt") if one.keyword == "bind" else None
        if path and not is_self_signed(path):
            yield Hit(one.place, "expected a sign of what renews this certificate, got a file's path only", _said(one))
            return


# --- the edge -----------------------------------------------------------------------------------------------------


def _fronts(config: HaproxyConfig) -> Iterator[Section]:
    return (section for section in config.of("frontend", "listen") if section.mode == "http")


def _binds(section: Section, *, tls: bool) -> list[Line]:
    found: list[Line] = []
    for one in section.all("bind"):
        address = one.words[0] if one.words else ""
        host = address.rpartition(":")[0]
        outside = not address.startswith(("unix@", "/", "abns@", "fd@")) and not (
            host and is_local(host) and host not in ("0.0.0.0", "::", "[::]")  # noqa: S104  # read, not bound
        )
        if outside and ("ssl" in one.words) is tls:
            found.append(one)
    return found


def _says(section: Section, *words: str) -> bool:
    return any(all(word in line.text.lower() for word in words) for line in section.lines)


def _hsts(config: HaproxyConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    if any(_says(section, "strict-transport-security") for section in config.of("backend", "listen", "defaults")):
        return
    for section in _fronts(config):
        binds = _binds(section, tls=True)
        if binds and not _says(section, "strict-transport-security"):
            yield Hit(
                binds[0].place,
                "expected Strict-Transport-Security with every answer over TLS, got none",
                _said(binds[0]),
            )


def _no_redirect(config: HaproxyConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for section in _fronts(config):
        binds = _binds(section, tls=False)
        sends_away = _says(section, "redirect", "scheme https") or _says(section, "redirect", "https://")
        if binds and not sends_away and not _is_own_page(section):
            yield Hit(binds[0].place, "expected a redirect to https from a plaintext port, got none", _said(binds[0]))


def _is_own_page(section: Section) -> bool:
    """True for a listener of HAProxy's own numbers, which serves nobody else's pages."""
    return _says(section, "prometheus-exporter") or (
        bool(section.all("stats")) and not section.all("server", "default_backend", "use_backend")
    )


_GOOD = """\
global
    ssl-default-bind-options ssl-min-ver TLSv1.2
    ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256
defaults
    mode http
frontend plain
    bind :80
    http-request redirect scheme https code 301
frontend edge
    bind :443 ssl crt /etc/everyhop/edge.pem
    http-response set-header Strict-Transport-Security max-age=63072000
    default_backend api
backend api
    server api api.internal:8443 ssl verify required ca-file /etc/everyhop/bundle.pem verifyhost api.internal
"""
_HEAD = "defaults\n    mode http\n"

RULES: tuple[Rule[HaproxyConfig], ...] = (
    Rule(
        "haproxy-version-old",
        Severity.HIGH,
        OLD_VERSION_SOURCE,
        OLD_VERSION,
        "write `ssl-default-bind-options ssl-min-ver TLSv1.2` in the global section, and take the others out",
        bad="global\n    ssl-default-bind-options ssl-min-ver TLSv1.0\n",
        good=_GOOD,
        check=_versions,
    ),
    Rule(
        "haproxy-cipher-weak",
        Severity.HIGH,
        WEAK_SUITE_SOURCE,
        WEAK_SUITE,
        "set the ciphers to the guideline's list; `everyhop profiles NAME` prints it",
        bad="global\n    ssl-default-bind-ciphers ALL\n",
        good=_GOOD,
        check=_ciphers,
    ),
    Rule(
        "haproxy-upstream-plain",
        Severity.HIGH,
        PLAIN_HOP_SOURCE,
        PLAIN_HOP,
        "add `ssl verify required ca-file FILE verifyhost NAME`, or put a sidecar on loopback in between",
        bad=f"{_HEAD}backend api\n    server api 10.0.0.5:8080 check\n",
        good=_GOOD,
        check=_plain,
    ),
    Rule(
        "haproxy-upstream-unverified",
        Severity.HIGH,
        f"{_MANUAL}: verify; RFC 9525, 6",
        UNVERIFIED,
        "write `verify required ca-file FILE verifyhost NAME`",
        bad=f"{_HEAD}backend api\n    server api 10.0.0.5:8443 ssl verify none\n",
        good=_GOOD,
        check=_unverified,
    ),
    Rule(
        "haproxy-upstream-name-unchecked",
        Severity.MEDIUM,
        f"{_MANUAL}: verifyhost; RFC 9525, 6",
        NAME_UNCHECKED,
        "add `verifyhost NAME`, or `sni str(NAME)`, which is then verified, too",
        bad=f"{_HEAD}backend api\n    server api 10.0.0.5:8443 ssl verify required ca-file /etc/ca.pem\n",
        good=_GOOD,
        check=_name_unchecked,
    ),
    Rule(
        "haproxy-client-optional",
        Severity.MEDIUM,
        "HAProxy manual, 5.1: verify",
        "a client certificate that may be missing keeps nobody out",
        "write `verify required`, or deny where `ssl_c_used` is not set",
        bad="frontend api\n    bind :8443 ssl crt /etc/everyhop/api.pem verify optional ca-file /etc/ca.pem\n",
        good=_GOOD,
        check=_client,
    ),
    Rule(
        "haproxy-certificate-self-signed",
        Severity.MEDIUM,
        SELF_SIGNED_SOURCE,
        SELF_SIGNED,
        SELF_SIGNED_REMEDY,
        bad="frontend edge\n    bind :443 ssl crt /etc/ssl/snakeoil.pem\n",
        good=_GOOD,
        check=_self_signed,
    ),
    Rule(
        "haproxy-certificate-unmanaged",
        Severity.LOW,
        UNMANAGED_SOURCE,
        UNMANAGED,
        UNMANAGED_REMEDY,
        bad="frontend edge\n    bind :443 ssl crt /etc/haproxy/shop.pem\n",
        good=_GOOD,
        check=_unmanaged,
    ),
    Rule(
        "haproxy-hsts-missing",
        Severity.MEDIUM,
        NO_HSTS_SOURCE,
        NO_HSTS,
        "add `http-response set-header Strict-Transport-Security max-age=63072000` to the frontend",
        bad=f"{_HEAD}frontend edge\n    bind :443 ssl crt /etc/everyhop/shop.pem\n",
        good=_GOOD,
        check=_hsts,
    ),
    Rule(
        "haproxy-no-redirect",
        Severity.MEDIUM,
        NO_REDIRECT_SOURCE,
        NO_REDIRECT,
        "add `http-request redirect scheme https code 301` to the frontend on port 80",
        bad=f"{_HEAD}frontend plain\n    bind :80\n    default_backend shop\n",
        good=_GOOD,
        check=_no_redirect,
    ),
)

HAPROXY: Language[HaproxyConfig] = Language(
    "HAProxy configuration", "haproxy.cfg", _reads, lambda file: parse_haproxy(file.text), RULES
)
