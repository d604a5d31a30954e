"""Endpoints with one thing wrong, from small declarative files (the style of badssl.com), on real nginx and OpenSSL.

Rules: a file says only what differs from a good endpoint. All nginx endpoints of a run live in one nginx; each
``openssl s_server`` is a process of its own. Nothing here knows what the findings should be.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import BaseModel, ConfigDict, TypeAdapter
from tests.fakes.pki import CA, Issued
from tests.servers import need
from tests.servers.badpki import Minted, Wish, mint
from tests.servers.nginx import nginx
from tests.servers.process import running
from tests.servers.responder import Authority, responder
from tests.stories.ports import free_port

from everyhop.core.endpoint.facts import Entrance
from everyhop.core.endpoint.target import Target, Wire
from everyhop.drivers.host.machine import SystemClock
from everyhop.ports import ClientCredential

GOOD: Mapping[str, str] = {
    "ssl_protocols": "TLSv1.2 TLSv1.3",
    "ssl_ciphers": "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL@SECLEVEL=0",
    "ssl_prefer_server_ciphers": "off",
    "ssl_ecdh_curve": "X25519:prime256v1:secp384r1",
    "ssl_session_tickets": "off",
    "add_header": 'Strict-Transport-Security "max-age=63072000" always',
}
"""Directives of an endpoint that every rule is content with."""

GOOD_PLAIN: Mapping[str, str] = {"return": "301 https://bad.test$request_uri"}

CLIENTS = {
    "foreign": Entrance.FOREIGN_AUTHORITY,
    "expired": Entrance.EXPIRED,
    "identity": Entrance.WRONG_IDENTITY,
    "revoked": Entrance.REVOKED,
    "given": Entrance.GIVEN,
}


class Spec(BaseModel):
    """One file of the corpus. What it leaves out is good."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    """What is wrong, in one sentence."""
    leaf: dict[str, object] = {}
    """Fields of :class:`.badpki.Wish`."""
    issuer: str = "intermediate"
    """``intermediate``, ``root``, ``foreign``, ``stray`` or ``itself``."""
    send: tuple[str, ...] = ("leaf", "intermediate")
    """What stands in the chain: ``leaf`` first, then ``intermediate``, ``root``, ``foreign`` or ``stray``."""
    second: dict[str, object] | None = None
    """A second leaf on the same port."""
    ask: str = "bad.test"
    """The name that is asked for."""
    guideline: str = ""
    """Another guideline than the corpus's own: ``name@version``."""
    identity: str = ""
    """The SPIFFE ID that is expected."""
    wire: Wire = Wire.HTTP
    nginx: dict[str, str | None] | None = None
    """Directives that replace those of :data:`GOOD`; null removes one."""
    openssl: tuple[str, ...] | None = None
    """Arguments of ``openssl s_server``."""
    page: str = ""
    """HTML at ``/``."""
    plain: dict[str, str] | None = None
    """Directives of the plaintext port beside it; None: no such port."""
    plain_only: bool = False
    """There is nothing but the plaintext port."""
    clients: tuple[str, ...] = ()
    """Who tries to get in, besides somebody without a certificate: keys of :data:`CLIENTS`."""
    responder: dict[str, object] | None = None
    """``ocsp`` and ``crl``: what the leaf names; ``revoked``; ``fresh_days``."""
    staple: str = ""
    """``good``, ``stale`` or ``forged``."""
    needs_suite: str = ""
    """A suite that the local OpenSSL may not have."""
    without: tuple[str, ...] = ()
    """Looks that are not taken."""


@dataclass
class Pki:
    """Everybody who signs in a run."""

    root: CA = field(default_factory=lambda: CA("everyhop test root"))
    foreign: CA = field(default_factory=lambda: CA("somebody else"))
    clients: CA = field(default_factory=lambda: CA("clients"))
    intermediate: CA = field(init=False)
    stray: CA = field(init=False)

    def __post_init__(self) -> None:
        self.intermediate = CA("everyhop test intermediate", parent=self.root)
        self.stray = CA("nobody asked", parent=self.foreign)

    def credentials(self) -> dict[str, Issued]:
        """By the names of :data:`CLIENTS`."""
        now = SystemClock().now()
        return {
            "foreign": self.foreign.issue(uri="spiffe://test/x/foreign"),
            "expired": self.clients.issue(
                uri="spiffe://test/x/old", not_before=now - timedelta(days=2), not_after=now - timedelta(days=1)
            ),
            "identity": self.clients.issue(uri="spiffe://test/x/other"),
            "revoked": self.clients.issue(uri="spiffe://test/x/revoked"),
            "given": self.clients.issue(uri="spiffe://test/x/caller"),
        }


@dataclass(frozen=True)
class Endpoint:
    """One that runs."""

    spec: Spec
    target: Target
    plain_port: int | None
    credentials: Mapping[str, ClientCredential]
    """Keys are values of ``Entrance``."""


class Corpus:
    """All endpoints of some specs; made by :func:`corpus`."""

    def __init__(self, home: Path, pki: Pki, stack: ExitStack) -> None:
        self._home, self._pki, self._stack = home, pki, stack
        self._clients = pki.credentials()
        self._ports: dict[str, int] = {}
        self._answered: dict[int, x509.Certificate] = {}

    def start(self, specs: Mapping[str, Spec]) -> None:
        """Mint everything and start nginx; ``openssl`` starts when it is asked for."""
        dh = [need("openssl"), "dhparam", "-dsaparam", "-out", str(self._home / "dh1024.pem"), "1024"]
        subprocess.run(dh, check=True, capture_output=True)
        self._home.joinpath("clients.pem").write_bytes(self._pki.clients.pem)
        revoked = {self._clients["revoked"].certificate.serial_number}
        crl = x509.load_der_x509_crl(Authority(self._pki.clients, revoked).crl())
        self._home.joinpath("clients.crl").write_bytes(crl.public_bytes(Encoding.PEM))
        servers: dict[str, str] = {}
        for name, spec in specs.items():
            if not spec.plain_only:
                self._mint(name, spec)
            if spec.nginx is not None:
                servers[name] = self._tls_server(name, spec)
            if spec.plain is not None or spec.plain_only:
                servers[f"{name} plain"] = _directives({**GOOD_PLAIN, **(spec.plain or {})})
        self._ports.update(self._stack.enter_context(nginx(self._home, servers)))

    @contextmanager
    def endpoint(self, name: str, spec: Spec) -> Generator[Endpoint]:
        """The endpoint of a file, running."""
        plain = self._ports.get(f"{name} plain")
        shown = {CLIENTS[each].value: self._clients[each].credential for each in spec.clients}
        if spec.openssl is None:
            port = plain if spec.plain_only and plain else self._ports[name]
            yield Endpoint(spec, _target(spec, port), None if spec.plain_only else plain, shown)
            return
        folder = self._home / f"{name}.d"
        folder.mkdir()
        port = free_port()
        command = [need("openssl"), "s_server", "-www", "-quiet", "-accept", f"127.0.0.1:{port}"]
        command += ["-cert", f"{self._home}/{name}.pem", "-cert_chain", f"{self._home}/{name}.issuers"]
        command += ["-key", f"{self._home}/{name}.key"]
        command += [part.format(home=self._home) for part in spec.openssl]
        with running(command, folder, [port]):
            yield Endpoint(spec, _target(spec, port), plain, shown)

    def _mint(self, name: str, spec: Spec) -> None:
        """Write ``<name>.pem`` (what is sent), ``.issuers`` (without the leaf), ``.key`` and ``.staple``."""
        issuer = None if spec.issuer == "itself" else self._authority(spec.issuer)
        wish = dict(spec.leaf)
        authority = self._responder(spec, issuer)
        if authority and spec.responder:
            wish |= {kind: f"{authority.url}/{kind}" for kind in ("ocsp", "crl") if spec.responder.get(kind)}
        leaf = mint(_wish(wish), issuer)
        if authority and spec.responder:
            self._answered[leaf.certificate.serial_number] = leaf.certificate
            if spec.responder.get("revoked"):
                authority.revoked.add(leaf.certificate.serial_number)
        self._write(name, spec, leaf)
        if spec.second is not None:
            self._write(f"{name}.second", spec, mint(_wish(spec.second), issuer))
        if spec.staple and issuer:
            fresh = timedelta(days=-1 if spec.staple == "stale" else 1)
            signer = self._pki.foreign if spec.staple == "forged" else None
            answer = Authority(issuer, fresh=fresh).answer(leaf.certificate, signer=signer)
            self._home.joinpath(f"{name}.staple").write_bytes(answer)

    def _responder(self, spec: Spec, issuer: CA | None) -> Authority | None:
        if spec.responder is None or issuer is None:
            return None
        days = spec.responder.get("fresh_days", 1)
        assert isinstance(days, int)
        return self._stack.enter_context(responder(Authority(issuer, fresh=timedelta(days=days)), self._answered))

    def _authority(self, name: str) -> CA:
        return {
            "intermediate": self._pki.intermediate,
            "root": self._pki.root,
            "foreign": self._pki.foreign,
            "stray": self._pki.stray,
        }[name]

    def _write(self, name: str, spec: Spec, leaf: Minted) -> None:
        above = b"".join(self._authority(part).pem for part in spec.send if part != "leaf")
        self._home.joinpath(f"{name}.pem").write_bytes(leaf.pem + above)
        self._home.joinpath(f"{name}.issuers").write_bytes(above)
        key = self._home / f"{name}.key"
        key.touch(mode=0o600)
        key.write_bytes(leaf.key_pem)

    def _tls_server(self, name: str, spec: Spec) -> str:
        own = {**GOOD, **(spec.nginx or {})}
        if spec.staple:
            own |= {"ssl_stapling": "on", "ssl_stapling_file": f"{self._home}/{name}.staple"}
        text = _directives({key: value.replace("HOME", str(self._home)) for key, value in own.items() if value})
        for file in (name, f"{name}.second") if spec.second is not None else (name,):
            text += f"ssl_certificate {self._home}/{file}.pem; ssl_certificate_key {self._home}/{file}.key;"
        if spec.page:
            page = spec.page.replace("'", "\\'").replace("{", "").replace("}", "").replace("\n", " ")
            text += f"location = / {{{{ default_type text/html; return 200 '{page}'; }}}}"
        return text


@contextmanager
def corpus(home: Path, specs: Mapping[str, Spec]) -> Generator[tuple[Corpus, Pki]]:
    """Start everything that these files describe, and end it."""
    with ExitStack() as stack:
        pki = Pki()
        made = Corpus(home, pki, stack)
        made.start(specs)
        yield made, pki


def has_suite(name: str) -> bool:
    """True if the local OpenSSL can serve a suite."""
    asked = [need("openssl"), "ciphers", f"{name}@SECLEVEL=0"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def _wish(fields: Mapping[str, object]) -> Wish:
    """Checked by pydantic: a typing mistake in a corpus file is an error."""
    return TypeAdapter(Wish).validate_python(dict(fields), extra="forbid")


def _target(spec: Spec, port: int) -> Target:
    wire = spec.wire
    return Target("127.0.0.1", port, server_name=spec.ask, wire=wire, tls_first=not spec.plain_only, owner="tests")


def _directives(pairs: Mapping[str, str]) -> str:
    return " ".join(f"{key} {value};" for key, value in pairs.items()) + " "
