"""A world that was observed for some hours: connections, refusals, flows, findings, alerts, certificates, all sealed.

Rules: everything is written as the services write it, on whatever store a test brings; the numbers are known, so that
a report can be counted against them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from tests.fakes.keys import MemoryKeys
from tests.fakes.world import World, start

from everyhop.core import tally
from everyhop.core.hop import End
from everyhop.core.observation import Kind, Observation, Plain, Source, Stream
from everyhop.core.tally import Shape, Tally
from everyhop.core.verdict import Verdict
from everyhop.drivers.keys.algorithms import make
from everyhop.ports import IssuanceState, Store
from everyhop.services.apply import apply
from everyhop.services.chronicle import Chronicler
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate
from everyhop.services.keep import Keeper
from everyhop.services.prove import Prover, SealTimes

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TIMES = SealTimes(record=MINUTE, detail=5 * MINUTE)
EDGE_ID = "spiffe://shop.internal/test/edge"
WEB_ID = "spiffe://shop.internal/test/web"
DB_ID = "spiffe://shop.internal/test/db"
_TLS = ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768")
SHAPES = (
    Shape("client -> edge", End.SERVER, "envoy of edge", "ok", *_TLS),
    Shape("edge -> web", End.SERVER, "envoy of web", "ok", *_TLS, EDGE_ID),
    Shape("edge -> web", End.CLIENT, "envoy of edge", "ok", *_TLS, WEB_ID),
    Shape("web -> db", End.SERVER, "envoy of db", "ok", *_TLS, WEB_ID),
    Shape("web -> db", End.CLIENT, "envoy of web", "ok", *_TLS, DB_ID),
)
STRANGERS = (
    Shape("? -> db", End.SERVER, "envoy of db", "plaintext", reason="plaintext"),
    Shape("? -> web", End.SERVER, "envoy of web", "no_certificate", reason="no-certificate"),
)


def minutes(at: datetime, count: int = 2) -> list[Observation]:
    """One minute of everything."""
    good = [tally.observed(shape, Tally(count, count // 2), at) for shape in SHAPES]
    return [*good, *(tally.observed(shape, Tally(1), at) for shape in STRANGERS)]


def fact(
    at: datetime, kind: Kind, source: Source, subject: str, verdict: Verdict = Verdict.PASS, **body: Plain
) -> Observation:
    """Any record."""
    return Observation(at, kind, source, subject, "a test", verdict, body)


def others(at: datetime) -> list[Observation]:
    """One of every other kind, all well."""
    return [
        fact(at, Kind.FLOW, Source.SOCKETS, "web|127.0.0.1:9002", encryption="mtls", caller="web", callee="db"),
        fact(at, Kind.LISTENER, Source.SOCKETS, "127.0.0.1:9002", service="db", encryption="tls"),
        fact(at, Kind.FINDING, Source.RULES, "127.0.0.1:9002", rule="plaintext-served", severity="critical"),
        fact(at, Kind.ALERT, Source.RULES, "web -> db", Verdict.FAIL, alert="HopNotSeen", severity="high"),
        fact(at, Kind.ALERT, Source.RULES, "web -> db", alert="HopNotSeen", severity="high"),
        fact(at, Kind.INDICATOR, Source.RULES, "all", sli="M1", name="TLS usage", value=1.0, objective=0.999),
    ]


def prover_on(world: World, store: Store) -> Prover:
    """A prover on this store, with the world's keys."""
    keys = MemoryKeys(world.held)
    gate = Gate(store, keys, world.clock, world.random, make)
    return Prover(store, keys, gate, Authorities(store, keys, gate), world.clock, TIMES)


async def copy_to(world: World, store: Store) -> None:
    """What the world's control plane has stored, in another store: documents and the journal."""
    for (kind, key), document in world.disk.documents.items():
        await store.put(kind, key, document.value)
    for line in list(world.disk.journal.values()):
        await store.intend(replace(line, state=IssuanceState.INTENDED, certificate=None, finished_at=None))
        await store.complete(line.serial, line.certificate or b"", line.finished_at or line.intended_at)


async def observed(world: World, store: Store, *, hours: int = 3) -> Prover:
    """Play some hours, a minute of connections every ten; everything summed up and sealed."""
    await start(world)
    await copy_to(world, store)
    await apply(store, world.text, file="everyhop.yaml", file_dir="/shop", actor="test", now=world.clock.now())
    prover, chronicler = prover_on(world, store), Chronicler(store)
    keeper = Keeper(store, world.clock, detail_days=2, record_days=400)
    policy = world.life().the.policy
    await store.observe(others(world.clock.now()))
    for _ in range(hours * 6 + 1):
        now = world.clock.move(10 * MINUTE)
        await store.observe(minutes(now))
        await keeper.tick(None)
        await chronicler.tick(None)
        await prover.tick(policy, None)
    for stream in Stream:
        await prover.seal(stream, policy)
    return prover
