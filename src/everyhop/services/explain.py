"""Explain: why a call works, or why it is refused.

Rules: first what the topology says, then what was seen. A caller learns nothing from a TLS 1.3 refusal, so the
answer comes from the serving end, joined with the plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from everyhop.core.hop import End, Hop, Posture
from everyhop.core.layout import upstream_name
from everyhop.core.plan import EDGE, Inbound, Plan
from everyhop.core.topology import Topology
from everyhop.errors import EveryhopError
from everyhop.ports import Store
from everyhop.services.apply import planned
from everyhop.services.observe import HOPS_SEEN
from everyhop.services.refusals import REFUSALS_SEEN, RefusalSeen, explained


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody who was refused, in words."""

    who: str
    code: str
    why: str
    remedy: str
    count: int
    last_at: datetime
    last_peer: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is said about calls to a service."""

    caller: str
    callee: str
    allowed: bool
    verdict: str
    allowed_callers: tuple[str, ...]
    last_seen: str
    refused: tuple[Refused, ...]


async def explain(store: Store, data: str, *, caller: str, callee: str) -> Explanation:
    """Explain calls from ``caller`` (a service, ``edge``, a SPIFFE ID, or empty for everybody) to ``callee``.

    Raises ``unknown-name`` for a callee that the topology does not know, ``not-running`` before the first apply.
    """
    found = await planned(store, data)
    if found is None:
        raise EveryhopError("not-running", f"nothing was applied in {data} yet", hint="`everyhop up FILE` begins")
    topology, plan = found
    if callee not in topology.services and callee != EDGE:
        known = ", ".join([EDGE, *topology.services])
        raise EveryhopError("unknown-name", f"expected a service as callee, got {callee!r}", hint=f"there are: {known}")
    callers = _callers(plan, callee)
    who = _identity(topology, caller)
    allowed = bool(who) and who in callers
    seen = await HOPS_SEEN.get(store, str(Hop(caller, callee)))
    refusals = [one.value for one in await REFUSALS_SEEN.all(store)]
    matching = [one for one in refusals if _is_about(one, caller, who, callee)]
    return Explanation(
        caller=caller,
        callee=callee,
        allowed=allowed,
        verdict=_verdict(topology, caller, callee, who, callers),
        allowed_callers=callers,
        last_seen=(
            f"{seen.value.version} {seen.value.group} at {seen.value.at:%Y-%m-%d %H:%M:%S} UTC, {seen.value.source}"
            if seen
            else ""
        ),
        refused=tuple(_refused(one, callers) for one in sorted(matching, key=lambda one: one.last_at, reverse=True)),
    )


def _is_about(seen: RefusalSeen, caller: str, who: str, callee: str) -> bool:
    """True for what the callee's proxy refused, and for the caller's own calls that its proxy saw fail."""
    if seen.end is End.CLIENT:
        return seen.listener == upstream_name(callee) and caller in ("", seen.node)
    return seen.node == callee and (not caller or seen.peer_identity in (who, ""))


def _callers(plan: Plan, callee: str) -> tuple[str, ...]:
    for node in plan.nodes:
        if node.name == callee:
            for listener in node.listeners:
                if isinstance(listener, Inbound):
                    return tuple(str(one) for one in listener.callers)
    return ()


def _identity(topology: Topology, caller: str) -> str:
    if not caller or caller.startswith("spiffe://"):
        return caller
    try:
        return str(topology.identity(caller))
    except ValueError as error:
        raise EveryhopError(
            "unknown-name", f"expected a service or a SPIFFE ID as caller, got {caller!r}", hint=str(error)
        ) from error


def _verdict(topology: Topology, caller: str, callee: str, who: str, callers: tuple[str, ...]) -> str:
    if callee == EDGE:
        return "the edge takes any client that speaks TLS and asks for a host that it serves"
    if not caller:
        return f"{callee} takes calls from {', '.join(callers) or 'nobody'}"
    if who in callers:
        return f"the topology allows {caller} -> {callee}: mTLS, and {callee} takes exactly the identity {who}"
    exception = topology.exception_for(Hop(caller, callee))
    if exception is not None and exception.posture is Posture.EXEMPT:
        return f"the hop {caller} -> {callee} is exempt until {exception.until}: {exception.reason}"
    return (
        f"the topology does not allow {caller} -> {callee}: {callee} is not under the `calls:` of {caller},"
        f" and takes only {', '.join(callers) or 'nobody'}"
    )


def _who(seen: RefusalSeen) -> str:
    if seen.end is End.CLIENT:
        return f"{seen.node}, as its own proxy saw it"
    return seen.peer_identity or f"somebody at {seen.last_peer.rpartition(':')[0]}"


def _refused(seen: RefusalSeen, callers: tuple[str, ...]) -> Refused:
    words = explained(seen, callers)
    return Refused(
        who=_who(seen),
        code=words.code,
        why=words.sentence,
        remedy=words.remedy,
        count=seen.count,
        last_at=seen.last_at,
        last_peer=seen.last_peer,
    )
