"""The gate: nothing is signed that was not linted, allowed and journaled, and nothing twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from tests.fakes.crash import Fuse
from tests.fakes.world import Life, World, policy

from everyhop.core.certificate import CertificateRequest, Issuer, NameScope
from everyhop.core.policy import SYSTEM
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.drivers.keys.algorithms import make, public_bytes
from everyhop.errors import EveryhopError
from everyhop.ports import Issuance, IssuanceState
from everyhop.services.issue import certificate_of

POLICY = policy()
DB = POLICY.trust_domain.identity("test", "db")
KEY = public_bytes(make(KeyAlgorithm.P256))
OTHER_KEY = public_bytes(make(KeyAlgorithm.P256))
GOOD = CertificateRequest("one", PROFILES["service"], KEY, timedelta(hours=1), "data", "test", identity=DB)


async def established(world: World, fuse: Fuse | None = None) -> tuple[Life, Issuer]:
    await world.life().begin()
    life = world.life(fuse)
    return life, (await life.authorities.get("intermediate-1")).issuer()


def snapshot(world: World) -> tuple[object, ...]:
    """Everything durable but the audit log."""
    disk = world.disk
    return dict(disk.documents), dict(disk.leases), dict(disk.journal), dict(world.held)


REFUSED = {
    "foreign identity": replace(GOOD, identity=POLICY.trust_domain.identity("test", "nobody")),
    "another owner": replace(GOOD, owner="shop"),
    "foreign name": replace(GOOD, dns_names=("db.shop.internal",)),
    "foreign trust domain": replace(GOOD, identity=DB.parse("spiffe://elsewhere.test/test/db")),
    "too long a life": replace(GOOD, lifetime=timedelta(days=2)),
    "key of a wrong type": replace(GOOD, public_key=public_bytes(make(KeyAlgorithm.P384))),
    "key that leaves never have": replace(GOOD, public_key=public_bytes(make(KeyAlgorithm.ED25519))),
    "no key at all": replace(GOOD, public_key=b"\x30\x00"),
    "no identity": replace(GOOD, identity=None, dns_names=("shop.localhost",)),
    "nothing at all": replace(GOOD, identity=None),
    "name with a hole": replace(GOOD, dns_names=("a..shop.internal",)),
    "name beyond ASCII": replace(GOOD, dns_names=("bücher.shop.internal",)),
    "common name that is too long": replace(GOOD, common_name="x" * 65),
    "life without length": replace(GOOD, lifetime=timedelta(minutes=-10)),
    "authority for everybody": replace(
        GOOD, profile=PROFILES["intermediate"], identity=None, common_name="mine", scope=POLICY.scope
    ),
    "wider authority": replace(
        GOOD,
        profile=PROFILES["intermediate"],
        identity=None,
        common_name="mine",
        actor=SYSTEM,
        scope=NameScope(POLICY.scope.uri_hosts, ("com",)),
    ),
    "a probe for a person": replace(
        GOOD, profile=PROFILES["probe"], identity=POLICY.probe_identity, lifetime=timedelta(minutes=1)
    ),
    "edge host of another": replace(GOOD, profile=PROFILES["edge"], identity=None, dns_names=("shop.localhost",)),
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_a_refusal_leaves_one_audit_entry_and_nothing_else(request_: CertificateRequest) -> None:
    async def refuse() -> None:
        world = World()
        life, issuer = await established(world)
        before, entries, signed = snapshot(world), list(world.disk.audit), dict(world.ledger.signed)
        with pytest.raises(EveryhopError) as refusal:
            await life.gate.issue(request_, issuer, POLICY)
        assert refusal.value.code.name in ("policy-refused", "lint-refused")
        assert snapshot(world) == before
        assert world.ledger.signed == signed
        (entry,) = world.disk.audit[len(entries) :]
        assert (entry.outcome, entry.actor, entry.details["request"]) == ("refused", request_.actor, "one")
        assert entry.details["code"] == refusal.value.code.name

    asyncio.run(refuse())


def test_the_same_request_gives_the_same_certificate() -> None:
    async def ask_twice() -> None:
        world = World()
        life, issuer = await established(world)
        first = await life.gate.issue(GOOD, issuer, POLICY)
        world.clock.move(timedelta(minutes=7))
        second = await world.life().gate.issue(GOOD, issuer, POLICY)
        assert first == second
        assert first.state is IssuanceState.ISSUED
        assert len(world.ledger.signed["one"]) == 1
        certificate_of(first).verify_directly_issued_by((await life.authorities.get("intermediate-1")).x509)

    asyncio.run(ask_twice())


def test_another_key_under_the_same_request_is_refused() -> None:
    async def steal() -> None:
        world = World()
        life, issuer = await established(world)
        await life.gate.issue(GOOD, issuer, POLICY)
        before = snapshot(world)
        with pytest.raises(EveryhopError) as refusal:
            await life.gate.issue(replace(GOOD, public_key=OTHER_KEY), issuer, POLICY)
        assert refusal.value.code.name == "store-conflict"
        assert snapshot(world) == before

    asyncio.run(steal())


def test_another_authority_does_not_sign_what_one_has_begun() -> None:
    """An intent names its signer. A repetition after a rotation must not put another key under the same bytes."""

    async def switch() -> None:
        world = World()
        life, issuer = await established(world)
        fuse = Fuse()
        life = world.life(fuse)
        world.held["away"] = world.held.pop("intermediate-1")
        with pytest.raises(EveryhopError):  # the key is not reachable: the intent stays
            await life.gate.issue(GOOD, issuer, POLICY)
        world.held["intermediate-1"] = world.held.pop("away")
        root = await life.authorities.get("root-1")
        other = await life.authorities.make_intermediate("intermediate-2", root, POLICY)
        with pytest.raises(EveryhopError) as refusal:
            await life.gate.issue(GOOD, other.issuer(), POLICY)
        assert refusal.value.code.name == "store-conflict"
        done = await life.gate.recover(await life.authorities.key_ids())
        assert done.completed == ("one",)
        again = await life.gate.issue(GOOD, other.issuer(), POLICY)
        certificate_of(again).verify_directly_issued_by((await life.authorities.get("intermediate-1")).x509)

    asyncio.run(switch())


def test_no_leaf_outlives_its_issuer() -> None:
    async def near_the_end() -> None:
        world = World()
        life, issuer = await established(world)
        assert issuer.not_after is not None
        world.clock.set(issuer.not_after - timedelta(minutes=20))
        line = await life.gate.issue(GOOD, issuer, POLICY)
        assert line.not_after == issuer.not_after
        world.clock.set(issuer.not_after)
        with pytest.raises(EveryhopError) as refusal:
            await life.gate.issue(replace(GOOD, request_id="two"), issuer, POLICY)
        assert refusal.value.code.name == "authority-unavailable"
        assert world.disk.audit[-1].details["code"] == "authority-unavailable"
        assert len(world.disk.journal) == 3

    asyncio.run(near_the_end())


def test_no_certificate_begins_before_its_issuer() -> None:
    async def at_the_beginning() -> None:
        life, issuer = await established(World())
        line = await life.gate.issue(GOOD, issuer, POLICY)
        assert issuer.certificate is not None
        assert line.not_before >= issuer.certificate.not_valid_before_utc

    asyncio.run(at_the_beginning())


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.ED25519, KeyAlgorithm.MLDSA44])
def test_a_hundred_at_once_for_one_request_get_one_certificate(algorithm: KeyAlgorithm) -> None:
    """ML-DSA signatures differ each time: whoever loses the race takes the winner's certificate."""

    async def together() -> None:
        world = World(text=World().text + f"policy: {{authority_key: {algorithm}}}\n")
        life, issuer = await established(world, Fuse(yields=True))
        lines = await asyncio.gather(*(life.gate.issue(GOOD, issuer, POLICY) for _ in range(100)))
        assert len({line.serial for line in lines}) == 1
        assert len({line.certificate for line in lines}) == 1
        assert len(world.ledger.signed["one"]) == 1

    asyncio.run(together())


def test_three_hundred_requests_at_once_get_as_many_serials() -> None:
    async def together() -> None:
        world = World()
        life, issuer = await established(world, Fuse(yields=True))
        requests = [replace(GOOD, request_id=f"request-{number}") for number in range(300)]
        lines = await asyncio.gather(*(life.gate.issue(one, issuer, POLICY) for one in requests))
        assert len({line.serial for line in lines}) == 300
        assert [line.request_id for line in lines] == [one.request_id for one in requests]
        assert all(line.serial.bit_length() > 64 for line in lines)

    asyncio.run(together())


def test_every_open_intent_is_finished_however_many_there_are() -> None:
    async def recover() -> None:
        world = World()
        life, issuer = await established(world)
        await life.gate.issue(GOOD, issuer, POLICY)
        (line,) = [one for one in world.disk.journal.values() if one.request_id == "one"]
        template = _reopened(line)
        del world.disk.journal[line.serial]
        for number in range(1200):
            open_one = replace(template, serial=number + 1, request_id=f"open-{number}")
            world.disk.journal[open_one.serial] = replace(open_one, issuer="gone") if number % 2 else open_one
        found = await world.life().gate.recover({"intermediate-1": "intermediate-1"})
        assert (len(found.completed), len(found.abandoned)) == (600, 600)
        assert IssuanceState.INTENDED not in {one.state for one in world.disk.journal.values()}

    asyncio.run(recover())


def test_an_intent_whose_life_is_over_is_abandoned_and_can_be_asked_for_again() -> None:
    async def too_late() -> None:
        world = World()
        life, issuer = await established(world)
        line = await life.gate.issue(GOOD, issuer, POLICY)
        world.disk.journal[line.serial] = _reopened(line)
        world.clock.move(timedelta(hours=2))
        found = await world.life().gate.recover({"intermediate-1": "intermediate-1"})
        assert found.abandoned == ("one",)
        assert world.disk.journal[line.serial].reason
        fresh = await life.gate.issue(GOOD, issuer, POLICY)
        assert fresh.serial != line.serial

    asyncio.run(too_late())


def test_the_journal_says_what_was_signed() -> None:
    async def read() -> None:
        life, issuer = await established(World())
        line = await life.gate.issue(GOOD, issuer, POLICY)
        certificate = certificate_of(line)
        assert certificate.tbs_certificate_bytes == line.tbs
        assert (line.profile, line.profile_digest) == ("service", PROFILES["service"].digest)
        assert line.names == (f"uri:{DB}",)
        assert line.decision == f"service {DB} of data"
        assert certificate.serial_number == line.serial
        assert isinstance(certificate, x509.Certificate)
        with pytest.raises(ValueError, match="not issued"):
            certificate_of(_reopened(line))

    asyncio.run(read())


def _reopened(line: Issuance) -> Issuance:
    return replace(line, state=IssuanceState.INTENDED, certificate=None, finished_at=None)
