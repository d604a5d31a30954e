"""Certificates for test servers: one RSA and one EC leaf of one authority, in files; good ones, of two months."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.fakes.pki import CA, Issued, Key

from everyhop.drivers.host.machine import SystemClock

NAME = "probe.test"


@dataclass(frozen=True)
class Certificates:
    """What servers show, and what signed it."""

    authority: CA
    rsa: Issued
    ec: Issued

    def write(self, home: Path) -> None:
        """``rsa.pem``, ``ec.pem`` (chains), ``rsa.key``, ``ec.key``, ``rsa.both``, ``ec.both`` (chain and key in one
        file) and ``ca.pem``."""
        home.joinpath("ca.pem").write_bytes(self.authority.pem)
        for name, issued in (("rsa", self.rsa), ("ec", self.ec)):
            home.joinpath(f"{name}.pem").write_bytes(issued.chain_pem)
            for secret, content in (("key", issued.key_pem), ("both", issued.chain_pem + issued.key_pem)):
                file = home / f"{name}.{secret}"
                file.touch(mode=0o600)
                file.write_bytes(content)


@cache
def certificates() -> Certificates:
    """Made once for a run of the tests."""
    authority, now = CA("servers of tests"), SystemClock().now()

    def issue(key: Key) -> Issued:
        begin, end = now - timedelta(hours=1), now + timedelta(days=60)
        return authority.issue(NAME, ip="127.0.0.1", key=key, not_before=begin, not_after=end)

    strong = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return Certificates(authority, issue(strong), issue(ec.generate_private_key(ec.SECP256R1())))
