"""What connections add up to: the counts that every indicator is made of.

Rules: nothing is guessed from an observation. A connection is judged once, by one end: the serving end where it
speaks, since it alone sees who was refused and why. everyhop's own probes are not in these counts; refusals that
policy asked for are in them, under a name of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from everyhop.core.hop import End
from everyhop.core.tally import BUCKETS_US, Shape, Tally

OK = "ok"
PLAINTEXT = "plaintext"
ABANDONED = "abandoned"
REFUSED_BY_POLICY = "refused_by_policy"
RESULTS = (OK, "verify", "no_certificate", "protocol", PLAINTEXT, ABANDONED, REFUSED_BY_POLICY)
"""How a connection can end at a TLS port."""
NO_ATTEMPTS = (PLAINTEXT, ABANDONED, REFUSED_BY_POLICY)
"""Ends that say nothing of the hop. What spoke no TLS began no handshake; who left before its end may be a health check
of a load balancer or a scanner, and gave the port no chance to fail; whom policy refuses is refused rightly."""

MTLS, TLS, UNKNOWN = "mtls", "tls", "unknown"
ENCRYPTIONS = (MTLS, TLS, PLAINTEXT, UNKNOWN)
"""How a connection that carried data was protected."""

SERVER, CLIENT, SOCKETS = End.SERVER.value, End.CLIENT.value, "sockets"
"""Who counted: the serving proxy, the calling proxy, the socket table."""

Kind = tuple[str, str, str]
"""Version, cipher and group of a handshake."""


_NO_TIMES = (0,) * (len(BUCKETS_US) + 1)


@dataclass(slots=True)
class Counts:
    """A sum of connections. It only grows, by :meth:`add`."""

    results: dict[str, int] = field(default_factory=dict[str, int])
    carried: dict[str, int] = field(default_factory=dict[str, int])
    """Connections that carried data, by encryption. A refused one carried none."""
    kinds: dict[Kind, int] = field(default_factory=dict[Kind, int])
    """Finished handshakes by what they agreed on."""
    resumed: int = 0
    resumption_known: int = 0
    """Finished handshakes of which it is known whether they were resumed."""
    buckets: tuple[int, ...] = _NO_TIMES
    """Handshake times, cumulative: one for each of ``BUCKETS_US``, and one for all that were timed."""
    handshake_us: int = 0

    def add(self, other: Counts) -> None:
        """Add another sum to this one."""
        _add_to(self.results, other.results)
        _add_to(self.carried, other.carried)
        for kind, count in other.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + count
        self.resumed += other.resumed
        self.resumption_known += other.resumption_known
        if other.buckets is not _NO_TIMES:
            self.buckets = tuple(mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True))
            self.handshake_us += other.handshake_us

    def results_only(self) -> Counts:
        """Nothing but how they ended: all that a month is kept for."""
        return Counts(results=self.results)

    @property
    def ok(self) -> int:
        """Finished handshakes, resumed ones included."""
        return self.results.get(OK, 0)

    @property
    def attempts(self) -> int:
        """Handshakes that were begun and should have succeeded: the others (:data:`NO_ATTEMPTS`) cost no budget."""
        return sum(count for result, count in self.results.items() if result not in NO_ATTEMPTS)

    @property
    def failures(self) -> int:
        """Attempts that did not succeed."""
        return self.attempts - self.ok

    @property
    def plaintext_refused(self) -> int:
        """Connections that spoke plaintext to a TLS port and got nothing."""
        return self.results.get(PLAINTEXT, 0)

    @property
    def connections(self) -> int:
        """Connections that carried data."""
        return sum(self.carried.values())


def counts_of(shape: Shape, tally: Tally) -> Counts:
    """The counts of connections of one shape. Only the serving end knows whether the caller proved an identity."""
    counts = Counts(results={shape.result if shape.result in RESULTS else "protocol": tally.count})
    if shape.result == OK:
        mutual = shape.end is End.SERVER and bool(shape.peer)
        counts.carried = {MTLS if mutual else TLS: tally.count}
        if tally.count:
            counts.kinds = {(shape.version, shape.cipher, shape.group): tally.count}
        if tally.resumed is not None:
            counts.resumed, counts.resumption_known = tally.resumed, tally.count
        counts.buckets = (*tally.buckets, tally.timed)
        counts.handshake_us = tally.sum_us
    return counts


def total(many: Iterable[Counts]) -> Counts:
    """The sum of sums."""
    whole = Counts()
    for one in many:
        whole.add(one)
    return whole


def of_one_end(counts: Mapping[tuple[str, str], Counts], hop: str) -> Counts:
    """What a hop's connections add up to: as the serving end counted them, or the calling end where that one is mute;
    beside them what the socket table saw go round both. How long handshakes took, and whether sessions were resumed,
    is told by the end that knows."""
    nothing = Counts()
    serving, calling = counts.get((hop, SERVER), nothing), counts.get((hop, CLIENT), nothing)
    judge, other = (serving, calling) if serving.results else (calling, serving)
    whole = total((judge, counts.get((hop, SOCKETS), nothing)))
    if not whole.resumption_known:
        whole.resumed, whole.resumption_known = other.resumed, other.resumption_known
    if not whole.buckets[-1]:
        whole.buckets, whole.handshake_us = other.buckets, other.handshake_us
    return whole


def _add_to(sums: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        sums[name] = sums.get(name, 0) + count
