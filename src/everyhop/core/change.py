"""What would change: the difference between two plans, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from everyhop.core.plan import AppPlan, Credential, HopPlan, Listener, NodePlan, Plan


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that comes, goes or becomes different."""

    sign: str
    """``+``, ``-`` or ``~``."""
    kind: str
    """``proxy``, ``app``, ``hop``, ``listener`` or ``certificate``."""
    name: str
    detail: str


def changes(before: Plan | None, after: Plan) -> tuple[Change, ...]:
    """Everything that differs from ``before`` (None: nothing runs yet) to ``after``, kind by kind."""
    old = before or Plan((), (), ())
    return (
        *_compared("proxy", {one.name: one for one in old.nodes}, {one.name: one for one in after.nodes}, _node),
        *_compared("app", {one.name: one for one in old.apps}, {one.name: one for one in after.apps}, _app),
        *_compared("hop", {str(one.hop): one for one in old.hops}, {str(one.hop): one for one in after.hops}, _hop),
        *_compared("listener", _listeners(old), _listeners(after), _listener),
        *_compared("certificate", _credentials(old), _credentials(after), _credential),
    )


def _compared(kind: str, old: Mapping[str, object], new: Mapping[str, object], describe: object) -> list[Change]:
    def text(value: object) -> str:
        return str(describe(value)) if callable(describe) else ""

    found = [Change("-", kind, name, text(value)) for name, value in old.items() if name not in new]
    for name, value in new.items():
        if name not in old:
            found.append(Change("+", kind, name, text(value)))
        elif old[name] != value:
            before, after = text(old[name]), text(value)
            found.append(Change("~", kind, name, f"{before} => {after}" if before != after else f"{after} (details)"))
    return found


def _listeners(plan: Plan) -> dict[str, Listener]:
    return {f"{node.name}/{one.name}": one for node in plan.nodes for one in node.listeners}


def _credentials(plan: Plan) -> dict[str, Credential]:
    return {f"{node.name}/{one.name}": one for node in plan.nodes for one in node.credentials}


def _node(node: NodePlan) -> str:
    return f"{node.identity}, {len(node.listeners)} listeners"


def _app(app: AppPlan) -> str:
    return f"{' '.join(app.command)} on {app.listen}"


def _hop(hop: HopPlan) -> str:
    return f"{hop.posture} at {_where(hop.address)}, owner {hop.owner}"


def _listener(listener: Listener) -> str:
    return f"{type(listener).__name__.lower()} on {_where(listener.address)}"


def _credential(credential: Credential) -> str:
    names = [str(credential.identity)] if credential.identity else []
    return f"{credential.profile}: {', '.join([*names, *credential.dns_names])}"


def _where(address: object) -> str:
    text = str(address)
    return "an address chosen when applied" if text.endswith(":0") else text
