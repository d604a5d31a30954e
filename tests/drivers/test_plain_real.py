"""What real servers do with somebody who comes without TLS, in each of their settings."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.servers.certificates import certificates
from tests.servers.conversation import either, serving
from tests.servers.dovecot import dovecot
from tests.servers.mariadb import MariaDb
from tests.servers.memcached import memcached
from tests.servers.mosquitto import mosquitto
from tests.servers.nginx import RSA, nginx
from tests.servers.postgresql import Postgresql, postgresql
from tests.servers.redis import Redis, redis
from tests.servers.slapd import slapd
from tests.servers.smtp import smtp
from tests.servers.vsftpd import vsftpd

from everyhop.core.endpoint.facts import Encryption, PlainFacts
from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.hop import Address
from everyhop.drivers.probes.hello.ask import UpgradeRefused
from everyhop.drivers.probes.plain import PlainProbe
from everyhop.drivers.probes.secured import secure
from everyhop.drivers.probes.upgrade import upgrade_for
from everyhop.drivers.probes.wire import connect

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LONG = 30.0
SOURCE = "127.0.0.9"
"""Dovecot trusts a client of its own address; this one is another's."""


class FixedClock:
    def now(self) -> datetime:
        return NOW


PROBE = PlainProbe(FixedClock(), source=SOURCE)


def look(port: int, wire: Wire | None = None, *, tls_first: bool | None = None, timeout: float = 6.0) -> PlainFacts:
    """A timeout divides among many questions where nothing is known, some of which no server answers."""
    target = Target("127.0.0.1", port, server_name="probe.test", wire=wire, tls_first=tls_first)
    return asyncio.run(PROBE.look(target, timeout=timeout))


def upgraded(port: int, wire: Wire) -> str:
    """The TLS version after the protocol's own upgrade; raises UpgradeRefused."""

    async def story() -> str:
        target = Target("127.0.0.1", port, server_name="probe.test", wire=wire, tls_first=False)
        upgrade = upgrade_for(target)
        assert upgrade is not None
        async with asyncio.timeout(LONG):
            connected = await connect(Address("127.0.0.1", port), limit=1 << 16)
            try:
                await upgrade(connected)
                secured = await secure(connected, server_name="probe.test")
                await secured.bye()
            finally:
                connected.close()
        return "secured"

    return asyncio.run(story())


# --- Redis, memcached, MQTT: TLS from the first byte or none ----------------------------------------------------


@pytest.fixture(scope="module")
def a_redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[Redis]:
    with redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.mark.parametrize(
    ("wire", "tls_first"),
    [(Wire.REDIS, False), (Wire.REDIS, True), (Wire.REDIS, None), (None, None), (Wire.HTTP, False)],
)
def test_redis_in_the_clear(a_redis: Redis, wire: Wire | None, tls_first: bool | None) -> None:
    seen = look(a_redis.plain, wire, tls_first=tls_first)
    assert (seen.encryption, seen.wire, seen.evidence) == (Encryption.PLAINTEXT, Wire.REDIS, "+PONG")
    assert seen.at == NOW


@pytest.mark.parametrize(("wire", "tls_first"), [(Wire.REDIS, False), (Wire.REDIS, True), (None, None)])
def test_redis_with_tls(a_redis: Redis, wire: Wire | None, tls_first: bool | None) -> None:
    seen = look(a_redis.tls, wire, tls_first=tls_first)
    assert (seen.encryption, seen.wire, seen.connections) == (Encryption.TLS, wire or Wire.TLS, 2), seen.evidence
    assert seen.evidence.startswith("ServerHello; in the clear: ")


def test_redis_never_takes_a_look_for_an_attack(a_redis: Redis) -> None:
    for wire, tls_first in ((None, None), (Wire.HTTP, False), (Wire.HTTP, True), (Wire.SMTP, False)):
        look(a_redis.plain, wire, tls_first=tls_first, timeout=2)
    assert "SECURITY ATTACK" not in a_redis.log.read_text()


def test_a_redis_that_wants_a_password_takes_it_in_the_clear(tmp_path: Path) -> None:
    with redis(tmp_path, password="unguessable") as server:
        seen = look(server.plain, Wire.REDIS)
    assert (seen.encryption, seen.evidence) == (Encryption.PLAINTEXT, "-NOAUTH Authentication required.")


@pytest.mark.parametrize("wire", [Wire.MEMCACHED, None])
def test_memcached(tmp_path: Path, wire: Wire | None) -> None:
    with memcached(tmp_path) as port:
        seen = look(port, wire)
    assert (seen.encryption, seen.wire) == (Encryption.PLAINTEXT, Wire.MEMCACHED), seen.evidence
    assert seen.evidence.startswith("VERSION ")


@pytest.mark.parametrize(("anonymous", "words"), [(True, "CONNACK 0 accepted"), (False, "CONNACK 5 not authorised")])
def test_mosquitto(tmp_path: Path, anonymous: bool, words: str) -> None:
    with mosquitto(tmp_path, anonymous=anonymous) as server:
        for wire in (Wire.MQTT, None):
            seen = look(server.plain, wire)
            assert (seen.encryption, seen.wire, seen.evidence) == (Encryption.PLAINTEXT, Wire.MQTT, words)
        for wire, tls_first in ((Wire.MQTT, True), (Wire.MQTT, False), (None, None)):
            seen = look(server.tls, wire, tls_first=tls_first)
            assert (seen.encryption, seen.wire) == (Encryption.TLS, wire or Wire.TLS), seen.evidence


# --- PostgreSQL: three settings, and what a refusal proves ------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Generator[Postgresql]:
    with postgresql() as made:
        yield made


@pytest.mark.parametrize(
    ("hba", "tls", "encryption", "evidence"),
    [
        (["host all all all scram-sha-256"], False, Encryption.PLAINTEXT, "SSLRequest: N"),
        (["host all all all scram-sha-256"], True, Encryption.UPGRADE_OFFERED, "without TLS: R 10"),
        (["host all all all trust"], True, Encryption.UPGRADE_OFFERED, "without TLS: R 0"),
        (["hostssl all all all scram-sha-256"], True, Encryption.UPGRADE_REQUIRED, "without TLS: E 28000 no pg_hba"),
        (
            ["hostssl all all all scram-sha-256", "hostnossl all all all reject"],
            True,
            Encryption.UPGRADE_REQUIRED,
            "without TLS: E 28000 pg_hba.conf rejects",
        ),
        (["hostssl all all all cert"], True, Encryption.UPGRADE_REQUIRED, "without TLS: E 28000 no pg_hba"),
        # The same refusal with TLS proves nothing about plaintext: other users may be let in.
        (["hostssl app app all scram-sha-256"], True, Encryption.UNKNOWN, "with TLS and without: E 28000"),
    ],
)
def test_postgresql(cluster: Postgresql, hba: list[str], tls: bool, encryption: Encryption, evidence: str) -> None:
    with cluster.serving(hba, tls=tls) as port:
        seen = look(port, Wire.POSTGRESQL, tls_first=False)
        assert (seen.encryption, seen.wire) == (encryption, Wire.POSTGRESQL), seen.evidence
        assert seen.evidence.startswith(evidence)
        assert seen.connections == (2 if tls else 1)
        log = cluster.log
        assert "startup packet" not in log, "no ClientHello where PostgreSQL is known to listen"
        assert "unexpected" not in log
        if tls:
            assert upgraded(port, Wire.POSTGRESQL) == "secured"
        else:
            with pytest.raises(UpgradeRefused):
                upgraded(port, Wire.POSTGRESQL)


def test_an_unknown_postgresql_is_found_all_the_same(cluster: Postgresql) -> None:
    with cluster.serving(["host all all all scram-sha-256"], tls=True) as port:
        seen = look(port)
    assert (seen.encryption, seen.wire) == (Encryption.UPGRADE_OFFERED, Wire.POSTGRESQL), seen.evidence


# --- MariaDB ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mariadb() -> Generator[MariaDb]:
    with tempfile.TemporaryDirectory(prefix="eh-my-") as home:
        yield MariaDb(Path(home))


_ACCOUNT = "create user everyhop@127.0.0.9 identified by '';\n"


@pytest.mark.parametrize(
    ("tls", "required", "account", "encryption", "evidence"),
    [
        (False, False, False, Encryption.PLAINTEXT, "without the capability CLIENT_SSL"),
        (True, False, False, Encryption.UNKNOWN, "login without TLS: 1045"),
        (True, True, False, Encryption.UNKNOWN, "login without TLS: 1045"),
        (True, False, True, Encryption.UPGRADE_OFFERED, "login without TLS: taken"),
        (True, True, True, Encryption.UPGRADE_REQUIRED, "; with TLS: taken"),
    ],
)
def test_mariadb(
    mariadb: MariaDb, tmp_path: Path, tls: bool, required: bool, account: bool, encryption: Encryption, evidence: str
) -> None:
    script = tmp_path / "init.sql"
    script.write_text(
        "drop user if exists everyhop@127.0.0.9, stranger@127.0.0.9;\n"
        "create user stranger@127.0.0.9 identified by 'unguessable';\n" + (_ACCOUNT if account else "")
    )
    options = [f"--init-file={script}", *(["--require-secure-transport=ON"] if required else [])]
    with mariadb.serving(*options, tls=tls) as port:
        for wire in (Wire.MYSQL, None):
            seen = look(port, wire)
            assert (seen.encryption, seen.wire) == (encryption, Wire.MYSQL), seen.evidence
            assert evidence in seen.evidence
        if tls:
            assert upgraded(port, Wire.MYSQL) == "secured"
        else:
            with pytest.raises(UpgradeRefused, match="CLIENT_SSL"):
                upgraded(port, Wire.MYSQL)


def test_looking_does_not_lock_us_out_of_mariadb(mariadb: MariaDb, tmp_path: Path) -> None:
    script = tmp_path / "init.sql"
    script.write_text(
        "drop user if exists everyhop@127.0.0.9;\n"
        "create or replace user stranger@127.0.0.9 identified by 'unguessable';\n"
    )
    with mariadb.serving(f"--init-file={script}", "--max-connect-errors=2") as port:
        words = {look(port, Wire.MYSQL).evidence for _ in range(4)}
    assert len(words) == 1
    assert "1045" in words.pop()


# --- mail -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "encryption", "evidence"),
    [
        (lambda: smtp(tls=False), Encryption.PLAINTEXT, "EHLO without STARTTLS"),
        (lambda: smtp(tls=True), Encryption.UPGRADE_OFFERED, "MAIL before STARTTLS: 250"),
        (lambda: smtp(tls=True, required=True), Encryption.UPGRADE_REQUIRED, "MAIL before STARTTLS: 530 Must issue"),
        (lambda: smtp(tls=True, login=True), Encryption.UPGRADE_REQUIRED, "before STARTTLS: MAIL: 530"),
    ],
)
@pytest.mark.parametrize("wire", [Wire.SMTP, None])
def test_smtp(
    server: Callable[[], AbstractContextManager[int]], wire: Wire | None, encryption: Encryption, evidence: str
) -> None:
    with server() as port:
        seen = look(port, wire)
        assert (seen.encryption, seen.wire) == (encryption, Wire.SMTP), seen.evidence
        assert seen.evidence.startswith(evidence)
        if encryption is not Encryption.PLAINTEXT:
            assert upgraded(port, Wire.SMTP) == "secured"
        else:
            with pytest.raises(UpgradeRefused, match="without STARTTLS"):
                upgraded(port, Wire.SMTP)


def test_a_submission_port_that_takes_logins_in_the_clear() -> None:
    with pytest.warns(UserWarning, match="Requiring AUTH"), smtp(tls=True, login=True, login_needs_tls=False) as port:
        seen = look(port, Wire.SMTP)
    assert (seen.encryption, seen.evidence[:25]) == (Encryption.UPGRADE_OFFERED, "AUTH before STARTTLS: 334")


@pytest.mark.parametrize(
    ("ssl_setting", "strict", "encryption"),
    [
        ("no", False, Encryption.PLAINTEXT),
        ("yes", False, Encryption.UPGRADE_OFFERED),
        ("yes", True, Encryption.UPGRADE_REQUIRED),
        ("required", True, Encryption.UPGRADE_REQUIRED),
    ],
)
def test_imap_and_pop3(ssl_setting: str, strict: bool, encryption: Encryption) -> None:
    with dovecot(ssl=ssl_setting, strict=strict) as server:
        for port, wire in ((server.imap, Wire.IMAP), (server.pop3, Wire.POP3)):
            for known in (wire, None):
                seen = look(port, known)
                assert (seen.encryption, seen.wire) == (encryption, wire), seen.evidence
            if ssl_setting == "no":
                with pytest.raises(UpgradeRefused):
                    upgraded(port, wire)
            else:
                assert upgraded(port, wire) == "secured"
        if server.imaps:
            seen = look(server.imaps, Wire.IMAP, tls_first=True)
            assert (seen.encryption, seen.wire, seen.connections) == (Encryption.TLS, Wire.IMAP, 2), seen.evidence


# --- LDAP and FTP -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directives", "tls", "encryption", "evidence"),
    [
        ((), False, Encryption.PLAINTEXT, "StartTLS: result 2"),
        ((), True, Encryption.UPGRADE_OFFERED, "simple bind before StartTLS: result 49"),
        (("security simple_bind=128",), True, Encryption.UPGRADE_REQUIRED, "simple bind before StartTLS: result 13"),
        (("security tls=1",), True, Encryption.UPGRADE_REQUIRED, "search before StartTLS: result 13"),
    ],
)
@pytest.mark.parametrize("suffix", ["", "dc=acme,dc=test"])
def test_ldap(
    tmp_path: Path, directives: tuple[str, ...], tls: bool, suffix: str, encryption: Encryption, evidence: str
) -> None:
    with slapd(tmp_path, *directives, tls=tls, suffix=suffix) as server:
        for wire in (Wire.LDAP, None):
            seen = look(server.ldap, wire)
            assert (seen.encryption, seen.wire) == (encryption, Wire.LDAP), seen.evidence
            assert seen.evidence.startswith(evidence)
        if tls:
            assert upgraded(server.ldap, Wire.LDAP) == "secured"
            assert look(server.ldaps, Wire.LDAP, tls_first=True).encryption is Encryption.TLS
        else:
            with pytest.raises(UpgradeRefused, match="result 2"):
                upgraded(server.ldap, Wire.LDAP)


@pytest.mark.parametrize(
    ("tls", "required", "encryption", "evidence"),
    [
        (False, False, Encryption.PLAINTEXT, "AUTH TLS: 530"),
        (True, False, Encryption.UPGRADE_OFFERED, "USER before AUTH TLS: 331"),
        (
            True,
            True,
            Encryption.UPGRADE_REQUIRED,
            "USER before AUTH TLS: 530 Non-anonymous sessions must use encryption",
        ),
    ],
)
def test_ftp(tmp_path: Path, tls: bool, required: bool, encryption: Encryption, evidence: str) -> None:
    with vsftpd(tmp_path, tls=tls, required=required) as port:
        for wire in (Wire.FTP, None):
            seen = look(port, wire)
            assert (seen.encryption, seen.wire) == (encryption, Wire.FTP), seen.evidence
            assert seen.evidence.startswith(evidence)
        if tls:
            assert upgraded(port, Wire.FTP) == "secured"
        else:
            with pytest.raises(UpgradeRefused, match="530"):
                upgraded(port, Wire.FTP)


# --- HTTP -------------------------------------------------------------------------------------------------------


@contextmanager
def some_nginx(home: Path) -> Generator[dict[str, int]]:
    with nginx(
        home,
        {
            "tls": RSA,
            "plain": "",
            "plain redirect": "return 301 https://probe.test/;",
            "helpful": RSA + "error_page 497 =301 https://probe.test/;",
        },
    ) as ports:
        yield ports


def test_http(tmp_path: Path) -> None:
    with some_nginx(tmp_path) as ports:
        for wire, tls_first in ((Wire.HTTP, False), (None, None), (Wire.HTTP, True)):
            seen = look(ports["plain"], wire, tls_first=tls_first)
            assert (seen.encryption, seen.wire, seen.evidence) == (Encryption.PLAINTEXT, Wire.HTTP, "HTTP/1.1 200 OK")
            seen = look(ports["plain redirect"], wire, tls_first=tls_first)
            assert (seen.encryption, seen.wire) == (Encryption.PLAINTEXT, Wire.HTTP), seen.evidence
            assert seen.evidence == "HTTP/1.1 301 Moved Permanently, to https://probe.test/"
            for name in ("tls", "helpful"):
                seen = look(ports[name], wire, tls_first=tls_first)
                assert (seen.encryption, seen.wire) == (Encryption.TLS, Wire.HTTP), seen.evidence
                assert "ServerHello; in the clear: HTTP/1.1 " in seen.evidence


def test_a_port_that_takes_both_is_not_encrypted(tmp_path: Path) -> None:
    async def story(ports: dict[str, int]) -> list[PlainFacts]:
        async with either(ports["plain"], ports["tls"]) as port:
            targets = [
                Target("127.0.0.1", port, wire=wire, tls_first=tls_first)
                for wire, tls_first in ((Wire.HTTP, True), (Wire.HTTP, False), (None, None))
            ]
            return [await PROBE.look(target) for target in targets]

    with some_nginx(tmp_path) as ports:
        for seen in asyncio.run(story(ports)):
            assert (seen.encryption, seen.wire) == (Encryption.UPGRADE_OFFERED, Wire.HTTP), seen.evidence
            assert seen.evidence == "ServerHello; in the clear: HTTP/1.1 200 OK"


def test_mail_with_tls_first_and_without_on_one_port() -> None:
    async def story(plain: int) -> PlainFacts:
        async def tls(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        context: ssl.SSLContext = certificates().rsa.server_context()
        async with serving(tls, tls=context) as secured, either(plain, secured.port) as port:
            return await PROBE.look(Target("127.0.0.1", port, wire=Wire.SMTP, tls_first=True), timeout=4)

    with smtp(tls=False) as plain:
        seen = asyncio.run(story(plain))
    assert (seen.encryption, seen.wire) == (Encryption.UPGRADE_OFFERED, Wire.SMTP), seen.evidence
