"""The parts of a topology file that can be judged, when others cannot.

Rules: a part (a service, a host, the policy, an exception) is here if its shape is good, alone. Of the rest only the
names are known, and that something was left out: a check must not call missing what may stand there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from everyhop.core.document import Document
from everyhop.core.fault import Plain
from everyhop.core.hop import Hop
from everyhop.core.section import Label
from everyhop.core.showing import Board
from everyhop.core.telling import Notify
from everyhop.core.topology import EDGE, Edge, Exemption, Host, HostName, Owner, Policy, Service, ServiceName

T = TypeVar("T")

_SERVICES = TypeAdapter(dict[ServiceName, Service])
_HOSTS = TypeAdapter(dict[HostName, Host])
_EDGE = TypeAdapter(Edge)
_POLICY = TypeAdapter(Policy)
_EXEMPTION = TypeAdapter(Exemption)
_OWNERS = TypeAdapter(dict[Label, Owner])
_NOTIFY = TypeAdapter(Notify)
_BOARD = TypeAdapter(Board)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a document that have a good shape, and the names that stand in it whatever their shape."""

    owners: frozenset[str] | None
    """The names of all owners; None if there is no telling."""
    names: frozenset[str] | None
    """The names of all services; None if there is no telling."""
    services: Mapping[str, Service]
    edge: Edge | None
    """The edge with its well-formed hosts."""
    policy: Policy | None
    exemptions: Mapping[int, Exemption]
    trust_domain: str | None
    whole_edge: bool
    """True if nothing at the edge was left out."""
    whole_exemptions: bool
    """True if no exception was left out."""
    whole: bool
    """True if nothing was left out anywhere."""
    answerers: Mapping[str, Owner]
    """The well-formed owners."""
    notify: Notify | None
    """Who is told of alerts; None if there is no telling."""
    board: Board | None
    """The dashboard; None if it is off, or there is no telling."""

    @classmethod
    def of(cls, document: Document) -> Parts:
        """The well-formed parts of a document."""
        top = _mapping(document.value)
        written, edge_written = _mapping(top.get("services")), _mapping(top.get("edge"))
        hosts_written, exceptions = _mapping(edge_written.get("hosts")), top.get("exceptions", [])
        services, hosts = _each(_SERVICES, written), _each(_HOSTS, hosts_written)
        sound = {name: hosts_written[name] for name in hosts}
        edge = _read(_EDGE, {**edge_written, "hosts": sound}) if "hosts" in edge_written else None
        exemptions = _exemptions(exceptions if isinstance(exceptions, list) else [])
        whole_edge = "edge" not in top or (edge is not None and len(hosts) == len(hosts_written))
        whole_exemptions = isinstance(exceptions, list) and len(exemptions) == len(exceptions)
        domain = top.get("trust_domain")
        return cls(
            owners=_names(top.get("owners")),
            names=_names(top.get("services")),
            services=services,
            edge=edge,
            policy=_read(_POLICY, top.get("policy", {})),
            exemptions=exemptions,
            trust_domain=domain if isinstance(domain, str) else None,
            whole_edge=whole_edge,
            whole_exemptions=whole_exemptions,
            whole=whole_edge and whole_exemptions and len(services) == len(written),
            answerers=_each(_OWNERS, _mapping(top.get("owners"))),
            notify=_read(_NOTIFY, top.get("notify", {})),
            board=_read(_BOARD, top.get("dashboard", {})),
        )

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The well-formed hosts of the edge."""
        return self.edge.hosts if self.edge else {}

    def is_exempt(self, hop: Hop) -> bool:
        """True if some exception names the hop."""
        return any(exemption.hop == hop for exemption in self.exemptions.values())

    def callees(self, caller: str) -> frozenset[str] | None:
        """Whom a caller reaches over mTLS unless an exception says otherwise; None if there is no telling."""
        if caller == EDGE:
            return frozenset(host.to for host in self.hosts.values() if host.to) if self.whole_edge else None
        service = self.services.get(caller)
        return frozenset(call.service for call in service.calls) if service else None


def _mapping(value: Plain) -> dict[str, Plain]:
    return value if isinstance(value, dict) else {}


def _names(value: Plain) -> frozenset[str] | None:
    return frozenset(value) if isinstance(value, dict) else None


def _read(adapter: TypeAdapter[T], value: object) -> T | None:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None


def _each(adapter: TypeAdapter[dict[str, T]], entries: Mapping[str, Plain]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, value in entries.items():
        found |= _read(adapter, {name: value}) or {}
    return found


def _exemptions(entries: list[Plain]) -> dict[int, Exemption]:
    read = ((index, _read(_EXEMPTION, value)) for index, value in enumerate(entries))
    return {index: exemption for index, exemption in read if exemption}
