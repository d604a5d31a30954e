"""Errors that speak to two people.

Rules: every error has a stable code for machines, one sentence and a ``hint`` for the user (lower case, no
full stop, says what was expected and what came), and an exit status for scripts. A message never holds a
secret. Doors and the CLI translate; everything below raises these.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitStatus(IntEnum):
    """What a shell script learns from ``$?``."""

    OK = 0
    SHORTFALL = 1
    """It ran, and something fell short: a fault in a file, an unencrypted hop, a failed check."""
    USAGE = 2
    """The command line itself was wrong."""
    UNAVAILABLE = 3
    """Nothing could be said: not running, not reachable, locked by another instance."""
    INTERNAL = 4
    """A fault of everyhop itself."""
    INTERRUPTED = 130
    """Ended by Ctrl-C, as a shell counts it: 128 and SIGINT."""
    UNHEARD = 141
    """Whoever read the answer hung up (`| head`), as a shell counts it: 128 and SIGPIPE."""


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One kind of failure: its stable name, what it means, and the exit status that goes with it."""

    name: str
    meaning: str
    exit_status: ExitStatus = ExitStatus.SHORTFALL


CODES: dict[str, ErrorCode] = {
    code.name: code
    for code in (
        ErrorCode("topology-invalid", "the topology file has faults; nothing was changed"),
        ErrorCode("topology-unreadable", "the topology file could not be read"),
        ErrorCode("policy-refused", "a request asks for what the policy does not allow; nothing was signed"),
        ErrorCode("lint-refused", "a certificate would break a standard or a house rule; nothing was signed"),
        ErrorCode("authority-unavailable", "no certificate authority can sign this now", ExitStatus.UNAVAILABLE),
        ErrorCode("key-unavailable", "a private key could not be opened", ExitStatus.UNAVAILABLE),
        ErrorCode("key-refused", "a private key may not be used in this way"),
        ErrorCode(
            "seal-unavailable", "the secret that seals the private keys is missing or wrong", ExitStatus.UNAVAILABLE
        ),
        ErrorCode("seal-unsafe", "the file with the seal secret can be read by others", ExitStatus.UNAVAILABLE),
        ErrorCode("store-conflict", "somebody else changed the same record first"),
        ErrorCode("store-fenced", "a newer holder has taken over this work"),
        ErrorCode("store-unavailable", "the store could not be opened or written", ExitStatus.UNAVAILABLE),
        ErrorCode("already-running", "another everyhop runs on this data directory", ExitStatus.UNAVAILABLE),
        ErrorCode("not-running", "no everyhop runs on this data directory", ExitStatus.UNAVAILABLE),
        ErrorCode(
            "address-in-use", "an address that the plan needs is taken by another process", ExitStatus.UNAVAILABLE
        ),
        ErrorCode("process-failed", "a process that everyhop started did not come up", ExitStatus.UNAVAILABLE),
        ErrorCode("probe-failed", "an endpoint could not be probed", ExitStatus.UNAVAILABLE),
        ErrorCode("notify-failed", "a receiver did not take a notification", ExitStatus.UNAVAILABLE),
        ErrorCode("telemetry-failed", "a collector did not take metrics or traces", ExitStatus.UNAVAILABLE),
        ErrorCode(
            "target-invalid", "an endpoint to scan is not written as host:port or scheme://host", ExitStatus.USAGE
        ),
        ErrorCode(
            "usage-invalid",
            "the command line is wrong, or what it reads from or writes to cannot be used",
            ExitStatus.USAGE,
        ),
        ErrorCode("guideline-invalid", "a guideline is not known, or its file has faults", ExitStatus.USAGE),
        ErrorCode("sarif-invalid", "a report of another tool is no SARIF log", ExitStatus.USAGE),
        ErrorCode("evidence-invalid", "stored observations or an evidence pack do not match their signatures"),
        ErrorCode("rotation-busy", "a rotation of this kind is already under way"),
        ErrorCode("unknown-name", "no such service, hop, certificate or rotation"),
        ErrorCode("check-failed", "a hop is not as the topology asks"),
        ErrorCode("internal", "a fault of everyhop itself", ExitStatus.INTERNAL),
    )
}


class EveryhopError(Exception):
    """A failure with a code for machines, a sentence for the user and a hint for the way out."""

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        """``code`` must be one of :data:`CODES`; ``message`` and ``hint`` hold no secret."""
        super().__init__(message)
        self.code = CODES[code]
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message

    def as_json(self) -> dict[str, object]:
        """The error as ``--json`` prints it."""
        return {"error": self.code.name, "message": self.message, "hint": self.hint}
