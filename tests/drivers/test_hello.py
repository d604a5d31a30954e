"""ClientHellos and what servers answer: golden bytes, a real OpenSSL as the other end, and bytes of strangers."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.servers.certificates import NAME, certificates

from everyhop.core.endpoint.facts import Answer, Reply
from everyhop.core.tls.suites import TLS12_SUITES
from everyhop.core.tls.versions import SSL3, TLS10, TLS11, TLS12, TLS13
from everyhop.drivers.probes.hello.answer import LONGEST_MESSAGE, AnswerReader
from everyhop.drivers.probes.hello.encode import FILLERS, RANDOM_BYTES, Hello, encode, legacy, tls13
from everyhop.drivers.probes.hello.flight import RETRY_RANDOM

RANDOM = bytes(range(RANDOM_BYTES))
X25519, P256 = 29, 23


def read(hello: Hello, data: bytes, *, whole: bool = False, reason: str = "closed") -> Answer:
    reader = AnswerReader(hello, whole=whole)
    return reader.feed(data) or reader.end(reason, Reply.REFUSED)


def openssl(hello: Hello, *, kind: str = "rsa", ciphers: str = "ALL:eNULL:@SECLEVEL=0", ask: bool = False) -> bytes:
    """What the OpenSSL of this Python answers to a hello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers(ciphers)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (certificates().rsa if kind == "rsa" else certificates().ec).files() as (chain, key):
        context.load_cert_chain(chain, key)
    if ask:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=certificates().authority.pem.decode())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(encode(hello, RANDOM))
    with pytest.raises(ssl.SSLError):
        server.do_handshake()
    return outgoing.read()


# --- what is sent -------------------------------------------------------------------------------------------------


def test_golden_sslv3() -> None:
    """No extensions, no session id; the renegotiation SCSV behind the suites (RFC 5746, 3.4)."""
    body = b"\x03\x00" + RANDOM[:32] + b"\x00" + b"\x00\x04\x00\x0a\x00\xff" + b"\x01\x00"
    expected = b"\x16\x03\x00" + b"\x00\x2f" + b"\x01\x00\x00\x2b" + body
    assert encode(Hello(SSL3, (0x000A,)), RANDOM) == expected


def test_golden_tls13() -> None:
    """An empty key share, one version, a session id for old middleboxes (RFC 8446, D.4)."""
    extensions = bytes.fromhex(
        "0000 000a 0008 00 0005 782e746573"  # server_name x.tes
        "000a 0004 0002 001d"  # supported_groups
        "0010 0005 0003 02 6832"  # ALPN h2
        "000d 0004 0002 0804"  # signature_algorithms
        "002b 0003 02 0304"  # supported_versions
        "002d 0002 01 01"  # psk_key_exchange_modes
        "0033 0002 0000"  # key_share
    )
    body = b"\x03\x03" + RANDOM[:32] + b"\x20" + RANDOM[32:] + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    hello = Hello(TLS13, (0x1301,), (X25519,), (0x0804,), "x.tes", ("h2",))
    assert encode(hello, RANDOM) == b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def test_awkward_lengths_are_padded() -> None:
    """No hello has between 256 and 511 bytes (RFC 7685), those without extensions apart."""
    for count in range(1, 250):
        for version in (TLS10, TLS12, TLS13):
            size = len(encode(Hello(version, FILLERS[:count]), RANDOM)) - 5
            assert not 256 <= size < 512, (count, version, size)


@pytest.mark.parametrize("name", ["x" * 70_000, "ünïcode.test"])
def test_names_that_cannot_be_sent_are_refused(name: str) -> None:
    with pytest.raises(ValueError):
        encode(Hello(server_name=name), RANDOM)
    with pytest.raises(ValueError, match="64 random bytes"):
        encode(Hello(), b"few")


# --- what OpenSSL answers -----------------------------------------------------------------------------------------


def test_tls13_is_answered_by_a_retry_that_names_suite_and_group() -> None:
    hello = tls13((0x1303, 0x1301), (X25519, P256), server_name=NAME)
    answer = read(hello, openssl(hello))
    assert (answer.reply, answer.version, answer.retry, answer.group) == (Reply.ACCEPTED, TLS13, True, X25519)
    assert answer.suite in (0x1301, 0x1303)
    assert answer.certificate_requested is None
    assert answer.evidence.startswith("chose TLSv1.3 TLS_")


def test_tls12_shows_certificates_curve_signature_alpn_and_asks_for_a_certificate() -> None:
    hello = Hello(TLS12, (0xC02F,), (P256,), (0x0805,), NAME, ("h2",))
    answer = read(hello, openssl(hello, ask=True), whole=True)
    assert (answer.reply, answer.version, answer.suite, answer.group) == (Reply.ACCEPTED, TLS12, 0xC02F, P256)
    assert (answer.signature, answer.alpn, answer.certificate_requested) == (0x0805, "h2", True)
    assert answer.chain == (certificates().rsa.der, *answer.chain[1:])
    assert (answer.extended_master_secret, answer.secure_renegotiation, answer.compression) == (True, True, 0)
    assert not read(hello, openssl(hello), whole=True).certificate_requested


@pytest.mark.parametrize("version", [TLS10, TLS11, TLS12])
def test_older_versions(version: int) -> None:
    hello = legacy(version, (0xC013, 0x002F))
    answer = read(hello, openssl(hello), whole=True)
    assert (answer.reply, answer.version, answer.suite) == (Reply.ACCEPTED, version, 0xC013)
    assert (answer.signature is None) == (version < TLS12)
    assert answer.certificate_requested is False


def test_anonymous_and_null_suites_are_read() -> None:
    for code in (0xC018, 0xC010, 0x0002):
        hello = legacy(TLS12, (code,))
        answer = read(hello, openssl(hello), whole=True)
        assert (answer.reply, answer.suite, answer.signature is None) == (Reply.ACCEPTED, code, code != 0xC010)


def test_a_refusal_has_its_alert() -> None:
    hello = legacy(TLS12, (0x0005,))
    answer = read(hello, openssl(hello))
    assert (answer.reply, answer.alert, answer.evidence) == (Reply.REFUSED, 40, "alert handshake failure")


# --- what strangers answer ----------------------------------------------------------------------------------------

FULL = legacy(TLS12, (0xC02F,), (P256,))
FLIGHT = openssl(FULL, ask=True)


def record(kind: int, body: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def server_hello(version: int, code: int, extensions: bytes = b"", random: bytes = bytes(32)) -> bytes:
    tail = len(extensions).to_bytes(2, "big") + extensions if extensions else b""
    return message(2, version.to_bytes(2, "big") + random + b"\0" + code.to_bytes(2, "big") + b"\0" + tail)


@pytest.mark.parametrize(
    ("data", "reply", "evidence"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", Reply.NOT_TLS, "no TLS but 'HTTP/1.1 400 Bad Request..'"),
        (b"\x00\x1b[31m", Reply.NOT_TLS, "no TLS but '..[31m'"),
        (b"220 mail.example ESMTP", Reply.NOT_TLS, "no TLS but '220 mail.example ESMTP'"),
        (b"", Reply.REFUSED, "closed"),
        (b"\x16", Reply.GARBLED, "then closed"),
        (b"\x16\x03\x03\x40", Reply.GARBLED, "then closed"),
        (b"\x16\x01\x03\x00\x10", Reply.NOT_TLS, "no TLS"),
        (b"\x16\x03\x03\xff\xff", Reply.GARBLED, "a record of 65535 bytes"),
        (b"\x16\x03\x03\x00\x00", Reply.GARBLED, "a record of 0 bytes"),
        (record(22, b"\x02\xff\xff\xff"), Reply.GARBLED, "a handshake message of 16777215 bytes"),
        (record(22, message(11, b"\0\0\0")), Reply.GARBLED, "handshake message 11 before a ServerHello"),
        (record(22, message(2, b"\x03\x03")), Reply.GARBLED, "too early"),
        (
            record(22, server_hello(TLS12, 0x0005)),
            Reply.GARBLED,
            "chose TLS_RSA_WITH_RC4_128_SHA, which was not offered",
        ),
        (record(22, server_hello(0x0305, 0xC02F)), Reply.GARBLED, "chose 0x0305, which was not offered"),
        (record(22, server_hello(TLS12, 0xC02F, b"\0\x17\0\x09")), Reply.GARBLED, "too early"),
        (record(21, b"\x02\x28"), Reply.REFUSED, "alert handshake failure"),
        (record(21, b"\x01\x70") + record(21, b"\x02\x46"), Reply.REFUSED, "alert protocol version"),
        (record(21, b"\x01\x70"), Reply.REFUSED, "alert unrecognized name, then closed"),
        (record(21, b"\x01\x00"), Reply.REFUSED, "alert close notify"),
        (record(21, b"\x02") + record(21, b"\x28"), Reply.REFUSED, "alert handshake failure"),
        (record(22, server_hello(TLS12, 0xC02F)), Reply.ACCEPTED, "chose TLSv1.2"),
        (record(22, message(0, b"") + server_hello(TLS11, 0xC02F)), Reply.ACCEPTED, "chose TLSv1.1"),
        (
            record(22, server_hello(TLS12, 0xC02F)) + record(21, b"\x02\x50"),
            Reply.ACCEPTED,
            "then alert internal error",
        ),
        (record(22, server_hello(TLS12, 0xC02F) + message(11, b"\xff\xff\xff")), Reply.ACCEPTED, "too early"),
        (record(22, server_hello(TLS12, 0xC02F)) + b"garbage", Reply.ACCEPTED, "then bytes that are no TLS record"),
    ],
)
def test_every_answer_has_a_verdict_with_its_reason(data: bytes, reply: Reply, evidence: str) -> None:
    answer = read(FULL, data, whole=True)
    assert (answer.reply, answer.evidence) == (reply, answer.evidence)
    assert evidence in answer.evidence


def test_a_retry_for_a_group_that_was_not_offered_is_no_choice() -> None:
    extensions = b"\0\x2b\0\x02\x03\x04" + b"\0\x33\0\x02\0\x17"
    hello = tls13((0x1301,), (X25519,))
    answer = read(hello, record(22, server_hello(TLS12, 0x1301, extensions, RETRY_RANDOM)))
    assert (answer.reply, answer.evidence) == (Reply.GARBLED, "chose secp256r1, which was not offered")


def test_a_chain_without_end_is_cut_off() -> None:
    certificate = b"\0\0\x01x" * 1000
    body = server_hello(TLS12, 0xC02F) + message(11, len(certificate).to_bytes(3, "big") + certificate)
    assert "more than 32 certificates" in read(FULL, record(22, body), whole=True).evidence


def in_pieces(hello: Hello, data: bytes, cuts: Sequence[int]) -> Answer:
    reader, begin = AnswerReader(hello, whole=True), 0
    for cut in [*sorted(cuts), len(data)]:
        if answer := reader.feed(data[begin:cut]):
            return answer
        begin = cut
    return reader.end("closed", Reply.REFUSED)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, len(FLIGHT)), max_size=20))
def test_the_answer_does_not_depend_on_how_it_is_cut(cuts: list[int]) -> None:
    assert in_pieces(FULL, FLIGHT, cuts) == read(FULL, FLIGHT, whole=True)


@settings(deadline=None, max_examples=400)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_random_bytes_never_raise(data: bytes, cuts: list[int]) -> None:
    in_pieces(FULL, data, [cut for cut in cuts if cut <= len(data)])
    in_pieces(FULL, b"\x16\x03\x03" + len(data).to_bytes(2, "big") + data, [])
    in_pieces(FULL, record(22, server_hello(TLS12, 0xC02F, data[:200])) + record(22, data or b"x"), [])


@settings(deadline=None, max_examples=600)
@given(st.integers(0, len(FLIGHT) - 1), st.binary(min_size=1, max_size=4), st.booleans())
def test_broken_flights_never_raise(at: int, junk: bytes, cut: bool) -> None:
    """A real flight with a few bytes overwritten, and perhaps cut off there."""
    data = FLIGHT[:at] + junk + (b"" if cut else FLIGHT[at + len(junk) :])
    answer = in_pieces(FULL, data, [at])
    assert answer.evidence
    assert answer.reply is not Reply.ACCEPTED or answer.suite in FULL.suites


def test_memory_is_bounded_by_what_a_message_may_have() -> None:
    reader = AnswerReader(FULL, whole=True)
    reader.feed(record(22, server_hello(TLS12, 0xC02F)))
    begun = b"\x0b" + LONGEST_MESSAGE.to_bytes(3, "big")
    assert reader.feed(record(22, begun)) is None
    answer = reader.end("too much data", Reply.GARBLED)
    assert (answer.reply, answer.suite) == (Reply.ACCEPTED, 0xC02F)


def test_every_suite_can_be_chosen_and_read() -> None:
    for code in TLS12_SUITES:
        hello = legacy(TLS12, (code,))
        body = server_hello(TLS12, code) + message(12, bytes(range(200))) + message(14, b"")
        assert read(hello, record(22, body), whole=True).suite == code
