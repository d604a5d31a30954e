"""What goes wrong in nginx's configuration.

Rules: nginx's defaults count as what they are: upstreams are not verified (``proxy_ssl_verify`` is off), and headers of
a server are dropped where a location adds its own. Where an include may say more, what is missing is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from everyhop.core.finding import Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.certificates import is_self_signed, says_renewal
from everyhop.core.lint.ciphers import judge_list, least, old_versions
from everyhop.core.lint.hops import is_local, is_variable
from everyhop.core.lint.nginx_config import Directive, NginxConfig, parse_nginx
from everyhop.core.lint.reasons import (
    KEY_LOG,
    KEY_LOG_SOURCE,
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
    WEAK_SUITE,
    WEAK_SUITE_SOURCE,
)
from everyhop.core.lint.rule import File, Hit, Language, Rule
from everyhop.core.lint.text import evidence
from everyhop.core.verdict import Verdict

_PASS = re.compile(r"(?P<scheme>https?|grpcs?)://(?P<host>\[[^\]]*\]|[^:/\s]*)", re.IGNORECASE)
_BARE = re.compile(r"(?P<host>\[[^\]]*\]|[^:/\s]+)(?::(?P<port>[0-9]+))?")
_TLS_PORTS = frozenset(("443", "8443", "636", "853", "465", "993", "995", "5671", "6514", "8883"))
_REDIRECTS = frozenset(("301", "302", "303", "307", "308"))
_MANUAL = "nginx.org, ngx_http_proxy_module"


def _reads(file: File) -> bool:
    if not file.path.endswith((".conf", ".nginx", ".vhost")) and "/sites-" not in file.path:
        return False
    named = "nginx" in file.path.rpartition("/")[2].lower() or "/nginx/" in file.path
    return named or _LOOKS.search(file.text) is not None


_LOOKS = re.compile(
    r"^\s{0,80}(?:(?:server|http|stream|events)\s{0,9}\{|upstream\s{1,9}\S{1,80}\s{0,9}\{|location\s[^\n]{1,200}\{|"
    r"(?:ssl_protocols|ssl_certificate|proxy_pass|ssl_ciphers|add_header)\s[^\n]{1,400};)",
    re.MULTILINE,
)


def _said(one: Directive) -> str:
    return evidence(f"{one.name} {one.text}")


def _missing(one: Directive, statement: str, *, severity: Severity | None = None) -> Hit:
    """What is not there: a failure, or unknown if an included file may have it."""
    if one.open_ended():
        return Hit(one.place, f"{statement} here; an included file may say more", _said(one), severity, Verdict.UNKNOWN)
    return Hit(one.place, statement, _said(one), severity)


# --- versions and suites ------------------------------------------------------------------------------------------


def _versions(config: NginxConfig, guideline: Guideline) -> Iterator[Hit]:
    for one in config.all("ssl_protocols", "proxy_ssl_protocols", "grpc_ssl_protocols"):
        if old := old_versions(one.words, guideline):
            yield Hit(one.place, f"expected {least(guideline)} or newer, got {', '.join(old)}", _said(one))


def _ciphers(config: NginxConfig, guideline: Guideline) -> Iterator[Hit]:
    for one in config.all("ssl_ciphers", "proxy_ssl_ciphers", "grpc_ssl_ciphers"):
        judgement = judge_list(one.text, guideline)
        if judgement.broken:
            yield Hit(one.place, f"expected sound suites only, got {', '.join(judgement.broken)}", _said(one))
        elif judgement.beyond:
            words = ", ".join(judgement.beyond[:4])
            yield Hit(one.place, f"expected suites that {guideline} permits, got {words}", _said(one), Severity.LOW)


# --- upstreams ----------------------------------------------------------------------------------------------------


def _passes(config: NginxConfig) -> Iterator[tuple[Directive, str, str]]:
    """Every pass to somewhere else, with its scheme and host; an upstream's name stands for each of its servers."""
    upstreams = _upstreams(config)
    for one in config.all("proxy_pass", "grpc_pass"):
        found = _PASS.match(one.text)
        if found is None:
            continue
        scheme, host = found["scheme"].lower(), found["host"]
        outside = next((each for each, _ in upstreams.get(host, [(host, "")]) if not is_local(each)), None)
        if outside is not None:
            yield one, {"grpcs": "https", "grpc": "http"}.get(scheme, scheme), outside


def _upstreams(config: NginxConfig) -> dict[str, list[tuple[str, str]]]:
    """Hosts and ports by the name of the upstream that holds them."""
    return {
        upstream.text: [_address(one.words[0]) for one in upstream.all("server") if one.words]
        for upstream in config.all("upstream")
    }


def _address(text: str) -> tuple[str, str]:
    found = _BARE.match(text)
    return (found["host"], found["port"] or "") if found else ("", "")


def _plain(config: NginxConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one, scheme, host in _passes(config):
        if scheme != "http":
            continue
        if is_variable(host):
            statement = "expected https to another host, got http to one that is known only when it runs"
            yield Hit(one.place, statement, _said(one), verdict=Verdict.UNKNOWN)
        else:
            yield Hit(one.place, f"expected https to {host}, which is another host, got http", _said(one))
    upstreams = _upstreams(config)
    for one in config.all("fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"):
        for host, _ in upstreams.get(one.text, [_address(one.text)]):
            if not (is_local(host) or is_variable(host)):
                yield Hit(one.place, f"expected a hop within this machine, got plaintext to {host}", _said(one))
                break
    for one in config.all("proxy_pass"):
        if one.within("stream") and not is_variable(one.text):
            yield from _plain_stream(one, upstreams.get(one.text, [_address(one.text)]))


def _plain_stream(one: Directive, addresses: list[tuple[str, str]]) -> Iterator[Hit]:
    """A pass in a stream: fine if it encrypts, or if the client's own TLS goes through."""
    encrypts, reads_hello = one.inherited("proxy_ssl"), one.inherited("ssl_preread")
    if any(each and each.text == "on" for each in (encrypts, reads_hello)):
        return
    for host, port in addresses:
        if not is_local(host) and port not in _TLS_PORTS:
            yield Hit(one.place, f"expected proxy_ssl on towards {host}, got plaintext", _said(one))
            return


def _unverified(config: NginxConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one, scheme, host in _passes(config):
        setting = "grpc_ssl_verify" if one.name == "grpc_pass" else "proxy_ssl_verify"
        verify = one.inherited(setting)
        if scheme != "https" or (verify and verify.text == "on"):
            continue
        if verify:
            yield Hit(verify.place, f"expected {setting} on towards {host}, got {verify.text}", _said(verify))
        else:
            yield _missing(one, f"expected {setting} on towards {host}, got none: the default verifies nobody")
    for one in config.all("proxy_ssl"):
        verify = one.inherited("proxy_ssl_verify")
        if one.text == "on" and one.within("stream") and not (verify and verify.text == "on"):
            yield _missing(one, "expected proxy_ssl_verify on beside proxy_ssl on, got none: nobody is verified")


def _client(config: NginxConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in config.all("ssl_verify_client"):
        unjudged = one.text == "optional" and "$ssl_client_verify" not in config.text
        if unjudged or one.text == "optional_no_ca":
            yield Hit(one.place, f"expected ssl_verify_client on, got {one.text}", _said(one))


# --- certificates -------------------------------------------------------------------------------------------------


def _self_signed(config: NginxConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in config.all("ssl_certificate", "proxy_ssl_certificate"):
        if is_self_signed(one.text):
            yield Hit(one.place, "expected a certificate that somebody vouches for, got a self-signed one", _said(one))


def _unmanaged(config: NginxConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    if says_renewal(config.text):
        return
    for one in config.all("ssl_certificate"):
        if not (is_variable(one.text) or is_self_signed(one.text)):
            yield Hit(one.place, "expected a sign of what renews this certificate, got a file's path only", _said(one))
            return


# --- the edge -----------------------------------------------------------------------------------------------------


def _listens(server: Directive, *, tls: bool) -> list[Directive]:
    """The listen directives of a server that others can reach."""
    found: list[Directive] = []
    for one in server.all("listen"):
        host = one.words[0].rpartition(":")[0] if one.words else ""
        outside = not (host and is_local(host) and host not in ("0.0.0.0", "[::]"))  # noqa: S104  # read, not bound
        encrypted = "ssl" in one.words or "quic" in one.words
        if outside and encrypted is tls and not one.text.startswith("unix:"):
            found.append(one)
    return found


def _hsts(config: NginxConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for server in config.all("server"):
        listens = _listens(server, tls=True)
        if not listens or server.within("stream") or _redirects(server, to_tls=False):
            continue
        if any(_is_hsts(one) for one in server.all("add_header")):
            dropped = [one for one in server.walk() if one.block and one.all("add_header") and one is not server]
            for scope in dropped:
                if not any(_is_hsts(one) for one in scope.all("add_header")):
                    statement = "expected Strict-Transport-Security here again: add_header drops all of the server's"
                    yield Hit(scope.all("add_header")[0].place, statement, _said(scope.all("add_header")[0]))
        elif server.all("add_header") or not _is_hsts_above(server):
            statement = "expected Strict-Transport-Security with every answer over TLS, got none"
            yield _missing_in(server, listens[0], statement)


def _missing_in(server: Directive, one: Directive, statement: str) -> Hit:
    hit = _missing(server, statement)
    return Hit(one.place, hit.statement, _said(one), hit.severity, hit.verdict)


def _is_hsts(one: Directive) -> bool:
    words = [word.lower() for word in one.words]
    return words[:1] == ["strict-transport-security"] and "max-age=0" not in words[1:2]


def _is_hsts_above(server: Directive) -> bool:
    inherited = [scope for scope in server.scopes() if scope.all("add_header")]
    return bool(inherited) and any(_is_hsts(one) for one in inherited[0].all("add_header"))


def _redirects(server: Directive, *, to_tls: bool = True) -> bool:
    """True if it sends every visitor away: to https, or to anywhere."""
    begin = "https://" if to_tls else ("https://", "http://", "$scheme://")
    roots = [one for one in server.all("location") if one.words[-1:] == ["/"]]
    for scope in (server, *roots):
        for one in scope.all("return"):
            if one.words[:1] and (
                one.words[-1].startswith(begin) or one.words[0] in ("400", "403", "404", "410", "444")
            ):
                return True
        for one in scope.all("rewrite"):
            if len(one.words) > 1 and one.words[1].startswith(begin):
                return True
    return False


def _no_redirect(config: NginxConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for server in config.all("server"):
        plain = _listens(server, tls=False)
        if server.within("stream") or server.within("upstream") or server.within("mail") or server.block is None:
            continue
        if not plain or _redirects(server) or _answers_only_acme(server):
            continue
        if any(
            "$scheme" in one.text and "https" in str([each.text for each in one.walk()]) for one in server.all("if")
        ):
            continue
        yield _missing_in(server, plain[0], "expected a redirect to https from a plaintext port, got none")


def _answers_only_acme(server: Directive) -> bool:
    locations = server.all("location")
    return bool(locations) and all("acme-challenge" in one.text for one in locations) and not server.all("root")


def _keylog(config: NginxConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in config.all("ssl_key_log", "proxy_ssl_key_log", "grpc_ssl_key_log"):
        yield Hit(one.place, "expected no key log, got one: whoever reads that file reads the traffic", _said(one))


_GOOD = """\
server {
    listen 80;
    return 301 https://$host$request_uri;
}
server {
    listen 443 ssl;
    ssl_certificate /etc/letsencrypt/live/shop/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/shop/privkey.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256;
    add_header Strict-Transport-Security "max-age=63072000" always;
    location / {
        proxy_pass https://api.internal;
        proxy_ssl_verify on;
        proxy_ssl_server_name on;
        proxy_ssl_trusted_certificate /etc/everyhop/bundle.pem;
    }
}
"""

RULES: tuple[Rule[NginxConfig], ...] = (
    Rule(
        "nginx-version-old",
        Severity.HIGH,
        OLD_VERSION_SOURCE,
        OLD_VERSION,
        "write `ssl_protocols TLSv1.2 TLSv1.3;`",
        bad="ssl_protocols TLSv1 TLSv1.1 TLSv1.2;",
        good=_GOOD,
        check=_versions,
    ),
    Rule(
        "nginx-cipher-weak",
        Severity.HIGH,
        WEAK_SUITE_SOURCE,
        WEAK_SUITE,
        "set `ssl_ciphers` to the guideline's list; `everyhop profiles NAME` prints it",
        bad="ssl_ciphers HIGH:RC4-SHA:!aNULL;",
        good=_GOOD,
        check=_ciphers,
    ),
    Rule(
        "nginx-upstream-plain",
        Severity.HIGH,
        PLAIN_HOP_SOURCE,
        PLAIN_HOP,
        "write `proxy_pass https://...` with `proxy_ssl_verify on`, or put a sidecar on loopback in between",
        bad="location / { proxy_pass http://10.0.0.5:8080; }",
        good=_GOOD,
        check=_plain,
    ),
    Rule(
        "nginx-upstream-unverified",
        Severity.HIGH,
        f"{_MANUAL}: proxy_ssl_verify; RFC 9525, 6",
        "nginx verifies no upstream unless it is told to: anybody on the way can be the upstream",
        "add `proxy_ssl_verify on; proxy_ssl_trusted_certificate FILE; proxy_ssl_server_name on;`",
        bad="location / { proxy_pass https://api.internal; }",
        good=_GOOD,
        check=_unverified,
    ),
    Rule(
        "nginx-client-optional",
        Severity.MEDIUM,
        "nginx.org, ngx_http_ssl_module: ssl_verify_client",
        "a client certificate that may be missing, or from anybody, keeps nobody out",
        "write `ssl_verify_client on;`, or refuse where `$ssl_client_verify` is not SUCCESS",
        bad="server { ssl_verify_client optional_no_ca; }",
        good=_GOOD,
        check=_client,
    ),
    Rule(
        "nginx-certificate-self-signed",
        Severity.MEDIUM,
        SELF_SIGNED_SOURCE,
        SELF_SIGNED,
        SELF_SIGNED_REMEDY,
        bad="ssl_certificate /etc/ssl/certs/ssl-cert-snakeoil.pem; # acme later",
        good=_GOOD,
        check=_self_signed,
    ),
    Rule(
        "nginx-certificate-unmanaged",
        Severity.LOW,
        UNMANAGED_SOURCE,
        UNMANAGED,
        UNMANAGED_REMEDY,
        bad="ssl_certificate /etc/nginx/shop.pem;",
        good=_GOOD,
        check=_unmanaged,
    ),
    Rule(
        "nginx-hsts-missing",
        Severity.MEDIUM,
        NO_HSTS_SOURCE,
        NO_HSTS,
        'add `add_header Strict-Transport-Security "max-age=63072000" always;`, in every block that adds a header',
        bad="server { listen 443 ssl; }",
        good=_GOOD,
        check=_hsts,
    ),
    Rule(
        "nginx-no-redirect",
        Severity.MEDIUM,
        NO_REDIRECT_SOURCE,
        NO_REDIRECT,
        "write `return 301 https://$host$request_uri;` and nothing else in the server on port 80",
        bad="server { listen 80; root /srv/www; }",
        good=_GOOD,
        check=_no_redirect,
    ),
    Rule(
        "nginx-keylog",
        Severity.CRITICAL,
        KEY_LOG_SOURCE,
        KEY_LOG,
        "take the directive out",
        bad="ssl_key_log /tmp/keys.log;",
        good=_GOOD,
        check=_keylog,
    ),
)

NGINX: Language[NginxConfig] = Language(
    "nginx configuration", "nginx.conf", _reads, lambda file: parse_nginx(file.text), RULES
)
