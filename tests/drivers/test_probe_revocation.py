"""Asking authorities: which words are believed, who is asked, and where a stranger's certificate cannot send us."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from socket import create_connection, create_server, socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.pki import CA
from tests.servers.badpki import Wish, mint
from tests.servers.responder import Authority, responder

from everyhop.core.endpoint.facts import RevocationFacts
from everyhop.core.endpoint.target import Target
from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.probes import fetch as fetching
from everyhop.drivers.probes.fetch import Unfetched, fetch
from everyhop.drivers.probes.revocation import RevocationProbe

ROOT = CA("root")
HERE = Target("127.0.0.1", 443)
NOBODY = "http://127.0.0.1:1/nobody"


def _der(*certificates: x509.Certificate) -> list[bytes]:
    return [each.public_bytes(Encoding.DER) for each in certificates]


def _asked(wish: Wish, *, staple: bytes | None = None, roots: bool = True, timeout: float = 5.0) -> RevocationFacts:
    leaf = mint(wish, ROOT).certificate
    _KNOWN[leaf.serial_number] = leaf
    probe = RevocationProbe(SystemClock(), roots={"own": [ROOT.certificate]} if roots else {})
    return asyncio.run(probe.look(HERE, _der(leaf), staple, timeout=timeout))


_KNOWN: dict[int, x509.Certificate] = {}


@pytest.fixture
def authority() -> Generator[Authority]:
    with responder(Authority(ROOT), _KNOWN) as serving:
        yield serving


def test_the_responder_is_asked_before_the_list(authority: Authority) -> None:
    facts = _asked(Wish(ocsp=f"{authority.url}/ocsp", crl=f"{authority.url}/crl"))
    assert (facts.status, facts.source, facts.fault) == ("good", "ocsp", "")
    assert facts.next_update is not None


def test_a_list_answers_for_a_responder_that_does_not(authority: Authority) -> None:
    facts = _asked(Wish(ocsp=NOBODY, crl=f"{authority.url}/crl"))
    assert (facts.status, facts.source, facts.fault) == ("good", "crl", "")


def test_nobody_answers() -> None:
    facts = _asked(Wish(ocsp=NOBODY, crl=NOBODY))
    assert (facts.status, facts.source) == ("", "")
    assert "connection refused" in facts.fault


def test_no_means_is_no_fault() -> None:
    facts = _asked(Wish())
    assert (facts.status, facts.source, facts.fault) == ("", "", "")


def test_a_believed_staple_answers_and_nobody_is_asked() -> None:
    leaf = mint(Wish(ocsp=NOBODY), ROOT).certificate
    probe = RevocationProbe(SystemClock(), roots={"own": [ROOT.certificate]})
    facts = asyncio.run(probe.look(HERE, _der(leaf), Authority(ROOT).answer(leaf)))
    assert (facts.status, facts.source, facts.fault) == ("good", "staple", "")


@pytest.mark.parametrize(
    ("fresh", "later"), [(timedelta(days=-373), timedelta()), (timedelta(days=1), timedelta(days=-9))]
)
def test_an_old_staple_does_not_hide_a_revocation(authority: Authority, fresh: timedelta, later: timedelta) -> None:
    """What the thief of a revoked key would show: a good word of the past. One of the future is no better."""
    leaf = mint(Wish(ocsp=f"{authority.url}/ocsp"), ROOT).certificate
    _KNOWN[leaf.serial_number] = leaf
    good = Authority(ROOT, fresh=fresh).answer(leaf)
    authority.revoked.add(leaf.serial_number)

    class Elsewhen:
        def now(self) -> datetime:
            return SystemClock().now() + later

    probe = RevocationProbe(Elsewhen(), roots={"own": [ROOT.certificate]})
    facts = asyncio.run(probe.look(HERE, _der(leaf), good))
    assert (facts.status, facts.source, facts.fault) == ("revoked", "ocsp", "")


def test_an_old_staple_that_nobody_else_confirms_proves_nothing() -> None:
    leaf = mint(Wish(ocsp=NOBODY), ROOT).certificate
    probe = RevocationProbe(SystemClock(), roots={"own": [ROOT.certificate]})
    facts = asyncio.run(probe.look(HERE, _der(leaf), Authority(ROOT, fresh=timedelta(days=-2)).answer(leaf)))
    assert facts.status == ""
    assert facts.fault.startswith("staple: expected one that is valid now")


def test_a_staple_that_says_revoked_is_believed_at_any_age() -> None:
    leaf = mint(Wish(ocsp=NOBODY), ROOT).certificate
    probe = RevocationProbe(SystemClock(), roots={"own": [ROOT.certificate]})
    staple = Authority(ROOT, {leaf.serial_number}, fresh=timedelta(days=-2)).answer(leaf)
    assert asyncio.run(probe.look(HERE, _der(leaf), staple)).status == "revoked"


def test_a_forged_staple_does_not_answer(authority: Authority) -> None:
    facts = _asked(Wish(ocsp=f"{authority.url}/ocsp"), staple=b"nonsense")
    assert (facts.status, facts.source) == ("good", "ocsp")
    assert "staple" in facts.fault


def test_the_issuer_may_be_a_trusted_root_that_was_not_sent(authority: Authority) -> None:
    facts = _asked(Wish(ocsp=f"{authority.url}/ocsp"), roots=False)
    assert facts.status == ""
    assert "issuer" in facts.fault


def test_the_worst_word_counts(authority: Authority) -> None:
    """A revoked intermediate revokes what stands below it."""
    middle = CA("middle", parent=ROOT)
    leaf = mint(Wish(crl=f"{authority.url}/crl"), ROOT).certificate
    authority.revoked.add(leaf.serial_number)
    probe = RevocationProbe(SystemClock(), roots={"own": [ROOT.certificate]})
    facts = asyncio.run(probe.look(HERE, _der(middle.issue("web.test").certificate, leaf), None))
    assert facts.status == "revoked"


def test_an_old_word_says_when_it_ended(authority: Authority) -> None:
    authority.fresh = timedelta(days=-2)
    facts = _asked(Wish(crl=f"{authority.url}/crl"))
    assert facts.next_update is not None
    assert facts.next_update < SystemClock().now()


def test_garbage_is_a_fault() -> None:
    facts = asyncio.run(RevocationProbe(SystemClock()).look(HERE, [b"garbage"], None))
    assert "expected a certificate" in facts.fault


def test_somebody_who_never_answers_holds_nobody_up() -> None:
    with _speaking(lambda _: None, hold=True) as url:
        facts = _asked(Wish(ocsp=url), timeout=0.3)
    assert (facts.status, facts.fault) == ("", "nothing more came within 0.3 seconds")


# --- fetching ----------------------------------------------------------------------------------------------------


@contextmanager
def _speaking(say: Callable[[socket], object], *, hold: bool = False) -> Generator[str]:
    """One that says this to whoever comes, and with ``hold`` keeps the line open."""
    server = create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(1 << 16)
                    say(connection)
                except OSError:
                    continue
                if hold:
                    over.wait(30)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    finally:
        over.set()
        create_connection(server.getsockname(), timeout=5).close()  # wakes it, so that it sees that it is over
        server.close()
        thread.join()


def _fetched(url: str, *, beside: str = "127.0.0.1", limit: int = 1000) -> bytes:
    return asyncio.run(asyncio.wait_for(fetch(url, beside=beside, limit=limit), 20))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "status 302"),
        (b"HTTP/1.1 500 No\r\n\r\n", "status 500"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "in one piece"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "cut off"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001, "at most 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, "too much data"),
        (b"no http at all", "something else"),
        (b"", "something else"),
        (b"HTTP/1.1 2\xb20 OK\r\n\r\n", "something else"),
    ],
)
def test_answers_that_are_no_use(answer: bytes, reason: str) -> None:
    with _speaking(lambda connection: connection.sendall(answer)) as url, pytest.raises(Unfetched, match=reason):
        _fetched(url)


def test_a_good_answer() -> None:
    with _speaking(lambda connection: connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody")) as url:
        assert _fetched(url) == b"body"


@pytest.mark.parametrize(
    "url",
    [
        "https://ocsp.test/",
        "file:///etc/passwd",
        "ldap://directory.test/cn=crl",
        "http://user@ocsp.test/",
        "http://ocsp.test:99999/",
        "http://[::1/",
        "http:///path",
        "http://ocsp.test/a b",
        "http://ocsp.test/a\r\nX: y",
        "",
    ],
)
def test_addresses_that_are_not_asked(url: str) -> None:
    with pytest.raises(Unfetched, match=r"expected|no address"):
        _fetched(url)


@pytest.mark.parametrize(
    ("host", "beside"),
    [
        ("127.0.0.1", "8.8.8.8"),
        ("10.0.0.1", "8.8.8.8"),
        ("[::1]", "8.8.8.8"),
        ("[::ffff:127.0.0.1]", "8.8.8.8"),
        ("192.168.1.1", "2001:4860:4860::8888"),
        ("169.254.169.254", "8.8.8.8"),
        ("169.254.169.254", "127.0.0.1"),
        ("[::ffff:169.254.169.254]", "127.0.0.1"),
        ("[fe80::1]", "10.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # an address to be refused
        ("224.0.0.1", "127.0.0.1"),
    ],
)
def test_a_strangers_certificate_cannot_send_us_to_our_own_machines(host: str, beside: str) -> None:
    with pytest.raises(Unfetched, match="expected a public address"):
        _fetched(f"http://{host}:9/", beside=beside)


def test_the_head_is_bounded_too() -> None:
    long = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * fetching.LONGEST_HEAD
    with _speaking(lambda connection: connection.sendall(long)) as url, pytest.raises(Unfetched, match="too much data"):
        _fetched(url)
