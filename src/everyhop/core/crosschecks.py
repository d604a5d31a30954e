"""What only shows when the parts of a topology are seen together.

Rules: a check looks at parts of good shape only, and never calls something missing that may stand in an ill-formed
part: better one fault too few in this run than a false one. Each check is one small generator in ``CHECKS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta

from everyhop.core import placeholders
from everyhop.core.alerts import ALERTS
from everyhop.core.document import Document
from everyhop.core.fault import Fault, FaultCode, Path, describe, did_you_mean, listed
from everyhop.core.hop import Address, Hop
from everyhop.core.literals import format_duration, format_ports
from everyhop.core.parts import Parts
from everyhop.core.topology import CLIENT, EDGE, Policy, Run

_LEAVES_PER_INTERMEDIATE = 6
"""SPIRE's rule: an authority should live at least six times as long as what it signs."""


# --- names that must exist ------------------------------------------------------------------------------------


def _something(parts: Parts, document: Document) -> Iterator[Fault]:
    if parts.names is not None and not parts.names:
        hint = "a topology without services has no hop to encrypt"
        yield document.fault(("services",), FaultCode.WRONG_VALUE, expected="at least one service", hint=hint)
    if parts.edge and not parts.hosts and parts.whole_edge:
        hint = "name a host and the service it leads to, or remove the edge"
        yield document.fault(("edge", "hosts"), FaultCode.WRONG_VALUE, expected="at least one host", hint=hint)


def _references(parts: Parts, document: Document) -> Iterator[Fault]:
    for path, name in _owner_references(parts):
        yield from _unknown(document, path, name, parts.owners, "the name of an owner", "owners")
    for path, name in _service_references(parts):
        yield from _unknown(document, path, name, parts.names, "the name of a service", "services")


def _owner_references(parts: Parts) -> Iterator[tuple[Path, str]]:
    for name, service in parts.services.items():
        yield ("services", name, "owner"), service.owner
    for index, exemption in parts.exemptions.items():
        yield ("exceptions", index, "owner"), exemption.owner


def _service_references(parts: Parts) -> Iterator[tuple[Path, str]]:
    for name, service in parts.services.items():
        for index, call in enumerate(service.calls):
            yield ("services", name, "calls", index, "service"), call.service
    for name, host in parts.hosts.items():
        yield ("edge", "hosts", name, "to" if host.to else "passthrough"), host.service
    for index, exemption in parts.exemptions.items():
        for name in (exemption.hop.caller, exemption.hop.callee):
            if name not in (CLIENT, EDGE):
                yield ("exceptions", index, "hop"), name


def _unknown(
    document: Document, path: Path, name: str, known: frozenset[str] | None, expected: str, section: str
) -> Iterator[Fault]:
    if known is not None and name not in known:
        hint = did_you_mean(name, sorted(known), otherwise=f"add it to `{section}`, or name one that is there")
        where = document.reach(path)
        got = describe(name, where)
        yield document.fault(where, FaultCode.UNKNOWN_NAME, expected=expected, got=got, hint=hint)


# --- who reaches whom -----------------------------------------------------------------------------------------


def _calls(parts: Parts, document: Document) -> Iterator[Fault]:
    for name, service in parts.services.items():
        for index, call in enumerate(service.calls):
            path = document.reach(("services", name, "calls", index, "service"))
            if call.service == name:
                hint = "a call inside a service is no hop: remove it"
                yield document.fault(path, FaultCode.WRONG_TARGET, expected="another service", hint=hint)
            if call.service in [earlier.service for earlier in service.calls[:index]]:
                hint = "one entry a callee is enough"
                expected, got = "each callee once", f"{describe(call.service, path)} again"
                yield document.fault(path, FaultCode.DUPLICATE, expected=expected, got=got, hint=hint)
            if call.at and parts.is_exempt(Hop(name, call.service)):
                hint = "the caller of an exempt hop connects to the callee's listen address directly"
                at = (*path[:4], "at")
                yield document.fault(at, FaultCode.CONFLICT, expected="no address on an exempt hop", hint=hint)


def _host_targets(parts: Parts, document: Document) -> Iterator[Fault]:
    for name, host in parts.hosts.items():
        target = parts.services.get(host.service)
        if target is None:
            continue
        got = f"{describe(host.service)}, which speaks {target.protocol}"
        if host.to and not target.protocol.is_http:
            hint = "the edge routes requests; a service with TLS of its own can be reached by passthrough"
            expected = "a service that speaks http, http2 or grpc"
            path: Path = ("edge", "hosts", name, "to")
            yield document.fault(path, FaultCode.WRONG_TARGET, expected=expected, got=got, hint=hint)
        if host.passthrough and target.protocol != "tcp":
            hint = "behind passthrough the service speaks TLS itself: give it protocol: tcp, or use to:"
            path = ("edge", "hosts", name, "passthrough")
            expected = "a service with protocol: tcp"
            yield document.fault(path, FaultCode.WRONG_TARGET, expected=expected, got=got, hint=hint)


def _exempt_hops(parts: Parts, document: Document) -> Iterator[Fault]:
    seen: dict[Hop, int] = {}
    for index, exemption in parts.exemptions.items():
        hop, path = exemption.hop, ("exceptions", index, "hop")
        if hop in seen:
            expected, got = "each hop once", f"{describe(str(hop))} again"
            hint = f"exceptions[{seen[hop]}] names it already: keep the one that holds"
            yield document.fault(path, FaultCode.DUPLICATE, expected=expected, got=got, hint=hint)
        seen.setdefault(hop, index)
        callees = parts.callees(hop.caller)
        if hop.caller == CLIENT or hop.callee in (CLIENT, EDGE):
            hint = "what clients see is said under `edge`"
            yield document.fault(path, FaultCode.WRONG_TARGET, expected="a hop to a service", hint=hint)
        elif callees is not None and hop.callee not in callees and hop.callee in (parts.names or ()):
            known = [str(Hop(hop.caller, callee)) for callee in sorted(callees)]
            hint = (
                f"the hops of {hop.caller} are {listed(known, last='and')}"
                if known
                else f"{hop.caller} reaches nobody over mTLS"
            )
            expected = "a hop over mTLS that this topology has"
            yield document.fault(path, FaultCode.UNKNOWN_NAME, expected=expected, hint=hint)


def _ended(parts: Parts, document: Document, today: date) -> Iterator[Fault]:
    for index, exemption in parts.exemptions.items():
        if exemption.until < today:
            hint = f"encrypt {exemption.hop} now, or ask {exemption.owner} for a new date"
            path, expected = ("exceptions", index, "until"), f"a date from {today} on"
            yield document.fault(path, FaultCode.EXPIRED, expected=expected, hint=hint)
    for index, silence in enumerate(parts.notify.silences if parts.notify else ()):
        if silence.until < today:
            path, expected = ("notify", "silences", index, "until"), f"a date from {today} on"
            hint = f"remove the silence, or say why {silence.alert} must stay silent and how long"
            yield document.fault(path, FaultCode.EXPIRED, expected=expected, hint=hint)


# --- addresses ------------------------------------------------------------------------------------------------


def _clashes(parts: Parts, document: Document) -> Iterator[Fault]:
    """Two listeners that want the same place; the one further down in the file is at fault."""

    def place(claim: tuple[Path, Address]) -> tuple[int, int]:
        position = document.locate(claim[0])
        return position.line, position.column

    earlier: dict[str | int, list[tuple[Path, Address]]] = {}
    for path, address in sorted(_claims(parts), key=place):
        rivals = earlier.setdefault(address.path or address.port, [])
        rival = next((other for other, taken in rivals if _overlap(address, taken)), None)
        if rival is not None:
            hint = f"line {document.locate(rival).line} takes it already: choose another one"
            yield document.fault(path, FaultCode.ADDRESS_CLASH, expected="an address of its own", hint=hint)
        rivals.append((path, address))


def _claims(parts: Parts) -> Iterator[tuple[Path, Address]]:
    for name, service in parts.services.items():
        yield ("services", name, "listen"), service.listen
        if service.mesh:
            yield ("services", name, "mesh"), service.mesh
        for index, call in enumerate(service.calls):
            if call.at:
                yield ("services", name, "calls", index, "at"), call.at
    if parts.edge:
        yield ("edge", "https"), parts.edge.https
        if parts.edge.http:
            yield ("edge", "http"), parts.edge.http
    if parts.board and parts.board.listen:
        yield ("dashboard", "listen"), parts.board.listen


def _overlap(one: Address, other: Address) -> bool:
    everywhere = ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound
    return one == other or (not one.path and (one.host in everywhere or other.host in everywhere))


def _mesh_ports(parts: Parts, document: Document) -> Iterator[Fault]:
    """Every address that the file leaves open finds a port, beside those that the file fixes."""
    if parts.policy is None or not parts.whole_exemptions:
        return
    band, wanted = parts.policy.mesh_ports, _left_open(parts)
    fixed = {address.port for _, address in _claims(parts) if not address.path and address.port in band}
    room = len(band) - len(fixed)
    if wanted > room:
        expected = f"at least {wanted} ports, one for each address that the file leaves open"
        hint = "make the band wider, or fix addresses outside of it with `mesh:` and `at:`"
        path: Path = ("policy", "mesh_ports")
        if document.reach(path) != path:
            path, expected = ("services",), f"policy.mesh_ports to hold {expected}"
        got = f"{room} in {format_ports(band)}"
        yield document.fault(path, FaultCode.CONFLICT, expected=expected, got=got, hint=hint, key=path[0] == "services")


def _left_open(parts: Parts) -> int:
    """For how many addresses everyhop chooses a port, as far as there is telling."""
    calls = [(Hop(name, call.service), call) for name, service in parts.services.items() for call in service.calls]
    hops = [*(hop for hop, _ in calls), *(Hop(EDGE, host.to) for host in parts.hosts.values() if host.to)]
    called = {hop.callee for hop in hops if not parts.is_exempt(hop)}
    doors = [name for name, service in parts.services.items() if service.mesh is None and name in called]
    return len(doors) + sum(call.at is None and not parts.is_exempt(hop) for hop, call in calls)


def _exposed(parts: Parts, document: Document) -> Iterator[Fault]:
    """Plaintext doors that other machines could use: around the callee's proxy, or into the caller's."""
    for name, service in parts.services.items():
        if not service.listen.is_loopback and _is_meshed(name, parts):
            hint = "others could reach the app around its proxy: let it listen on 127.0.0.1 or a Unix socket"
            path: Path = ("services", name, "listen")
            yield document.fault(path, FaultCode.EXPOSED, expected="a loopback address or a Unix socket", hint=hint)
        for index, call in enumerate(service.calls):
            if call.at and not call.at.is_loopback:
                hint = f"others could call {call.service} in the name of {name}: use 127.0.0.1 or a Unix socket"
                path = ("services", name, "calls", index, "at")
                expected = "a loopback address or a Unix socket"
                yield document.fault(path, FaultCode.EXPOSED, expected=expected, hint=hint)


def _is_meshed(name: str, parts: Parts) -> bool:
    """True unless every hop to a service is exempt or passes through, and there is one."""
    callers = [EDGE] if any(host.to == name for host in parts.hosts.values()) else []
    callers += [caller for caller, service in parts.services.items() if name in (c.service for c in service.calls)]
    if any(not parts.is_exempt(Hop(caller, name)) for caller in callers):
        return parts.whole_exemptions
    passes = any(host.passthrough == name for host in parts.hosts.values())
    return parts.whole and not callers and not passes


# --- names, lifetimes, placeholders ---------------------------------------------------------------------------


def _dns_names(parts: Parts, document: Document) -> Iterator[Fault]:
    """Nobody shares a DNS name, and the authority vouches for no name outside of its own."""
    suffixes = _suffixes(parts)
    hint = f"the authority's names are {listed(suffixes, last='and')}; see policy.names" if suffixes else ""
    taken: dict[str, Path] = {}
    for path, name in _vouched(parts):
        plain = name.removeprefix("*.")
        if suffixes and not any(plain == suffix or plain.endswith(f".{suffix}") for suffix in suffixes):
            expected = "a name that the authority may vouch for"
            got = describe(name)
            yield document.fault(path, FaultCode.OUTSIDE_NAMES, expected=expected, got=got, hint=hint, key=True)
        if path[0] == "services" and name in taken:
            first = f"line {document.locate(taken[name]).line} has it already: a name leads to one service"
            yield document.fault(path, FaultCode.DUPLICATE, expected="a DNS name of its own", hint=first)
        if path[0] == "services":
            taken.setdefault(name, path)


def _vouched(parts: Parts) -> Iterator[tuple[Path, str]]:
    for name, service in parts.services.items():
        for index, dns in enumerate(service.dns):
            yield ("services", name, "dns", index), dns
    for name, host in parts.hosts.items():
        if host.to:
            yield ("edge", "hosts", name), name


def _suffixes(parts: Parts) -> tuple[str, ...]:
    """The authority's names; empty if there is no telling."""
    if parts.policy is None:
        return ()
    if parts.policy.names:
        return parts.policy.names
    if not (parts.trust_domain and parts.whole_edge):
        return ()
    return (parts.trust_domain, *(name.removeprefix("*.") for name, host in parts.hosts.items() if host.to))


def _lifetimes(parts: Parts, document: Document) -> Iterator[Fault]:
    """Whatever signs lives longer than what it signs, and a renewal comes before the end."""
    policy = parts.policy
    if policy is None:
        return
    leaf, intermediate, root = policy.leaf_lifetime, policy.intermediate_lifetime, policy.root_lifetime
    least = leaf * _LEAVES_PER_INTERMEDIATE
    if intermediate < least:
        expected = f"at least {format_duration(least)}, six times leaf_lifetime"
        hint = "SPIRE's rule: an authority that ends sooner cuts the leaves that it signs; use shorter leaves"
        yield _conflict(document, "intermediate_lifetime", "leaf_lifetime", expected, intermediate, hint)
    if root <= intermediate:
        expected = f"more than {format_duration(intermediate)}, the intermediate_lifetime"
        hint = "nothing outlives the authority that signed it"
        yield _conflict(document, "root_lifetime", "intermediate_lifetime", expected, root, hint)
    if policy.rotation_overlap >= root:
        expected = f"less than {format_duration(root)}, the root_lifetime"
        hint = "the old root has to live until the new one is trusted everywhere"
        yield _conflict(document, "rotation_overlap", "root_lifetime", expected, policy.rotation_overlap, hint)
    yield from _renewal(policy, document)


def _renewal(policy: Policy, document: Document) -> Iterator[Fault]:
    room = min(policy.renew_at, 1 - policy.renew_at)
    if policy.jitter >= room:
        hint = "with its jitter, a renewal must come after the beginning and before the end of the lifetime"
        yield _conflict(document, "jitter", "renew_at", f"less than {room:g}", policy.jitter, hint)


def _conflict(document: Document, field: str, cause: str, expected: str, got: timedelta | float, hint: str) -> Fault:
    """A fault of a policy's field, placed where it is written, or where what causes it is."""
    came = format_duration(got) if isinstance(got, timedelta) else f"{got:g}"
    written = document.reach(("policy", field)) == ("policy", field)
    path, named = (("policy", field), expected) if written else (("policy", cause), f"{field} to be {expected}")
    return document.fault(path, FaultCode.CONFLICT, expected=named, got=came, hint=hint)


def _key_exchange(parts: Parts, document: Document) -> Iterator[Fault]:
    groups = parts.policy.key_exchange if parts.policy else ()
    for index, group in enumerate(groups):
        if group in groups[:index]:
            path, got = ("policy", "key_exchange", index), f"{describe(group.value)} again"
            hint = "the first place counts: remove this one"
            yield document.fault(path, FaultCode.DUPLICATE, expected="each key exchange once", got=got, hint=hint)


def _runs(parts: Parts, document: Document) -> Iterator[Fault]:
    for name, service in parts.services.items():
        if service.run is None:
            continue
        path = ("services", name, "run")
        if service.run.health.http and not service.protocol.is_http:
            hint, got = "use health: {tcp: true}", f"http on a service that speaks {service.protocol}"
            where = (*path, "health")
            expected = "a check that the app answers"
            yield document.fault(where, FaultCode.CONFLICT, expected=expected, got=got, hint=hint, key=True)
        calls = {call.service: call.at or _direct(parts, Hop(name, call.service)) for call in service.calls}
        known = placeholders.known(service.listen, calls)
        for where, text in _run_texts(path, service.run):
            yield from _placeholders(document, where, text, known)


def _direct(parts: Parts, hop: Hop) -> Address | None:
    """Where the caller of an exempt hop connects to; None for other hops, whose address is chosen later."""
    callee = parts.services.get(hop.callee)
    return callee.listen if callee and parts.is_exempt(hop) else None


def _run_texts(path: Path, run: Run) -> Iterator[tuple[Path, str]]:
    for index, argument in enumerate(run.command):
        yield (*path, "command", index), argument
    for key, value in run.environment.items():
        yield (*path, "environment", key), value


def _placeholders(document: Document, path: Path, text: str, known: frozenset[str]) -> Iterator[Fault]:
    braces = "{{ and }} are literal braces"
    try:
        names = placeholders.placeholders(text)
    except ValueError:
        expected, got = "braces in pairs", "a single brace"
        yield document.fault(path, FaultCode.WRONG_VALUE, expected=expected, got=got, hint=braces)
        return
    for name in names:
        if name not in known:
            hint = did_you_mean(
                name, sorted(known), otherwise=f"known are {listed(sorted(known), last='and')}; {braces}"
            )
            got = describe(f"{{{name}}}")
            yield document.fault(path, FaultCode.UNKNOWN_NAME, expected="a known placeholder", got=got, hint=hint)


def _readers(parts: Parts, document: Document) -> Iterator[Fault]:
    """Who may read the dashboard exists."""
    for index, name in enumerate(parts.board.owners if parts.board else ()):
        yield from _unknown(
            document, ("dashboard", "owners", index), name, parts.owners, "the name of an owner", "owners"
        )
    for index, name in enumerate(parts.board.services if parts.board else ()):
        where = ("dashboard", "services", index)
        yield from _unknown(document, where, name, parts.names, "the name of a service", "services")


# --- alerts ---------------------------------------------------------------------------------------------------


def _told(parts: Parts, document: Document) -> Iterator[Fault]:
    """Receivers and alerts that are named exist."""
    if parts.notify is None:
        return
    known = frozenset(parts.notify.receivers)
    lists: dict[Path, tuple[str, ...]] = {
        ("notify", "page"): parts.notify.page,
        ("notify", "ticket"): parts.notify.ticket,
    }
    for name, owner in parts.answerers.items():
        lists |= {("owners", name, "page"): owner.page, ("owners", name, "ticket"): owner.ticket}
    for path, names in lists.items():
        for index, name in enumerate(names):
            where = (*path, index)
            yield from _unknown(document, where, name, known, "the name of a receiver", "notify.receivers")
    for index, silence in enumerate(parts.notify.silences):
        if silence.alert not in ALERTS:
            path = ("notify", "silences", index, "alert")
            hint = did_you_mean(silence.alert, sorted(ALERTS), otherwise="docs/reference/alerts.md lists them")
            expected, got = "the name of an alert", describe(silence.alert)
            yield document.fault(path, FaultCode.UNKNOWN_NAME, expected=expected, got=got, hint=hint)


Check = Callable[[Parts, Document], Iterator[Fault]]

CHECKS: tuple[Check, ...] = (
    _something,
    _references,
    _calls,
    _host_targets,
    _exempt_hops,
    _clashes,
    _mesh_ports,
    _exposed,
    _dns_names,
    _lifetimes,
    _key_exchange,
    _runs,
    _told,
    _readers,
)
"""All checks but the one that needs the date."""


def cross_faults(parts: Parts, document: Document, today: date) -> list[Fault]:
    """Every fault between the parts of a document; ``today`` decides which exceptions have ended."""
    faults = [fault for check in CHECKS for fault in check(parts, document)]
    return faults + list(_ended(parts, document, today))
