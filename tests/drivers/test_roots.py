"""Stores of trusted roots: read from files, never spoilt by one that cannot be read."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.pki import CA

from everyhop.drivers.probes.roots import read, stores

ONE, TWO = CA("one"), CA("two")


def test_every_store_that_is_there(tmp_path: Path) -> None:
    system, folder = tmp_path / "bundle.pem", tmp_path / "mozilla"
    folder.mkdir()
    system.write_bytes(ONE.pem + TWO.pem)
    folder.joinpath("one.crt").write_bytes(ONE.pem)
    folder.joinpath("broken.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    found = stores(own=TWO.pem, system=[tmp_path / "absent", system], mozilla=[folder, tmp_path / "nowhere"])
    assert {name: [root.subject for root in roots] for name, roots in found.items()} == {
        "own": [TWO.certificate.subject],
        "system": [ONE.certificate.subject, TWO.certificate.subject],
        "mozilla": [ONE.certificate.subject],
    }


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    assert stores(system=[tmp_path], mozilla=[tmp_path / "x"]) == {}


def test_text_around_and_twice_the_same_do_not_matter() -> None:
    assert len(read(b"# a comment\n" + ONE.pem + b"junk" + ONE.pem + b"-----BEGIN CERTIFICATE-----")) == 1


def test_this_machine_has_some() -> None:
    """Debian's ca-certificates, where it is installed."""
    found = stores()
    if Path("/etc/ssl/certs/ca-certificates.crt").exists():
        assert len(found["system"]) > 50
