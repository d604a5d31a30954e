"""The enforcement probe: who gets in, and what does not prove that anybody was kept out."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.fakes.pki import CA
from tests.servers.conversation import Reader, Talk, Writer, serving
from tests.servers.nginx import RSA, nginx
from tests.servers.openssl import s_server

from everyhop.core.endpoint.facts import Entrance, Entry
from everyhop.core.endpoint.target import Target, Wire
from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.probes.enforcement import EnforcementProbe
from everyhop.drivers.probes.manners import Limits, Manners
from everyhop.ports import ClientCredential

CLOCK = SystemClock()
MANNERS = Manners(Limits(at_once=None, per_second=None, pause_first_seconds=0.0, pause_max_seconds=0.0))
ROOT = CA("root")
FOREIGN = CA("foreign").issue(uri="spiffe://x/y").credential
GIVEN = ROOT.issue(uri="spiffe://a/b").credential
NOT_ASKED = "no certificate was asked for; "
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def tried(port: int, wire: Wire | None = Wire.HTTP, *, given: bool = False) -> Mapping[Entrance, Entry]:
    """Somebody without a certificate, with a foreign one and, if wished, with the right one."""
    credentials: dict[str, ClientCredential] = {Entrance.FOREIGN_AUTHORITY.value: FOREIGN}
    if given:
        credentials[Entrance.GIVEN.value] = GIVEN
    target = Target("127.0.0.1", port, wire=wire)
    facts = asyncio.run(EnforcementProbe(CLOCK, manners=MANNERS).look(target, credentials, timeout=5))
    return {entry.entrance: entry for entry in facts.entries}


def server(*, asks: bool, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A server that asks for a certificate or not, and if so goes on without one."""
    context = ROOT.issue("web.test").server_context()
    context.minimum_version = context.maximum_version = version
    if asks:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=ROOT.pem.decode())
    return context


def insisting(home: Path) -> tuple[str, ...]:
    """Arguments of OpenSSL's server that lets in only whom our authority knows."""
    (home / "clients.pem").write_bytes(ROOT.pem)
    return "-Verify", "1", "-verify_return_error", "-CAfile", str(home / "clients.pem")


def nobody(talk: Talk, context: ssl.SSLContext, wire: Wire | None = Wire.HTTP) -> Entry:
    """How somebody without a certificate fares."""
    return everybody(talk, context, wire)[Entrance.NO_CERTIFICATE]


def everybody(
    talk: Talk, context: ssl.SSLContext, wire: Wire | None = Wire.HTTP, *, given: bool = False
) -> Mapping[Entrance, Entry]:
    """How each fares."""

    async def story() -> Mapping[Entrance, Entry]:
        async with serving(talk, tls=context) as served:
            return await asyncio.to_thread(tried, served.port, wire, given=given)

    return asyncio.run(story())


def answering(status: int, body: bytes = b"") -> Talk:
    """HTTP that says the same to all."""

    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d Because\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
        await writer.drain()
        await reader.read()

    return talk


async def hanging_up(reader: Reader, _: Writer) -> None:
    """Speaks a language of its own, and ends on words that it does not know."""
    await reader.readline()


async def choosy(reader: Reader, writer: Writer) -> None:
    """Asks for a certificate, goes on without one, and decides afterwards."""
    await reader.readuntil(b"\r\n\r\n")
    shown = writer.get_extra_info("ssl_object").getpeercert()
    status, body = (b"200 OK", b"ok") if shown else (b"403 Forbidden", b"")
    writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
    await writer.drain()
    await reader.read()


# --- nobody was asked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS, ids=lambda each: each.name)
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 495, 500])
def test_a_status_refuses_no_certificate_that_nobody_asked_for(status: int, version: ssl.TLSVersion) -> None:
    entries = everybody(answering(status, b"no required SSL certificate"), server(asks=False, version=version))
    for entry in entries.values():
        assert (entry.accepted, entry.stage) == (True, ""), entry
        assert entry.evidence.startswith(NOT_ASKED + f"HTTP/1.1 {status}")


@pytest.mark.parametrize("version", VERSIONS, ids=lambda each: each.name)
def test_hanging_up_on_our_words_refuses_no_certificate_that_nobody_asked_for(version: ssl.TLSVersion) -> None:
    for entry in everybody(hanging_up, server(asks=False, version=version)).values():
        assert entry.accepted is True, entry
        assert entry.evidence.startswith(NOT_ASKED)


def test_nginx_without_client_certificates_proves_nothing_by_its_statuses(tmp_path: Path) -> None:
    says = {"s401": "return 401;", "s400": "return 400;", "s403": "return 403;", "s444": "return 444;"}
    with nginx(tmp_path, {name: RSA + text for name, text in says.items()}) as ports:
        for name, port in ports.items():
            for entry in tried(port).values():
                assert entry.accepted is True, (name, entry)
                assert entry.evidence.startswith(NOT_ASKED)


def test_a_handshake_that_failed_before_anybody_asked_tells_nothing(tmp_path: Path) -> None:
    with nginx(tmp_path, {"nobody": RSA + "ssl_reject_handshake on;"}) as ports:
        for entry in tried(ports["nobody"]).values():
            assert (entry.accepted, entry.evidence) == (None, "alert unrecognized name")


# --- asked ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
def test_nginx_that_insists_says_so_in_words(protocol: str, tmp_path: Path) -> None:
    (tmp_path / "clients.pem").write_bytes(ROOT.pem)
    insists = RSA + f"ssl_protocols {protocol}; ssl_client_certificate {{home}}/clients.pem; ssl_verify_client on;"
    with nginx(tmp_path, {"on": insists}) as ports:
        entries = tried(ports["on"], given=True)
    assert entries[Entrance.NO_CERTIFICATE].accepted is False
    assert "No required SSL certificate was sent" in entries[Entrance.NO_CERTIFICATE].evidence
    assert entries[Entrance.FOREIGN_AUTHORITY].accepted is False
    assert "The SSL certificate error" in entries[Entrance.FOREIGN_AUTHORITY].evidence
    assert entries[Entrance.GIVEN].accepted is True


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("wire", [Wire.HTTP, None])
def test_an_alert_refuses_whoever_was_asked(version: str, wire: Wire | None, tmp_path: Path) -> None:
    with s_server(tmp_path, version, *insisting(tmp_path)) as port:
        entries = tried(port, wire, given=True)
    for entrance in (Entrance.NO_CERTIFICATE, Entrance.FOREIGN_AUTHORITY):
        assert entries[entrance].accepted is False, entries[entrance]
        assert entries[entrance].evidence.startswith("alert ")
    assert entries[Entrance.GIVEN].accepted is True


@pytest.mark.parametrize("version", VERSIONS, ids=lambda each: each.name)
@pytest.mark.parametrize("wire", [Wire.HTTP, None])
def test_an_end_without_an_alert_is_a_refusal_beside_somebody_who_gets_in(
    version: ssl.TLSVersion, wire: Wire | None
) -> None:
    """Python's asyncio ends a handshake that failed without its alert."""
    context = server(asks=True, version=version)
    context.verify_mode = ssl.CERT_REQUIRED
    assert nobody(answering(200), context, wire).accepted is None
    entries = everybody(answering(200), context, wire, given=True)
    assert entries[Entrance.GIVEN].accepted is True
    assert entries[Entrance.NO_CERTIFICATE].accepted is False
    assert entries[Entrance.NO_CERTIFICATE].evidence == "closed without an answer; the given certificate gets in"


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_closed_door_may_have_any_reason(status: int) -> None:
    entry = nobody(answering(status, b"who are you?"), server(asks=True))
    assert (entry.accepted, entry.stage) == (None, f"http {status}")
    told = nobody(answering(status, b"a client certificate is needed"), server(asks=True))
    assert told.accepted is False
    assert nobody(answering(404), server(asks=True)).accepted is True


def test_hanging_up_may_have_any_reason_too() -> None:
    entry = nobody(hanging_up, server(asks=True))
    assert (entry.accepted, entry.stage) == (None, "after handshake")
    assert entry.evidence == "closed without an answer"


def test_the_given_certificate_opens_a_door_that_was_closed() -> None:
    without = everybody(choosy, server(asks=True))
    assert without[Entrance.NO_CERTIFICATE].accepted is None
    entries = everybody(choosy, server(asks=True), given=True)
    assert entries[Entrance.GIVEN].accepted is True
    assert (entries[Entrance.NO_CERTIFICATE].accepted, entries[Entrance.NO_CERTIFICATE].stage) == (False, "http 403")
    assert entries[Entrance.NO_CERTIFICATE].evidence.endswith("; the given certificate gets in")


def test_an_alert_that_was_cut_off_by_our_own_words_is_heard_in_silence(tmp_path: Path) -> None:
    """A server that refuses and closes with our words unread makes a reset, which may overtake its alert."""
    calls: list[bytes] = []

    async def story(port: int) -> Entry:
        async def relay(reader: Reader, writer: Writer) -> None:
            """Ends the first connection after the server's flight, as if its alert had been lost."""
            behind, to = await asyncio.open_connection("127.0.0.1", port)
            calls.append(b"")
            first = len(calls) == 1
            to.write(await reader.read(1 << 14))
            writer.write(await behind.read(1 << 14))
            await reader.read(1)
            if not first:
                to.write(b"\x14" + await reader.read(1 << 14))
                writer.write(await behind.read(1 << 14))
            to.transport.abort()

        async with serving(relay) as served:
            target = Target("127.0.0.1", served.port, wire=Wire.HTTP)
            (entry,) = (await EnforcementProbe(CLOCK, manners=MANNERS).look(target, {}, timeout=5)).entries
            return entry

    with s_server(tmp_path, "-tls1_3", *insisting(tmp_path)) as port:
        entry = asyncio.run(story(port))
    assert (entry.accepted, entry.stage, len(calls)) == (False, "after handshake", 2)
    assert entry.evidence == "alert certificate required"


# --- other words -----------------------------------------------------------------------------------------------------


def test_postgresql_is_let_in_past_tls_and_refused_by_its_own_words() -> None:
    """TLS succeeds without a certificate; ``pg_hba.conf`` refuses the startup packet. Both are seen."""
    fields = b"SFATAL\0C28000\0Mconnection requires a valid client certificate\0\0"
    answers = {
        b"E" + struct.pack("!I", len(fields) + 4) + fields: (False, "connection requires a valid client certificate"),
        b"R" + struct.pack("!II", 8, 3): (True, "answered R"),
    }
    for answer, (accepted, evidence) in answers.items():

        async def database(reader: Reader, writer: Writer, answer: bytes = answer) -> None:
            size = struct.unpack("!I", await reader.readexactly(4))[0]
            assert (await reader.readexactly(size - 4))[:4] == struct.pack("!I", 3 << 16)
            writer.write(answer)
            await writer.drain()
            await reader.read()

        entry = nobody(database, server(asks=True), Wire.POSTGRESQL)
        assert (entry.accepted, entry.evidence) == (accepted, evidence)
        unasked = nobody(database, server(asks=False), Wire.POSTGRESQL)
        assert (unasked.accepted, unasked.evidence) == (True, NOT_ASKED + evidence)


def test_a_way_in_that_nobody_knows_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="window"):
        asyncio.run(EnforcementProbe(CLOCK).look(Target("127.0.0.1", 1), {"a window": GIVEN}))
