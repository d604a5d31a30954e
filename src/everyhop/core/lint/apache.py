"""What goes wrong in the configuration of the Apache HTTP server.

Rules: Apache's defaults count as what they are: ``SSLProtocol all`` lets TLS 1.0 and 1.1 in, and ``SSLProxyVerify`` is
``none``. What is said outside of a virtual host holds in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from everyhop.core.finding import Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.apache_config import ApacheConfig, Entry, parse_apache
from everyhop.core.lint.certificates import is_self_signed, says_renewal
from everyhop.core.lint.ciphers import judge_list, least, old_versions
from everyhop.core.lint.hops import is_local, is_variable
from everyhop.core.lint.reasons import (
    NAME_UNCHECKED,
    NAME_UNCHECKED_SOURCE,
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

_ALL = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
"""What ``all`` stands for (httpd 2.4, mod_ssl: SSLProtocol)."""
_URL = re.compile(
    r"(?P<scheme>https?|wss?|ajp|fcgi|uwsgi|scgi|h2c?|balancer)://(?P<host>\[[^\]]*\]|[^:/\s]*)", re.IGNORECASE
)
_PASSES = ("proxypass", "proxypassmatch", "balancermember")
_LOOKS = re.compile(
    r"^\s{0,40}(?:<(?:VirtualHost|IfModule|Directory|Location|Proxy)\b|(?:SSLEngine|SSLProtocol|SSLCipherSuite|ProxyPass|"
    r"SSLProxy\w{1,30}|SSLCertificate\w{1,20}|DocumentRoot|LoadModule)\s)",
    re.MULTILINE | re.IGNORECASE,
)


def _reads(file: File) -> bool:
    return file.path.endswith((".conf", ".vhost", ".htaccess", "/httpd.conf")) and _LOOKS.search(file.text) is not None


def _said(one: Entry) -> str:
    return evidence(f"{one.name} {one.text}")


# --- versions and suites ------------------------------------------------------------------------------------------


def _versions(config: ApacheConfig, guideline: Guideline) -> Iterator[Hit]:
    for one in config.all("sslprotocol", "sslproxyprotocol"):
        if old := old_versions(_permitted(one.words), guideline):
            yield Hit(one.place, f"expected {least(guideline)} or newer, got {', '.join(old)}", _said(one))


def _permitted(words: tuple[str, ...]) -> list[str]:
    """The versions that a list lets in, word by word as Apache reads it."""
    let_in: dict[str, None] = {}
    for word in words:
        sign, name = (word[0], word[1:]) if word[:1] in "+-" else ("", word)
        names = _ALL if name.lower() == "all" else (name,)
        for each in names:
            if sign == "-":
                let_in.pop(each, None)
            else:
                let_in[each] = None
    return list(let_in)


def _ciphers(config: ApacheConfig, guideline: Guideline) -> Iterator[Hit]:
    for one in config.all("sslciphersuite", "sslproxyciphersuite"):
        ciphers = one.words[-1] if one.words else ""
        judgement = judge_list(ciphers, guideline)
        if judgement.broken:
            yield Hit(one.place, f"expected sound suites only, got {', '.join(judgement.broken)}", _said(one))
        elif judgement.beyond:
            words = ", ".join(judgement.beyond[:4])
            yield Hit(one.place, f"expected suites that {guideline} permits, got {words}", _said(one), Severity.LOW)


# --- upstreams ----------------------------------------------------------------------------------------------------


def _passes(config: ApacheConfig) -> Iterator[tuple[Entry, str, str]]:
    """Every pass to another host, with scheme and host."""
    for one in config.all(*_PASSES):
        for word in one.words:
            found = _URL.match(word)
            if found and found["scheme"].lower() != "balancer" and not is_local(found["host"]):
                yield one, found["scheme"].lower(), found["host"]
                break


def _plain(config: ApacheConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one, scheme, host in _passes(config):
        if scheme not in ("https", "wss", "h2") and not is_variable(host):
            yield Hit(one.place, f"expected https to {host}, which is another host, got {scheme}", _said(one))


def _unverified(config: ApacheConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in config.all("sslproxyverify"):
        if one.text.lower() != "require":
            yield Hit(one.place, f"expected SSLProxyVerify require, got {one.text or 'nothing'}", _said(one))
    for one, scheme, host in _passes(config):
        if scheme in ("https", "wss", "h2") and one.inherited("sslproxyverify") is None:
            yield Hit(
                one.place, f"expected SSLProxyVerify require towards {host}, got none: the default is none", _said(one)
            )


def _name_unchecked(config: ApacheConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in config.all("sslproxycheckpeername", "sslproxycheckpeercn", "sslproxycheckpeerexpire"):
        if one.text.lower() == "off":
            yield Hit(one.place, "expected the upstream's name and dates to be checked, got off", _said(one))


# --- certificates -------------------------------------------------------------------------------------------------


def _self_signed(config: ApacheConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in config.all("sslcertificatefile"):
        if is_self_signed(one.text):
            yield Hit(one.place, "expected a certificate that somebody vouches for, got a self-signed one", _said(one))


def _unmanaged(config: ApacheConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    if says_renewal(config.text):
        return
    for one in config.all("sslcertificatefile"):
        if not is_self_signed(one.text):
            yield Hit(one.place, "expected a sign of what renews this certificate, got a file's path only", _said(one))
            return


# --- the edge -----------------------------------------------------------------------------------------------------


def _hosts(config: ApacheConfig, *, tls: bool) -> Iterator[Entry]:
    """The virtual hosts that others can reach."""
    for one in config.all("virtualhost"):
        engine = one.all("sslengine")
        encrypted = bool(engine) and engine[-1].text.lower() == "on"
        outside = any(not is_local(word.rpartition(":")[0]) or ":" not in word for word in one.words)
        if outside and encrypted is tls:
            yield one


def _hsts(config: ApacheConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in _hosts(config, tls=True):
        if not any(_is_hsts(each) for scope in one.scopes() for each in scope.all("header")):
            yield Hit(one.place, "expected Strict-Transport-Security with every answer over TLS, got none", _said(one))


def _is_hsts(one: Entry) -> bool:
    return "strict-transport-security" in one.text.lower() and "unset" not in one.words


def _no_redirect(config: ApacheConfig, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in _hosts(config, tls=False):
        ports = {word.rpartition(":")[2] for word in one.words if ":" in word}
        if "443" in ports or one.inside is None or _redirects(one):
            continue
        yield Hit(one.place, "expected a redirect to https from a plaintext port, got none", _said(one))


def _redirects(host: Entry) -> bool:
    insides = [host, *(one for name in ("location", "directory") for one in host.all(name))]
    rules = (one for scope in insides for name in _REDIRECTS for one in scope.all(name))
    return any("https://" in one.text.lower() or "https:" in one.text.lower() for one in rules)


_REDIRECTS = ("redirect", "redirectpermanent", "redirectmatch", "rewriterule")

_GOOD = """\
<VirtualHost *:80>
    Redirect permanent / https://shop.example.org/
</VirtualHost>
<VirtualHost *:443>
    SSLEngine on
    SSLProtocol -all +TLSv1.2 +TLSv1.3
    SSLCipherSuite ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256
    SSLCertificateFile /etc/letsencrypt/live/shop/fullchain.pem
    SSLCertificateKeyFile /etc/letsencrypt/live/shop/privkey.pem
    Header always set Strict-Transport-Security "max-age=63072000"
    SSLProxyEngine on
    SSLProxyVerify require
    SSLProxyCACertificateFile /etc/everyhop/bundle.pem
    ProxyPass /api https://api.internal/
</VirtualHost>
"""

RULES: tuple[Rule[ApacheConfig], ...] = (
    Rule(
        "apache-version-old",
        Severity.HIGH,
        OLD_VERSION_SOURCE,
        OLD_VERSION,
        "write `SSLProtocol -all +TLSv1.2 +TLSv1.3`",
        bad="SSLProtocol all -SSLv3\n",
        good=_GOOD,
        check=_versions,
    ),
    Rule(
        "apache-cipher-weak",
        Severity.HIGH,
        WEAK_SUITE_SOURCE,
        WEAK_SUITE,
        "set `SSLCipherSuite` to the guideline's list; `everyhop profiles NAME` prints it",
        bad="SSLCipherSuite HIGH:MEDIUM:!aNULL\n",
        good=_GOOD,
        check=_ciphers,
    ),
    Rule(
        "apache-upstream-plain",
        Severity.HIGH,
        PLAIN_HOP_SOURCE,
        PLAIN_HOP,
        "write `ProxyPass / https://...` with `SSLProxyVerify require`, or put a sidecar on loopback in between",
        bad="ProxyPass / http://app.internal:8080/\n",
        good=_GOOD,
        check=_plain,
    ),
    Rule(
        "apache-upstream-unverified",
        Severity.HIGH,
        "httpd 2.4, mod_ssl: SSLProxyVerify; RFC 9525, 6",
        UNVERIFIED,
        "add `SSLProxyVerify require` and `SSLProxyCACertificateFile FILE`",
        bad="SSLProxyEngine on\nProxyPass / https://app.internal/\n",
        good=_GOOD,
        check=_unverified,
    ),
    Rule(
        "apache-upstream-name-unchecked",
        Severity.HIGH,
        NAME_UNCHECKED_SOURCE,
        NAME_UNCHECKED,
        "take the line out: the default is on",
        bad="SSLProxyVerify require\nSSLProxyCheckPeerName off\n",
        good=_GOOD,
        check=_name_unchecked,
    ),
    Rule(
        "apache-certificate-self-signed",
        Severity.MEDIUM,
        SELF_SIGNED_SOURCE,
        SELF_SIGNED,
        SELF_SIGNED_REMEDY,
        bad="SSLCertificateFile /etc/ssl/certs/ssl-cert-snakeoil.pem\n",
        good=_GOOD,
        check=_self_signed,
    ),
    Rule(
        "apache-certificate-unmanaged",
        Severity.LOW,
        UNMANAGED_SOURCE,
        UNMANAGED,
        UNMANAGED_REMEDY,
        bad="SSLCertificateFile /etc/apache2/shop.pem\n",
        good=_GOOD,
        check=_unmanaged,
    ),
    Rule(
        "apache-hsts-missing",
        Severity.MEDIUM,
        NO_HSTS_SOURCE,
        NO_HSTS,
        'add `Header always set Strict-Transport-Security "max-age=63072000"` to the virtual host',
        bad="<VirtualHost *:443>\n    SSLEngine on\n</VirtualHost>\n",
        good=_GOOD,
        check=_hsts,
    ),
    Rule(
        "apache-no-redirect",
        Severity.MEDIUM,
        NO_REDIRECT_SOURCE,
        NO_REDIRECT,
        "write `Redirect permanent / https://NAME/` and nothing else in the virtual host on port 80",
        bad="<VirtualHost *:80>\n    DocumentRoot /srv/www\n</VirtualHost>\n",
        good=_GOOD,
        check=_no_redirect,
    ),
)

APACHE: Language[ApacheConfig] = Language(
    "Apache configuration", "httpd.conf", _reads, lambda file: parse_apache(file.text), RULES
)
