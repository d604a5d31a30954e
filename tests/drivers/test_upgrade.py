"""The dialogues before TLS: what they say, what they take for a yes, and that nothing may come along with it."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.servers.certificates import certificates
from tests.servers.conversation import Reader, Talk, Writer, serving
from tests.servers.nats import nats
from tests.servers.xmpp import xmpp

from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.hop import Address
from everyhop.drivers.probes.dialogue import Dialogue, Garbled, Timed, numbered, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused
from everyhop.drivers.probes.secured import hello, secure
from everyhop.drivers.probes.upgrade import UPGRADES, upgrade_for
from everyhop.drivers.probes.wire import Ended, connect

TLS = certificates().rsa.server_context()
_BODY = b"\x0a8.0.36\x00" + bytes(12) + b"\x00" + struct.pack("<HBHH", 0xFFFF, 33, 2, 0xC007)
GREETING = struct.pack("<I", len(_BODY)) + _BODY
START_TLS_OK = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"


def scripted(*answers: bytes) -> Talk:
    """Says the first at once, and each further one when something was said to it."""

    async def talk(reader: Reader, writer: Writer) -> None:
        for number, answer in enumerate(answers):
            if number and not await reader.read(4096):
                return
            writer.write(answer)
            await writer.drain()
        await reader.read()

    return talk


def upgraded(talk: Talk, wire: Wire, *, port: int = 0, shake: bool = False) -> None:
    """Raises what the upgrade, or the handshake behind it, raises."""

    async def story() -> None:
        async with serving(talk) as served, asyncio.timeout(20):
            upgrade = upgrade_for(Target("127.0.0.1", port or served.port, server_name="probe.test", wire=wire))
            assert upgrade is not None
            connected = await connect(Address("127.0.0.1", served.port), limit=1 << 16)
            try:
                await upgrade(connected)
                if shake:
                    await (await secure(connected, server_name="probe.test")).bye()
            finally:
                connected.close()

    asyncio.run(story())


YES: dict[Wire, tuple[bytes, ...]] = {
    Wire.POSTGRESQL: (b"", b"S"),
    Wire.SMTP: (b"220 mail\r\n", b"250-mail\r\n250-SIZE 1\r\n250 StartTLS\r\n", b"220 go ahead\r\n"),
    Wire.IMAP: (b"* OK hi\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS\r\nc OK\r\n", b"t OK go ahead\r\n"),
    Wire.POP3: (b"+OK hi\r\n", b"+OK go ahead\r\n"),
    Wire.FTP: (b"220-hi\r\nthere\r\n220 .\r\n", b"234 go ahead\r\n"),
    Wire.LDAP: (b"", START_TLS_OK),
    Wire.XMPP: (
        b"",
        b"<stream:stream><stream:features><starttls xmlns='x'/></stream:features>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    ),
    Wire.NATS: (b'INFO {"tls_required":true}\r\n',),
}


@pytest.mark.parametrize("wire", YES)
def test_a_yes(wire: Wire) -> None:
    upgraded(scripted(*YES[wire]), wire)


def test_mysqls_greeting_is_yes_enough() -> None:
    upgraded(scripted(GREETING), Wire.MYSQL)


@pytest.mark.parametrize("wire", YES)
def test_nothing_may_come_behind_a_yes(wire: Wire) -> None:
    *before, yes = YES[wire]
    with pytest.raises(Garbled, match="nothing behind the go-ahead"):
        upgraded(scripted(*before, yes + b"\x16\x03\x03 or anything"), wire)


NO: list[tuple[Wire, tuple[bytes, ...], str]] = [
    (Wire.POSTGRESQL, (b"", b"N"), "N"),
    (Wire.POSTGRESQL, (b"", b"E\x00\x00\x00\x20SFATAL\x00C53300\x00"), "SFATAL"),
    (Wire.MYSQL, (GREETING.replace(b"\xff\xff\x21", b"\xff\xf7\x21"),), "8.0.36 without the capability CLIENT_SSL"),
    (Wire.MYSQL, (b"\x16\x00\x00\x00\xff\x69\x04Host is not allowed",), "1129 Host is not allowed"),
    (Wire.SMTP, (b"554 no\r\n",), "554 no"),
    (Wire.SMTP, (b"220 mail\r\n", b"250-mail\r\n250 SIZE\r\n"), "EHLO without STARTTLS"),
    (Wire.SMTP, (b"220 mail\r\n", b"250-mail\r\n250 STARTTLS\r\n", b"454 not now\r\n"), "454 not now"),
    (Wire.IMAP, (b"* BYE too many\r\n",), "[*] BYE too many"),
    (Wire.IMAP, (b"* OK hi\r\n", b"* CAPABILITY IMAP4rev1\r\nc OK\r\n"), "CAPABILITY without STARTTLS"),
    (Wire.IMAP, (b"* OK hi\r\n", b"* CAPABILITY STARTTLS\r\nc OK\r\n", b"t BAD no\r\n"), "BAD no"),
    (Wire.POP3, (b"+OK hi\r\n", b"-ERR what\r\n"), "-ERR what"),
    (Wire.FTP, (b"220 hi\r\n", b"502 what\r\n"), "502 what"),
    (Wire.LDAP, (b"", b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00"), "result 52"),
    (Wire.XMPP, (b"", b"<stream:stream><stream:features/>"), "stream features without starttls"),
    (Wire.XMPP, (b"", b"<stream:stream><stream:error><host-unknown/></stream:error>"), "host-unknown"),
    (Wire.NATS, (b"INFO {}\r\n",), "INFO without tls_required"),
]


@pytest.mark.parametrize(("wire", "answers", "reason"), NO)
def test_a_no_is_quoted(wire: Wire, answers: tuple[bytes, ...], reason: str) -> None:
    with pytest.raises(UpgradeRefused, match=reason):
        upgraded(scripted(*answers), wire)


@pytest.mark.parametrize("wire", list(UPGRADES))
@pytest.mark.parametrize(
    "answer", [b"\x15\x03\x03\x00\x02\x02\x46", b"\xff" * 100 + b"\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"]
)
def test_another_protocol_is_garbled(wire: Wire, answer: bytes) -> None:
    async def talk(_: Reader, writer: Writer) -> None:
        writer.write(answer)  # and an end: a half packet must not be waited for

    with pytest.raises((Ended, UpgradeRefused)):
        upgraded(talk, wire)


@pytest.mark.parametrize("talk", [xmpp(tls=TLS), xmpp(required=True, tls=TLS)])
def test_xmpp_goes_on_in_tls(talk: Talk) -> None:
    upgraded(talk, Wire.XMPP, shake=True)


def test_nats_goes_on_in_tls() -> None:
    upgraded(nats(required=True, says_why=False, tls=TLS), Wire.NATS, shake=True)


def test_xmpp_between_servers_says_so() -> None:
    heard: list[bytes] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        heard.append(await reader.read(4096))
        writer.write(b"<stream:stream><stream:features/>")

    for port in (5222, 5269):
        with pytest.raises(UpgradeRefused):
            upgraded(talk, Wire.XMPP, port=port)
    assert b"xmlns='jabber:client'" in heard[0]
    assert b"xmlns='jabber:server'" in heard[1]
    assert all(b"to='probe.test'" in each for each in heard)


def test_a_name_cannot_break_out_of_xml() -> None:
    async def story() -> bytes:
        heard: list[bytes] = []

        async def talk(reader: Reader, _: Writer) -> None:
            heard.append(await reader.read(4096))

        async with serving(talk) as served:
            upgrade = upgrade_for(Target("127.0.0.1", served.port, server_name="a'/><b c='", wire=Wire.XMPP))
            assert upgrade is not None
            connected = await connect(Address("127.0.0.1", served.port), limit=1000)
            with pytest.raises(Ended):
                await upgrade(connected)
            connected.close()
        return heard[0]

    assert b"<b " not in asyncio.run(story())


@pytest.mark.parametrize(
    ("wire", "tls_first", "there"),
    [
        (Wire.SMTP, False, True),
        (Wire.SMTP, None, True),
        (Wire.SMTP, True, False),
        (Wire.REDIS, False, False),
        (None, None, False),
    ],
)
def test_who_has_an_upgrade(wire: Wire | None, tls_first: bool | None, there: bool) -> None:
    assert (upgrade_for(Target("x", 1, wire=wire, tls_first=tls_first)) is not None) is there


# --- the dialogue itself ----------------------------------------------------------------------------------------


class Canned:
    """A channel that says these pieces, and then ends."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    async def send(self, data: bytes) -> None:
        assert data

    async def receive(self) -> bytes:
        if not self._pieces:
            raise Ended("closed")
        return self._pieces.pop(0)


def test_lines_and_pieces_are_read_across_packets() -> None:
    async def story() -> None:
        dialogue = Dialogue(Canned(b"one\r", b"\ntwo\nth", b"ree", b"rest of it"))
        assert await dialogue.line() == b"one"
        assert await dialogue.line() == b"two"
        assert await dialogue.exactly(5) == b"three"
        assert await dialogue.some(4) == b"rest"
        assert await dialogue.some() == b" of it"
        dialogue.settle()
        assert dialogue.heard == b"one\r\ntwo\nthreerest of it"
        with pytest.raises(Ended, match="closed"):
            await dialogue.some()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("data", "code", "lines"),
    [
        (b"220 hi\r\n", 220, (b"hi",)),
        (b"220\r\n", 220, (b"",)),
        (b"250-a\r\n250-b\r\n250 c\r\n", 250, (b"a", b"b", b"c")),
        (
            b"211-Features:\r\n AUTH TLS\r\n123 not the end\r\n211 End\r\n",
            211,
            (b"Features:", b"AUTH TLS", b"123 not the end", b"End"),
        ),
    ],
)
def test_numbered_replies(data: bytes, code: int, lines: tuple[bytes, ...]) -> None:
    reply = asyncio.run(numbered(Dialogue(Canned(data))))
    assert (reply.code, reply.lines) == (code, lines)


@pytest.mark.parametrize("data", [b"22 hi\r\n", b"\r\n", b"2x0 hi\r\n", b"220hi\r\n", b"x" * 20000, b"220-\r\n" * 300])
def test_no_reply(data: bytes) -> None:
    with pytest.raises(Garbled):
        asyncio.run(numbered(Dialogue(Canned(data))))


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_evidence_is_printable_and_short(data: bytes) -> None:
    text = shown(data)
    assert len(text) <= 120
    assert text.isascii()
    assert text == "" or text.isprintable()


def test_a_timed_channel_ends() -> None:
    async def story() -> None:
        class Never:
            async def send(self, data: bytes) -> None:
                await asyncio.Event().wait()

            async def receive(self) -> bytes:
                await asyncio.Event().wait()
                raise AssertionError

        timed = Timed(Never(), asyncio.get_running_loop().time() + 0.02)
        with pytest.raises(Ended, match="timeout"):
            await timed.receive()
        with pytest.raises(Ended, match="timeout"):
            await timed.send(b"x")

    asyncio.run(story())


@pytest.mark.parametrize("name", ["", "probe.test", "münchen.example", "a" * 300, "x\0y"])
def test_a_hello_is_a_client_hello_whatever_the_name(name: str) -> None:
    data = hello(name)
    assert data[:2] == b"\x16\x03"
    assert data[5] == 1
