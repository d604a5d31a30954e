"""What stands in the body of each kind of observation: the words that hashes are made of.

Rules: a field keeps its name and meaning for ever; a new one may join. Moments are ISO 8601, durations seconds,
counts whole numbers; what a source cannot tell is empty or null. The reference (docs/reference/observations.md) and the
code are held against this list in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from everyhop.core.observation import Kind

_SEEN = {
    "version": "the TLS version; empty: none was agreed on",
    "cipher": "the cipher suite",
    "group": "the key exchange",
}
_COUNTED = {
    "count": "how many connections",
    "end": "`server` or `client`: which end counted",
    "result": "`ok`, `verify`, `no_certificate`, `protocol`, `plaintext`, `abandoned` or `refused_by_policy`",
    **_SEEN,
    "peer": "the identity that the other side proved",
    "resumed": "how many went on from a former session; null: this end cannot tell",
    "handshakes_timed": "how many handshakes have a time",
    "handshake_us": "handshakes of at most 500, 1,000, 2,000, 4,000 ... 128,000 microseconds, cumulative",
    "handshake_us_sum": "the sum of their times, in microseconds",
    "reason": "why it was refused",
}
_EVENT = {
    "event": "`issued`, `abandoned`, `refused`, `requested`, `rotation`, `seen on the wire` or `failed`",
    "serial": "hexadecimal",
    "profile": "the certificate's profile",
    "profile_digest": "SHA-256 of the profile",
    "issuer": "the authority that signed",
    "owner": "who answers for it",
    "names": "its subject alternative names",
    "request": "the request's id",
    "decision": "why policy allowed it",
    "not_before": "when its life begins",
    "not_after": "when its life ends",
    "certificate_sha256": "SHA-256 of the certificate (DER)",
    "reason": "why it was abandoned, refused, asked for, or failed",
    "action": "what was asked for",
    "actor": "who asked",
    "code": "the error code of a refusal",
    "entry": "the number in the audit log",
    "rotation": "`intermediate` or `root`",
    "number": "which rotation",
    "from": "the state that it left",
    "to": "the state that it came to",
    "proof": "what was counted before it went on",
    "intermediate": "the new intermediate",
    "root": "the new root; empty: it stays",
    "generation": "which renewal of the credential",
    "due_at": "when the next renewal is due",
    "began_at": "when the renewal began; empty: it failed",
    "acknowledged_at": "when the proxy had taken the certificate; empty: it failed",
}

FIELDS: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
    {
        Kind.CONNECTIONS: _COUNTED,
        Kind.HOUR: _COUNTED,
        Kind.POSTURE: _SEEN
        | {"peer": "the identity that the other side proved", "serial": "of the peer's certificate, hexadecimal"},
        Kind.REFUSAL: {
            "listener": "the port that refused, or the upstream that was called",
            "peer": "the identity that was shown",
            "reason": "the proxy's own words",
            "from": "the address it came from",
            "joined": "the other end's reason for the same connection",
        },
        Kind.FLOW: {
            "change": "what changed: it appeared, its class changed, it ended",
            "caller": "a service, process, user or address",
            "callee": "a service of the topology, or empty",
            "server": "the listening address",
            "encryption": "how it is protected",
            "before": "how it was before",
            "owner": "who answers for it",
            "process": "the caller's process",
            "user": "the caller's user",
            "connections": "how many were seen",
            "first_at": "when it was seen first",
            "last_at": "when it was seen last",
            "excused": "the reason of the exception that covers it",
            "excused_until": "the exception's last day",
            "evidence": "what the class rests on",
        },
        Kind.LISTENER: {
            "change": "what changed: it appeared, was asked, or went",
            "service": "of the topology, or empty",
            "part": "`app`, `proxy`, `everyhop` or empty",
            "user": "whose process it is",
            "process": "its name",
            "owner": "who answers for it",
            "encryption": "what it did when it was asked",
            "wire": "the protocol that it speaks",
            "everywhere": "true if it listens on every address of the machine",
            "evidence": "what it answered",
        },
        Kind.ENDPOINT: {
            "guideline": "the TLS policy it was held against, with version",
            "mode": "how much was asked",
            **_SEEN,
            "asked": "the endpoint's answer to each question",
            "entered": "what became of each attempt to get in",
            "failed": "the rules that it breaks",
            "unknown": "the rules that could not be judged",
            "hellos": "how many ClientHellos were sent",
            "revocation_status": "what was found out about the certificate's revocation",
            "revocation_source": "who said so",
        },
        Kind.CERTIFICATE: _EVENT,
        Kind.FINDING: {
            "rule": "the rule's code",
            "severity": "how bad a failure is",
            "statement": "what was expected and what came",
            "evidence": "the endpoint's own answer",
            "guideline": "the policy, with version",
            "owner": "who answers for it",
            "excused": "the reason of the exception that covers it",
        },
        Kind.INDICATOR: {
            "sli": "`M1` to `M10`",
            "name": "what it measures",
            "value": "the number; null: there were no events",
            "unit": "`ratio`, `seconds`, `flows`",
            "window_seconds": "the window it was counted over",
            "good": "events that were as they should be",
            "total": "all events, those not judged included",
            "unknown": "events that could not be judged",
            "objective": "what it should reach",
            "budget_left": "the part of the error budget that is left",
            "owner": "who answers for it",
        },
        Kind.ALERT: {
            "alert": "the alert's name",
            "phase": "`firing` or `ended`",
            "fingerprint": "the same for the same trouble",
            "owner": "who answers for it",
            "severity": "how bad it is",
            "route": "`page` or `ticket`",
            "summary": "one sentence",
            "suppressed": "why nobody was told",
        },
        Kind.BLIND: {
            "since": "when the source could not look any more",
            "until": "when it could again; empty: it still cannot",
            "reason": "why",
        },
    }
)
"""By kind: each field of the body, and what it says."""
