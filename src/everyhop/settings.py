"""What everyhop decides for its users, and why.

Rules: a setting has a default that is right for almost everybody and one sentence of reason. What an owner should
decide (lifetimes, key types, who calls whom) stands in the topology, not here. Durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be tuned without touching the topology. Raises ``ValueError`` for what cannot work."""

    tick_seconds: float = field(
        default=0.5,
        metadata={
            "reason": "how often stored state is compared with the clock: short against every deadline in it, "
            "and each look costs well under a millisecond"
        },
    )
    overdue_seconds: float = field(
        default=30.0,
        metadata={
            "reason": "how long a renewal may wait for its acknowledgement, or to be seen on the wire, before status "
            "calls it overdue: milliseconds are normal, a client-only identity waits for one heartbeat"
        },
    )
    restart_backoff_first_seconds: float = field(
        default=1.0,
        metadata={"reason": "the wait before the first restart of a crashed process: a passing fault is over quickly"},
    )
    restart_backoff_max_seconds: float = field(
        default=30.0,
        metadata={
            "reason": "the wait doubles up to this, so that a broken command does not burn the machine and a mended "
            "one is noticed within half a minute"
        },
    )
    stop_grace_seconds: float = field(
        default=10.0,
        metadata={"reason": "how long a process may finish its work after SIGTERM before it is killed"},
    )
    refusals_kept: int = field(
        default=1000,
        metadata={"reason": "how many refused connections `everyhop explain` can look back on, in bounded space"},
    )
    count_seconds: float = field(
        default=5.0,
        metadata={"reason": "how often the proxies' counters are read: 2 ms each, and status is that fresh"},
    )
    inspect_seconds: float = field(
        default=300.0,
        metadata={
            "reason": "how often each endpoint has to prove what it refuses: about ten short connections, so that a "
            "thousand endpoints cost a few per cent of one core"
        },
    )
    flows_seconds: float = field(
        default=5.0,
        metadata={"reason": "how often the socket table is read: 1 ms, and plaintext shows well within half a minute"},
    )
    measure_seconds: float = field(
        default=15.0,
        metadata={"reason": "how often indicators are computed and alerts asked: what a scrape of metrics is used to"},
    )
    seal_record_seconds: float = field(
        default=60.0,
        metadata={"reason": "how long a record may wait for its seal: what could be changed unseen is a minute old"},
    )
    seal_detail_seconds: float = field(
        default=300.0,
        metadata={"reason": "how long details may wait for theirs: there are many, and an hour of them is summed up"},
    )
    detail_days: float = field(
        default=1.0,
        metadata={
            "reason": "how long single minutes are kept: long enough to look into what happened last night; hours, "
            "which every longer window is made of, stay"
        },
    )
    record_days: float = field(
        default=400.0,
        metadata={"reason": "how long hours, changes and findings are kept: a year, and the audit after it"},
    )
    log_trim_seconds: float = field(
        default=60.0,
        metadata={"reason": "how often the logs of processes are kept below 10 MiB, so that nobody's disk fills up"},
    )

    def __post_init__(self) -> None:
        """Raise ``ValueError`` unless every value is positive and the backoff grows."""
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"expected {name} to be greater than 0, got {getattr(self, name)}")
        if self.restart_backoff_max_seconds < self.restart_backoff_first_seconds:
            raise ValueError(
                f"expected restart_backoff_max_seconds to be at least {self.restart_backoff_first_seconds}, "
                f"got {self.restart_backoff_max_seconds}"
            )
