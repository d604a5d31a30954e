"""The delta ADS state machine, rule by rule, and against a small Envoy that does as it likes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from everyhop.doors.xds.messages import CLUSTER, LISTENER, SECRET, DeltaRequest, message_class
from everyhop.doors.xds.session import Answer, Key, Push, Session
from everyhop.doors.xds.translate import Resource

_REQUEST = message_class("envoy.service.discovery.v3.DeltaDiscoveryRequest")


def request(
    type_url: str,
    *subscribe: str,
    unsubscribe: Iterable[str] = (),
    initial: Mapping[str, str] | None = None,
    nonce: str = "",
    fault: str = "",
) -> DeltaRequest:
    """A DeltaDiscoveryRequest as Envoy sends it."""
    error = {"error_detail": {"code": 13, "message": fault}} if fault else {}
    return cast(
        "DeltaRequest",
        _REQUEST(
            type_url=type_url,
            resource_names_subscribe=list(subscribe),
            resource_names_unsubscribe=list(unsubscribe),
            initial_resource_versions=dict(initial or {}),
            response_nonce=nonce,
            **error,
        ),
    )


def resource(type_url: str, name: str, version: str = "1") -> Resource:
    return Resource(type_url, name, version, f"{name}@{version}".encode())


def wanted(*resources: Resource) -> dict[Key, Resource]:
    return {(one.type_url, one.name): one for one in resources}


def sent(push: Push | None) -> list[str]:
    assert push is not None
    return [f"{one.name}@{one.version}" for one in push.resources] + [f"-{name}" for name in push.removed]


def ack(session: Session, push: Push | None) -> list[Answer]:
    assert push is not None
    return list(session.heard(request(push.type_url, nonce=push.nonce)))


def nack(session: Session, push: Push | None, fault: str = "no") -> list[Answer]:
    assert push is not None
    return list(session.heard(request(push.type_url, nonce=push.nonce, fault=fault)))


A, B, C = (resource(CLUSTER, name) for name in "abc")
S, T = resource(SECRET, "identity"), resource(SECRET, "trust")


def test_nothing_is_sent_unasked() -> None:
    assert Session().next(wanted(A, S)) is None


def test_a_wildcard_gets_everything_of_its_type_and_one_response_is_in_flight() -> None:
    session = Session()
    session.heard(request(CLUSTER))
    first = session.next(wanted(A, B, S))
    assert sent(first) == ["a@1", "b@1"]
    assert session.next(wanted(A, B, C)) is None
    assert ack(session, first) == [Answer(CLUSTER, "a", "1"), Answer(CLUSTER, "b", "1")]
    assert sent(session.next(wanted(A, B, C))) == ["c@1"]


def test_types_do_not_wait_for_each_other_and_clusters_come_first() -> None:
    session = Session()
    session.heard(request(LISTENER))
    session.heard(request(CLUSTER))
    everything = wanted(resource(LISTENER, "inbound"), A)
    assert [sent(session.next(everything)), sent(session.next(everything))] == [["a@1"], ["inbound@1"]]


def test_an_explicit_wildcard_is_one_whenever_it_comes() -> None:
    session = Session()
    session.heard(request(CLUSTER, "a"))
    assert sent(session.next(wanted(A, B))) == ["a@1"]
    session.heard(request(CLUSTER, "*", nonce="1"))
    assert sent(session.next(wanted(A, B))) == ["b@1"]
    session.heard(request(CLUSTER, unsubscribe=["*"], nonce="2"))
    assert session.next(wanted(A, B, C)) is None


def test_a_reconnecting_wildcard_with_names_is_still_one() -> None:
    session = Session()
    session.heard(request(CLUSTER, "*", "a", initial={"a": "1"}))
    assert sent(session.next(wanted(A, B))) == ["b@1"]


def test_secrets_travel_one_a_response() -> None:
    session = Session()
    session.heard(request(SECRET, "identity", "trust"))
    first = session.next(wanted(S, T))
    assert sent(first) == ["identity@1"]
    assert session.next(wanted(S, T)) is None
    ack(session, first)
    assert sent(session.next(wanted(S, T))) == ["trust@1"]


def test_only_subscribed_secrets_are_sent() -> None:
    session = Session()
    session.heard(request(SECRET, "trust"))
    assert sent(session.next(wanted(S, T))) == ["trust@1"]


def test_an_unsubscribed_secret_is_not_sent_and_a_new_subscription_gets_it_again() -> None:
    session = Session()
    session.heard(request(SECRET, "identity"))
    ack(session, session.next(wanted(S)))
    session.heard(request(SECRET, unsubscribe=["identity"]))
    assert session.next(wanted(resource(SECRET, "identity", "2"))) is None
    session.heard(request(SECRET, "identity"))
    assert sent(session.next(wanted(S))) == ["identity@1"]


def test_a_name_that_is_subscribed_again_is_sent_again() -> None:
    """The client may have forgotten it (xDS protocol, "Subscribing to resources"): a listener that is replaced drops
    its secrets and asks anew in one request, and would wait for ever."""
    session = Session()
    session.heard(request(SECRET, "identity"))
    push = session.next(wanted(S))
    assert push is not None
    session.heard(request(SECRET, "identity", nonce=push.nonce))
    assert sent(session.next(wanted(S))) == ["identity@1"]


def test_a_refusal_of_many_is_isolated_one_by_one() -> None:
    session = Session()
    session.heard(request(CLUSTER))
    assert nack(session, session.next(wanted(A, B, C))) == []
    blamed: list[str] = []
    for _ in range(3):
        push = session.next(wanted(A, B, C))
        assert push is not None
        assert len(push.resources) == 1
        name = push.resources[0].name
        blamed += [one.name for one in (nack if name == "b" else ack)(session, push) if one.fault]
    assert blamed == ["b"]
    assert session.next(wanted(A, B, C)) is None
    assert sent(session.next(wanted(A, C))) == ["-b"]


def test_after_isolation_resources_travel_together_again() -> None:
    session = Session()
    session.heard(request(CLUSTER))
    nack(session, session.next(wanted(A, B)))
    nack(session, session.next(wanted(A, B)))
    ack(session, session.next(wanted(A, B)))
    assert session.next(wanted(A, B)) is None
    assert sent(session.next(wanted(resource(CLUSTER, "b", "2"), A, C))) == ["b@2", "c@1"]


def test_a_refused_version_is_never_sent_again_and_the_next_one_is() -> None:
    session = Session()
    session.heard(request(SECRET, "identity"))
    assert nack(session, session.next(wanted(S)), "bad key") == [Answer(SECRET, "identity", "1", "bad key")]
    assert session.next(wanted(S)) is None
    fresh = session.next(wanted(resource(SECRET, "identity", "2")))
    assert sent(fresh) == ["identity@2"]
    ack(session, fresh)
    assert session.refused == {}


def test_a_spoilt_resource_is_sent_again_though_the_proxy_once_had_it() -> None:
    """After a refused secret Envoy holds the refused one: going back to the former needs a push."""
    session = Session()
    session.heard(request(SECRET, "identity"))
    ack(session, session.next(wanted(S)))
    nack(session, session.next(wanted(resource(SECRET, "identity", "2"))))
    assert sent(session.next(wanted(S))) == ["identity@1"]


def test_what_was_refused_beside_a_spoilt_secret_is_sent_again_once_that_is_healed() -> None:
    """Envoy builds one context of all its secrets: while one is bad, it refuses the good ones too, each alone."""
    session = Session()
    session.heard(request(SECRET, "identity", "trust"))
    nack(session, session.next(wanted(S, T)), "bad key")
    nack(session, session.next(wanted(S, T)), "bad key")
    assert session.next(wanted(S, T)) is None
    good = resource(SECRET, "identity", "2")
    ack(session, session.next(wanted(good, T)))
    last = session.next(wanted(good, T))
    assert sent(last) == ["trust@1"]
    ack(session, last)
    assert session.next(wanted(good, T)) is None


def test_a_refused_listener_can_be_tried_again_and_nothing_else() -> None:
    """Its address may have been taken by somebody who has ended since."""
    session, door = Session(), resource(LISTENER, "inbound")
    session.heard(request(LISTENER))
    session.heard(request(SECRET, "identity"))
    nack(session, session.next(wanted(door)), "address already in use")
    nack(session, session.next(wanted(door, S)), "bad key")
    assert session.next(wanted(door, S)) is None
    session.retry_listeners()
    assert sent(session.next(wanted(door, S))) == ["inbound@1"]
    assert session.next(wanted(door, S)) is None


def test_a_secret_that_was_spoilt_before_this_stream_gives_its_neighbours_another_try_once_it_is_healed() -> None:
    session = Session()
    session.heard(request(SECRET, "trust"))
    nack(session, session.next(wanted(T)), "the leaf's fault")
    assert session.next(wanted(T)) is None
    session.heard(request(SECRET, "identity"))
    ack(session, session.next(wanted(S, T)))
    assert sent(session.next(wanted(S, T))) == ["trust@1"]


def test_a_reconnecting_proxy_is_not_sent_what_it_has() -> None:
    session = Session()
    answers = session.heard(request(SECRET, "identity", "trust", initial={"identity": "1", "trust": "0"}))
    assert {(one.name, one.version) for one in answers} == {("identity", "1"), ("trust", "0")}
    assert sent(session.next(wanted(S, T))) == ["trust@1"]


def test_what_is_not_wanted_any_more_is_removed() -> None:
    session = Session()
    session.heard(request(CLUSTER, initial={"old": "7"}))
    push = session.next(wanted(A))
    assert sent(push) == ["a@1", "-old"]
    assert ack(session, push) == [Answer(CLUSTER, "a", "1")]
    assert session.has == {(CLUSTER, "a"): "1"}
    assert session.next(wanted(A)) is None


def test_a_removal_that_is_refused_is_not_repeated_for_ever() -> None:
    session = Session()
    session.heard(request(CLUSTER, initial={"old": "7"}))
    nack(session, session.next({}))
    assert session.next({}) is None


def test_what_was_taken_of_a_refused_response_is_removed_when_it_is_not_wanted_any_more() -> None:
    session = Session()
    session.heard(request(CLUSTER))
    nack(session, session.next(wanted(A, B)))
    assert sent(session.next(wanted(B)))[-1] == "-a"


def test_a_resource_whose_update_was_refused_can_be_removed() -> None:
    session = Session()
    session.heard(request(CLUSTER))
    ack(session, session.next(wanted(A)))
    nack(session, session.next(wanted(resource(CLUSTER, "a", "2"))))
    assert sent(session.next({})) == ["-a"]


def test_an_answer_to_an_older_response_settles_nothing() -> None:
    session = Session()
    session.heard(request(CLUSTER))
    push = session.next(wanted(A))
    assert session.heard(request(CLUSTER, nonce="0")) == []
    assert session.next(wanted(A, B)) is None
    assert ack(session, push) == [Answer(CLUSTER, "a", "1")]
    assert ack(session, push) == []


def test_a_secret_that_was_dropped_gives_its_neighbours_another_try() -> None:
    """y is spoilt and x is refused beside it; the proxy drops y and asks again: x is taken now."""
    session = Session()
    session.heard(request(SECRET, "x", "y"))
    bad, good = resource(SECRET, "y", "2"), resource(SECRET, "x", "1")
    for _ in range(2):
        push = session.next(wanted(bad, good))
        assert push is not None
        session.heard(request(SECRET, nonce=push.nonce, fault="bad"))
    assert session.next(wanted(bad, good)) is None
    session.heard(request(SECRET, "y"))
    push = session.next(wanted(bad, good))
    assert push is not None
    assert push.resources == (good,)


# --- any order of events ------------------------------------------------------------------------------------------


@dataclass
class TinyEnvoy:
    """One xDS client: applies what it accepts, forgets what it unsubscribes from, and answers when it likes. While one
    secret is spoilt it refuses all others, as Envoy does, and it stays spoilt over a reconnect."""

    bad: frozenset[tuple[str, str]]
    has: dict[Key, str] = field(default_factory=dict[Key, str])
    secrets: set[str] = field(default_factory=set[str])
    spoilt: set[str] = field(default_factory=set[str])
    inbox: list[Push] = field(default_factory=list[Push])

    def forget(self, name: str) -> None:
        self.has.pop((SECRET, name), None)
        self.spoilt.discard(name)

    def answer(self) -> DeltaRequest:
        push = self.inbox.pop(0)
        refused = [one for one in push.resources if (one.name, one.version) in self.bad]
        if push.type_url == SECRET:
            known = [one for one in push.resources if one.name in self.secrets]
            self.spoilt |= {one.name for one in known if one in refused}
            self.spoilt -= {one.name for one in known if one not in refused}
            refused = known if self.spoilt else []
        for one in push.resources:
            if one not in refused and (push.type_url != SECRET or one.name in self.secrets):
                self.has[push.type_url, one.name] = one.version
        for name in push.removed:
            self.has.pop((push.type_url, name), None)
        return request(push.type_url, nonce=push.nonce, fault="bad" if refused else "")


NAMES = st.sampled_from(["x", "y"])
VERSIONS = st.sampled_from(["1", "2"])
TYPES = st.sampled_from([CLUSTER, SECRET])


class Conversation(RuleBasedStateMachine):
    """Wanted resources change, the proxy subscribes, forgets, refuses and reconnects; it always ends up right."""

    def __init__(self) -> None:
        super().__init__()
        self.envoy = TinyEnvoy(bad=frozenset({("y", "2")}))
        self.want: dict[Key, Resource] = {}
        self.connect()

    def connect(self) -> None:
        self.session = Session()
        self.envoy.inbox.clear()
        self.waiting: list[DeltaRequest] = [
            request(kind, *names, initial={name: v for (of, name), v in self.envoy.has.items() if of == kind})
            for kind, names in ((CLUSTER, []), (SECRET, sorted(self.envoy.secrets)))
        ]

    @rule(kind=TYPES, name=NAMES, version=VERSIONS)
    def wish(self, kind: str, name: str, version: str) -> None:
        self.want[kind, name] = resource(kind, name, version)

    @rule(kind=TYPES, name=NAMES)
    def wish_no_more(self, kind: str, name: str) -> None:
        self.want.pop((kind, name), None)

    @rule(name=NAMES)
    def subscribe(self, name: str) -> None:
        if name not in self.envoy.secrets:
            self.envoy.secrets.add(name)
            self.waiting.append(request(SECRET, name))

    @rule(name=NAMES)
    def drop_and_ask_again(self, name: str) -> None:
        if name in self.envoy.secrets:
            self.envoy.forget(name)
            self.waiting.append(request(SECRET, name))

    @rule(name=NAMES)
    def unsubscribe(self, name: str) -> None:
        if name in self.envoy.secrets:
            self.envoy.secrets.discard(name)
            self.envoy.forget(name)
            self.waiting.append(request(SECRET, unsubscribe=[name]))

    @rule()
    def reconnect(self) -> None:
        self.connect()

    @precondition(lambda self: bool(self.waiting))
    @rule()
    def hear(self) -> None:
        self.session.heard(self.waiting.pop(0))

    @rule()
    def push(self) -> None:
        if (push := self.session.next(self.want)) is not None:
            assert push.type_url != SECRET or len(push.resources) <= 1
            assert push.type_url not in {one.type_url for one in self.envoy.inbox}
            self.envoy.inbox.append(push)

    @precondition(lambda self: bool(self.envoy.inbox))
    @rule()
    def answer(self) -> None:
        self.waiting.append(self.envoy.answer())

    @invariant()
    def one_in_flight(self) -> None:
        kinds = [one.type_url for one in self.envoy.inbox]
        assert len(kinds) == len(set(kinds))

    @rule()
    def talk_to_the_end(self) -> None:
        for _ in range(200):
            busy = bool(self.waiting or self.envoy.inbox)
            while self.waiting:
                self.session.heard(self.waiting.pop(0))
            while (push := self.session.next(self.want)) is not None:
                busy = True
                self.envoy.inbox.append(push)
            while self.envoy.inbox:
                self.waiting.append(self.envoy.answer())
            if not busy:
                return self.all_is_right()
        pytest.fail("the conversation never ends")

    def teardown(self) -> None:
        self.talk_to_the_end()

    def all_is_right(self) -> None:
        for (kind, name), one in self.want.items():
            possible = kind != SECRET or (name in self.envoy.secrets and not self.envoy.spoilt)
            if possible and (name, one.version) not in self.envoy.bad:
                assert self.envoy.has.get((kind, name)) == one.version
        for name in self.envoy.spoilt & {name for kind, name in self.want if kind == SECRET}:
            assert (name, self.want[SECRET, name].version) in self.envoy.bad, "a good version would have mended it"
        for kind, name in self.envoy.has:
            assert kind == SECRET or (kind, name) in self.want


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=300, stateful_step_count=30, deadline=None, derandomize=True)
