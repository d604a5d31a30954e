"""What would change, before it does."""

from __future__ import annotations

from tests.fakes.world import TEXT, plan

from everyhop.core.change import Change, changes
from everyhop.core.plan import Plan


def signs(found: tuple[Change, ...]) -> set[tuple[str, str, str]]:
    return {(one.sign, one.kind, one.name) for one in found}


def test_the_same_plan_changes_nothing() -> None:
    assert changes(plan(), plan()) == ()


def test_a_first_plan_is_all_new() -> None:
    found = changes(None, plan())
    assert {one.sign for one in found} == {"+"}
    assert {one.kind for one in found} == {"proxy", "hop", "listener", "certificate"}
    assert ("+", "hop", "web -> db") in signs(found)
    assert ("+", "certificate", "edge/host:shop.localhost") in signs(found)
    assert len(signs(found)) == len(found) == 3 + 3 + 4 + 4


def test_taking_everything_away_is_the_mirror_of_it() -> None:
    empty = Plan((), (), ())
    gone, come = changes(plan(), empty), changes(empty, plan())
    assert {(kind, name) for sign, kind, name in signs(gone) if sign == "-"} == {
        (kind, name) for sign, kind, name in signs(come) if sign == "+"
    }


def test_a_call_that_goes_away_takes_its_hop_and_listeners_along() -> None:
    without = TEXT.replace(', calls: [{service: db, at: "127.0.0.1:7101"}]', "")
    assert signs(changes(plan(), plan(without))) == {
        ("-", "proxy", "db"),
        ("~", "proxy", "web"),
        ("-", "hop", "web -> db"),
        ("-", "listener", "db/inbound"),
        ("-", "listener", "web/out-db"),
        ("-", "certificate", "db/identity"),
    }


def test_a_changed_address_says_from_what_to_what() -> None:
    moved = changes(plan(), plan(TEXT.replace("127.0.0.1:9002", "127.0.0.1:9999")))
    assert Change("~", "listener", "db/inbound", "inbound on 127.0.0.1:9002 => inbound on 127.0.0.1:9999") in moved
    assert any(one.kind == "hop" and "127.0.0.1:9999" in one.detail for one in moved)


def test_a_change_inside_is_shown_though_its_words_are_the_same() -> None:
    slower = changes(plan(), plan(TEXT + "policy: {heartbeat: 9s}\n"))
    assert slower
    assert all(one.sign == "~" and one.detail.endswith("(details)") for one in slower)


def test_an_owner_who_changes_is_a_changed_hop() -> None:
    found = changes(plan(), plan(TEXT.replace("db: {owner: data", "db: {owner: shop")))
    assert ("~", "hop", "web -> db") in signs(found)


def test_an_address_that_is_not_chosen_yet_is_said_so() -> None:
    open_one = changes(None, plan(TEXT.replace(', mesh: "127.0.0.1:9002"', "")))
    (hop,) = [one for one in open_one if one.name == "web -> db"]
    assert "an address chosen when applied" in hop.detail
