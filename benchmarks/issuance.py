"""Certificates per second and per CPU-second: raw signing, plain build+sign, our gate in memory, our gate durable.

Rules: one process, one P-256 authority, public keys made beforehand, 64 requests at a time where anything waits. The
four are interleaved in rounds and the median counts. CPU is that of the whole process, writer thread included. All
but raw signing take the same public key (DER) and give the same certificate (DER): the shapes are compared first.

* raw: ``ec.sign`` of 400 bytes. Nothing that signs with this library can be faster.
* build+sign: ``CertificateBuilder``, one signature; no lint, no policy, no record.
* in memory: the gate as it is, its journal in a dictionary. It signs twice: a throw-away key signs the copy that is
  linted, the authority signs what was authorised.
* durable: the same on SQLite with ``synchronous=FULL``: two transactions a certificate, shared by all that wait.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.fakes.store import MemoryStore

from benchmarks._report import Report, arguments, median
from everyhop.core import policy as policies
from everyhop.core.certificate import CertificateRequest, Draft, Issuer, NameScope, assemble, draft, signature_algorithm
from everyhop.core.identity import TrustDomain
from everyhop.core.policy import Grant, IssuancePolicy
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.core.rules import lint
from everyhop.drivers.host.machine import SystemClock, SystemRandom
from everyhop.drivers.keys.algorithms import make, public_bytes
from everyhop.drivers.keys.file import FileKeys
from everyhop.drivers.keys.seal import SealSource
from everyhop.drivers.store.sqlite import SqliteStore
from everyhop.ports import Issuance, IssuanceState
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate

CONCURRENT = 64
ROOT = Path(__file__).resolve().parent.parent
TARGET = 0.60

DOMAIN = TrustDomain("bench.internal")
IDENTITY = DOMAIN.identity("bench", "web")
POLICY = IssuancePolicy(
    trust_domain=DOMAIN,
    environment="bench",
    scope=NameScope((DOMAIN.name,), (DOMAIN.name,)),
    identities={str(IDENTITY): Grant("bench")},
    max_lifetimes={
        "root": timedelta(days=3650),
        "intermediate": timedelta(days=365),
        "service": timedelta(hours=24),
    },
)


class ForgetfulStore(MemoryStore):
    """A store whose journal costs as good as nothing: two dictionary operations a certificate."""

    def __init__(self) -> None:
        """Empty."""
        super().__init__()
        self.lines: dict[int, Issuance] = {}

    async def intend(self, issuance: Issuance) -> Issuance:
        """Keep the line."""
        self.lines[issuance.serial] = issuance
        return issuance

    async def complete(self, serial: int, certificate: bytes, at: datetime) -> Issuance:
        """Hand it back, issued."""
        return replace(self.lines.pop(serial), state=IssuanceState.ISSUED, certificate=certificate, finished_at=at)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one certificate cost, in seconds."""

    wall: float
    cpu: float


@dataclass(slots=True)
class Bench:
    """Everything that is prepared before anything is measured."""

    issuer: Issuer
    gates: dict[str, Gate]
    store: SqliteStore
    keys: FileKeys
    ca_key: ec.EllipticCurvePrivateKey
    throw_away_key: CertificateIssuerPrivateKeyTypes
    public_keys: list[bytes]
    clock: SystemClock = field(default_factory=SystemClock)
    random: SystemRandom = field(default_factory=SystemRandom)
    asked: int = 0

    @classmethod
    async def prepare(cls, folder: Path) -> Bench:
        """An authority, its keys in files, and two gates: one on SQLite in ``folder``, one that forgets."""
        store = await SqliteStore.open(folder / "everyhop.db")
        keys = await FileKeys.open(folder / "keys", SealSource(folder / "seal.key"))
        clock, random = SystemClock(), SystemRandom()
        durable = Gate(store, keys, clock, random, make)
        authorities = Authorities(store, keys, durable)
        trust = await authorities.establish(POLICY)
        return cls(
            issuer=(await authorities.get(trust.signer)).issuer(),
            gates={"in memory": Gate(ForgetfulStore(), keys, clock, random, make), "durable": durable},
            store=store,
            keys=keys,
            ca_key=ec.generate_private_key(ec.SECP256R1()),
            throw_away_key=make(KeyAlgorithm.P256),
            public_keys=[public_bytes(make(KeyAlgorithm.P256)) for _ in range(CONCURRENT)],
        )

    def request(self) -> CertificateRequest:
        """The next request: a service's certificate with its SPIFFE ID."""
        self.asked += 1
        return CertificateRequest(
            request_id=f"bench/{self.asked}",
            profile=PROFILES["service"],
            public_key=self.public_keys[self.asked % CONCURRENT],
            lifetime=timedelta(hours=24),
            owner="bench",
            actor="bench",
            identity=IDENTITY,
        )

    def draft(self) -> Draft:
        """A draft as the gate makes it."""
        return draft(
            self.request(),
            self.issuer,
            serial=self.random.serial(),
            now=self.clock.now(),
            backdate=POLICY.backdate,
            throw_away_key=self.throw_away_key,
        )

    # --- the four that are compared -------------------------------------------------------------------------------

    def raw(self) -> bytes:
        """One signature."""
        return self.ca_key.sign(_MESSAGE, _ECDSA)

    def build_and_sign(self) -> bytes:
        """The certificate that the gate makes, by the plain builder."""
        ca = self.issuer.certificate
        assert ca is not None
        self.asked += 1
        public_key = load_der_public_key(self.public_keys[self.asked % CONCURRENT])
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        now = self.clock.now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(ca.subject)
            .public_key(public_key)
            .serial_number(self.random.serial())
            .not_valid_before(now - POLICY.backdate)
            .not_valid_after(now + timedelta(hours=24))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_KEY_USAGE, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(_authority_key_identifier(ca), critical=False)
            .add_extension(x509.ExtendedKeyUsage(_USAGES), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(IDENTITY))]), critical=True)
        )
        return builder.sign(self.ca_key, hashes.SHA256()).public_bytes(Encoding.DER)

    async def issue(self, gate: Gate) -> bytes:
        """Through the gate."""
        return (await gate.issue(self.request(), self.issuer, POLICY)).certificate or b""


_JOURNAL = "journal and record: two durable writes"
_MESSAGE = b"x" * 400
_ECDSA = ec.ECDSA(hashes.SHA256())
_USAGES = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _authority_key_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def timed(work: Callable[[], object], count: int) -> Cost:
    """What one call costs, over ``count`` calls in a row."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        work()
    return Cost((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count)


async def timed_together(work: Callable[[], Awaitable[object]], count: int) -> Cost:
    """What one call costs when ``CONCURRENT`` are always under way."""

    async def worker(turns: Iterator[int]) -> None:
        for _ in turns:
            await work()

    turns = iter(range(count))
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker(turns) for _ in range(CONCURRENT)))
    return Cost((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count)


async def compare(bench: Bench, rounds: int, count: int) -> dict[str, list[Cost]]:
    """The four, interleaved; a warm-up round is thrown away."""
    found: dict[str, list[Cost]] = {"raw": [], "build+sign": [], "in memory": [], "durable": []}
    for number in range(rounds + 1):
        costs = {
            "raw": timed(bench.raw, count * 4),
            "build+sign": timed(bench.build_and_sign, count * 2),
            "in memory": await timed_together(lambda: bench.issue(bench.gates["in memory"]), count),
            "durable": await timed_together(lambda: bench.issue(bench.gates["durable"]), count),
        }
        for name, cost in costs.items():
            found[name] += [cost] if number else []
    return found


async def stages(bench: Bench, count: int) -> dict[str, float]:
    """CPU seconds of each step of a durable issuance, each measured alone."""
    drafted = bench.draft()
    linted = lint(drafted)
    algorithm = signature_algorithm(drafted.copy)
    signature = await bench.keys.sign(bench.issuer.key_id, drafted.tbs)
    moment = bench.clock.now()

    async def journal() -> None:
        bench.asked += 1
        line = Issuance(
            request_id=f"stage/{bench.asked}",
            serial=bench.random.serial(),
            issuer=bench.issuer.authority,
            profile="service",
            profile_digest=PROFILES["service"].digest,
            subject=str(IDENTITY),
            owner="bench",
            names=drafted.facts.names,
            tbs=drafted.tbs,
            algorithm=algorithm,
            decision="bench",
            not_before=moment,
            not_after=moment,
            intended_at=moment,
        )
        await bench.store.intend(line)
        await bench.store.complete(line.serial, drafted.tbs + signature, moment)

    return {
        "draft: build, sign the copy with the throw-away key, read it": timed(bench.draft, count).cpu,
        "lint: every rule on the copy": timed(lambda: lint(drafted), count).cpu,
        "authorise: the final bytes": timed(lambda: policies.authorise(linted, POLICY), count).cpu,
        _JOURNAL: (await timed_together(journal, count)).cpu,
        "sign: the authority's key": (
            await timed_together(lambda: bench.keys.sign(bench.issuer.key_id, drafted.tbs), count)
        ).cpu,
        "assemble": timed(lambda: assemble(drafted.tbs, algorithm, signature), count).cpu,
    }


async def same_shape(bench: Bench) -> None:
    """Stop unless build+sign and the gate make the same certificate, but for serial, key and moment."""
    ours = x509.load_der_x509_certificate(await bench.issue(bench.gates["durable"]))
    plain = x509.load_der_x509_certificate(bench.build_and_sign())
    shapes = [[(one.oid, one.critical) for one in certificate.extensions] for certificate in (ours, plain)]
    if shapes[0] != shapes[1] or ours.issuer != plain.issuer or ours.subject != plain.subject:
        raise SystemExit("build+sign and the gate do not make the same certificate: the comparison would not be fair")


async def measure(report: Report, rounds: int, count: int) -> None:
    """Measure and tell."""
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=ROOT) as folder:
        bench = await Bench.prepare(Path(folder))
        try:
            await same_shape(bench)
            gc.collect()
            gc.freeze()  # what was imported is not looked at again
            found = await compare(bench, rounds, count)
            parts = await stages(bench, count)
        finally:
            await bench.store.close()
    tell(report, found, parts)


def tell(report: Report, found: dict[str, list[Cost]], parts: dict[str, float]) -> None:
    """Tables and targets."""

    def ratio(name: str, against: str) -> float:
        return median(other.cpu / own.cpu for own, other in zip(found[name], found[against], strict=True))

    titles = {
        "raw": "raw: one ECDSA P-256 signature",
        "build+sign": "build+sign: cryptography's builder, no lint, no policy, no record",
        "in memory": "everyhop's gate, journal in memory",
        "durable": "everyhop's gate, durable (SQLite, synchronous=FULL, group commit)",
    }
    report.table(
        f"Issuance, P-256, medians of {len(found['raw'])} interleaved rounds",
        ("", "per second", "per CPU-second", "CPU µs", "of build+sign", "of in memory"),
        [
            (
                title,
                1 / median(cost.wall for cost in found[name]),
                1 / median(cost.cpu for cost in found[name]),
                median(cost.cpu for cost in found[name]) * 1e6,
                f"{ratio(name, 'build+sign'):.0%}",
                f"{ratio(name, 'in memory'):.0%}",
            )
            for name, title in titles.items()
        ],
    )
    whole = median(cost.cpu for cost in found["durable"])
    rest = max(whole - sum(parts.values()), 0.0)
    report.table(
        "Where a durable issuance spends its CPU",
        ("step", "µs", "share"),
        [
            (name, cpu * 1e6, f"{cpu / whole:.0%}")
            for name, cpu in {**parts, "the rest: request, journal line, event loop": rest}.items()
        ],
    )
    report.target(
        "durable, of the in-process issuer (the gate, in memory), per CPU-second",
        ratio("durable", "in memory") * 100,
        TARGET * 100,
        at_least=True,
        unit=" %",
    )
    tell_limits(
        report,
        ratio("durable", "build+sign"),
        raw=median(cost.cpu for cost in found["raw"]),
        plain=median(cost.cpu for cost in found["build+sign"]),
        journal=parts[_JOURNAL],
    )


def tell_limits(report: Report, reached: float, *, raw: float, plain: float, journal: float) -> None:
    """The harder reading of the target, and why it is out of reach."""
    floor = plain + raw + journal
    report.note(
        f"against bare build+sign, which lints, decides and records nothing, durable issuance reaches {reached:.0%}; "
        f"the most that this order of steps can reach is {plain / floor:.0%}: build and sign the copy "
        f"({plain * 1e6:.0f} µs), sign again with the authority's key ({raw * 1e6:.0f} µs), two durable writes "
        f"({journal * 1e6:.0f} µs), with lint, policy and event loop at no cost"
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count")
    parser.add_argument("--count", type=int, default=3000, help="certificates a round through each gate")


def main() -> int:
    """Run it; the exit status."""
    options = arguments(__doc__, _options)
    report = Report("issuance")
    asyncio.run(measure(report, options.rounds, options.count))
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
