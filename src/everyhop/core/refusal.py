"""Refused connections in words: what Envoy logs at the serving end, and what it means for the caller.

In TLS 1.3 a refused client learns nothing but that the connection ended; only the serving end knows why. Each entry
is a fragment of Envoy's DOWNSTREAM_TRANSPORT_FAILURE_REASON, as seen from Envoy 1.40.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Reason:
    """One way to be refused."""

    code: str
    fragment: str
    sentence: str
    """``{peer}`` and ``{callers}`` are filled in."""
    remedy: str


REASONS: tuple[Reason, ...] = (
    Reason(
        "wrong-identity",
        "SAN_match",
        "it showed the identity {peer}, and this port takes only {callers}",
        "if the call is meant to be, add it under the caller's `calls:` and apply the topology",
    ),
    Reason(
        "no-certificate",
        "PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "it showed no certificate, and this port takes only {callers}",
        "call through the caller's own proxy, not the mTLS port directly",
    ),
    Reason(
        "plaintext",
        "HTTP_REQUEST",
        "it spoke plain HTTP to an mTLS port",
        "call through the caller's own proxy, which encrypts",
    ),
    Reason(
        "plaintext",
        "WRONG_VERSION_NUMBER",
        "it spoke something that is not TLS",
        "call through the caller's own proxy, which encrypts",
    ),
    Reason(
        "expired",
        "certificate_has_expired",
        "its certificate has expired",
        "`everyhop certs` shows why it was not renewed; `everyhop rotate leaf` renews it now",
    ),
    Reason(
        "expired",
        "certificate has expired",
        "its certificate has expired",
        "`everyhop certs` shows why it was not renewed; `everyhop rotate leaf` renews it now",
    ),
    Reason(
        "foreign-authority",
        "unable to get local issuer",
        "its certificate comes from an authority that this trust domain does not trust",
        "a caller of another trust domain needs an identity of this one",
    ),
    Reason(
        "foreign-authority",
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate does not verify under the roots that this trust domain trusts",
        "a caller of another trust domain needs an identity of this one",
    ),
    Reason(
        "old-protocol",
        "UNSUPPORTED_PROTOCOL",
        "it offered no TLS version that this port takes (TLS 1.3)",
        "update the caller's TLS library",
    ),
    Reason(
        "no-common-group",
        "NO_SHARED_GROUP",
        "it offered no key exchange that this port takes",
        "see `policy.key_exchange` in the topology",
    ),
)
_HUNG_UP = "system_library"
"""How the library calls what the operating system told it: a reset, a broken pipe. Nobody was refused."""
_OTHER = Reason("other", "", "the handshake failed: {failure}", "the proxy's log has more: `everyhop logs`")


_CALLS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "UF": (
            "the callee's proxy could not be reached, or the handshake with it failed",
            "`everyhop status` shows it",
        ),
        "UC": ("the callee's proxy ended the connection", "`everyhop explain` of the callee shows whom it refused"),
        "UH": ("no endpoint of the callee is known", "`everyhop status` shows the callee's proxy"),
        "UR": ("the callee reset the request", "the callee's own log has more: `everyhop logs`"),
        "UPE": ("the callee broke the protocol", "does `protocol:` in the topology say what it speaks?"),
    }
)
"""What Envoy's response flags say at a calling end: calls that failed on their way."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A refusal in words."""

    code: str
    sentence: str
    remedy: str


def is_refusal(failure: str) -> bool:
    """True if a failure is a verdict on the peer; False if there was none, or the peer itself ended the connection. A
    peer that hangs up on its verdict leaves both in the failure: it was refused."""
    return bool(failure) and (_HUNG_UP not in failure or _reason(failure) is not _OTHER)


def failed_call(flags: str) -> bool:
    """True if response flags say that a call failed on its way to the callee, and not because of who called us."""
    return any(flag in _CALLS for flag in flags.split(","))


def explain_call(flags: str) -> Explained:
    """What the response flags of a failed call mean."""
    flag = next((one for one in flags.split(",") if one in _CALLS), "")
    sentence, remedy = _CALLS.get(flag, (f"the call failed: {flags[:50]}", _OTHER.remedy))
    return Explained("call-failed", sentence, remedy)


def explain_failure(failure: str, peer: str, callers: Sequence[str]) -> Explained:
    """What a failure reason of Envoy means. ``peer`` is the identity shown, ``callers`` those that may call."""
    reason = _reason(failure)
    sentence = reason.sentence.format(
        peer=peer or "none", callers=", ".join(callers) or "nobody", failure=failure[:200]
    )
    return Explained(reason.code, sentence, reason.remedy)


def _reason(failure: str) -> Reason:
    lowered = failure.lower().replace("_", " ")
    return next((one for one in REASONS if one.fragment.lower().replace("_", " ") in lowered), _OTHER)
