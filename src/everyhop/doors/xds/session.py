"""One delta ADS stream as a state machine without I/O.

Rules, each from a measured trap: one response in flight for a type, and the next waits for the answer; secrets travel
one a response, because a refused secret drags its neighbours along; after a refusal what was sent together is sent
one by one; a refused version is not sent again, unless its cause may have gone: a spoilt neighbour was healed, an
address was freed; a version that the proxy has is not sent at all. Source: the xDS protocol, "Incremental xDS".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from everyhop.doors.xds.messages import CLUSTER, LISTENER, SECRET, DeltaRequest
from everyhop.doors.xds.translate import Resource

_ORDER = (CLUSTER, SECRET, LISTENER)
"""What a listener needs comes first."""
_WILDCARD = frozenset({CLUSTER, LISTENER})
_UNSURE = ""
"""The version of what a proxy may have, after a refusal: it equals no version that is wanted."""
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a proxy said about one resource: taken, or refused with a reason."""

    type_url: str
    name: str
    version: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Push:
    """One response to send."""

    type_url: str
    nonce: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]


@dataclass(slots=True)
class _Type:
    subscribed: set[str] = field(default_factory=set[str])
    wildcard: bool = False
    asked: bool = False
    in_flight: Push | None = None
    one_by_one: bool = False


@dataclass(slots=True)
class Session:
    """The state of one stream: what is subscribed, what the proxy has, what it refused, what is in flight."""

    has: dict[Key, str] = field(default_factory=dict[Key, str])
    refused: dict[Key, str] = field(default_factory=dict[Key, str])
    _types: dict[str, _Type] = field(default_factory=dict[str, _Type])
    _sent: int = 0

    def heard(self, request: DeltaRequest) -> Sequence[Answer]:
        """Take a request in; returns what it says about resources: acknowledged, refused, or already held."""
        kind = self._types.setdefault(request.type_url, _Type())
        answers: list[Answer] = []
        for name, version in request.initial_resource_versions.items():
            self.has[request.type_url, name] = version
            answers.append(Answer(request.type_url, name, version))
        if request.response_nonce and kind.in_flight and kind.in_flight.nonce == request.response_nonce:
            fault = request.error_detail.message if request.HasField("error_detail") else ""
            answers += self._settle(kind, kind.in_flight, fault)
        self._unsubscribe(kind, request)
        self._subscribe(kind, request)
        return answers

    def _subscribe(self, kind: _Type, request: DeltaRequest) -> None:
        names = set(request.resource_names_subscribe)
        if request.type_url in _WILDCARD and ("*" in names or not (kind.asked or names)):
            kind.wildcard = True
        kind.asked = True
        again = names & kind.subscribed
        kind.subscribed |= names - {"*"}
        for name in names - set(request.initial_resource_versions):
            # Whoever asks again has forgotten: a listener that is replaced drops its secrets and asks in one request.
            self.has.pop((request.type_url, name), None)
        self._forget_neighbours(request.type_url, again)

    def _unsubscribe(self, kind: _Type, request: DeltaRequest) -> None:
        for name in request.resource_names_unsubscribe:
            if name == "*":
                kind.wildcard = False
            kind.subscribed.discard(name)
            self.has.pop((request.type_url, name), None)
        self._forget_neighbours(request.type_url, set(request.resource_names_unsubscribe))

    def _settle(self, kind: _Type, push: Push, fault: str) -> list[Answer]:
        kind.in_flight = None
        if fault:
            return self._settle_refused(kind, push, fault)
        for resource in push.resources:
            self.has[push.type_url, resource.name] = resource.version
            self.refused.pop((push.type_url, resource.name), None)
            if push.type_url == SECRET:
                # While one secret is spoilt, Envoy refuses its good neighbours too. One that it takes may have been the
                # spoilt one, also if it was spoilt before this stream began: the others get another try.
                self._forget_refused(SECRET)
        for name in push.removed:
            self.has.pop((push.type_url, name), None)
        return [Answer(push.type_url, one.name, one.version) for one in push.resources]

    def _settle_refused(self, kind: _Type, push: Push, fault: str) -> list[Answer]:
        kind.one_by_one = True
        for resource in push.resources:
            # Envoy takes what it can of a response that it refuses, and a refused update leaves the former version or
            # spoils it. So whatever good version is wanted next is sent again, and if none is, it is removed.
            self.has[push.type_url, resource.name] = _UNSURE
        if not push.resources:
            for name in push.removed:
                self.has.pop((push.type_url, name), None)  # asking again would never end
        if len(push.resources) != 1:
            return []  # who is to blame shows when each is sent alone
        (resource,) = push.resources
        self.refused[push.type_url, resource.name] = resource.version
        return [Answer(push.type_url, resource.name, resource.version, fault)]

    def retry_listeners(self) -> None:
        """Let refused listeners be sent again. One may have been refused for an address that somebody else had taken,
        and that is free by now; a cluster or a secret is refused for what it is."""
        self._forget_refused(LISTENER)

    def _forget_neighbours(self, type_url: str, dropped: Set[str]) -> None:
        """A secret that the proxy dropped may have been the spoilt one: those that it refused beside it get another
        try. The dropped one itself was refused for what it is."""
        if type_url == SECRET and dropped:
            for key in [key for key in self.refused if key[0] == SECRET and key[1] not in dropped]:
                del self.refused[key]

    def _forget_refused(self, type_url: str) -> None:
        for key in [key for key in self.refused if key[0] == type_url]:
            del self.refused[key]

    def next(self, wanted: Mapping[Key, Resource]) -> Push | None:
        """The next response that the wanted resources call for, or None if nothing is due now."""
        for type_url in _ORDER:
            kind = self._types.get(type_url)
            if kind is None or kind.in_flight is not None:
                continue
            due = [
                resource
                for (kind_url, name), resource in wanted.items()
                if kind_url == type_url
                and (kind.wildcard or name in kind.subscribed)
                and self.has.get((kind_url, name)) != resource.version
                and self.refused.get((kind_url, name)) != resource.version
            ]
            gone = tuple(
                name
                for kind_url, name in self.has
                if kind.wildcard and kind_url == type_url and (kind_url, name) not in wanted
            )
            if not due and not gone:
                kind.one_by_one = False
                continue
            if type_url == SECRET or kind.one_by_one:
                due = due[:1]
            self._sent += 1
            kind.in_flight = Push(type_url, str(self._sent), tuple(due), gone)
            return kind.in_flight
        return None
