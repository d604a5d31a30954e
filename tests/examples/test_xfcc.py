"""Who called: x-forwarded-client-cert as Envoy writes it, as others write it, and as nobody should."""

from __future__ import annotations

import pytest
from examples.shop.xfcc import Element, caller, parse

EDGE = "spiffe://shop.internal/demo/edge"
WEB = "spiffe://shop.internal/demo/web"


def test_what_our_sidecar_writes_names_the_caller() -> None:
    header = f'By={WEB};Hash=4f2a;Subject="CN=edge,O=\\"The, Shop\\"";URI={EDGE};DNS=edge.shop.internal'
    (element,) = parse(header)
    assert element.values("by") == (WEB,)
    assert element.values("Subject") == ('CN=edge,O="The, Shop"',)
    assert element.values("DNS") == ("edge.shop.internal",)
    assert caller(header) == EDGE


def test_of_several_elements_the_last_is_the_nearest_caller() -> None:
    header = f"By={EDGE};URI=spiffe://elsewhere/demo/browser, By={WEB};URI={EDGE}"
    assert [element.identity for element in parse(header)] == ["spiffe://elsewhere/demo/browser", EDGE]
    assert caller(header) == EDGE


def test_a_forged_element_before_the_last_changes_nothing() -> None:
    assert caller(f"URI={WEB},URI={EDGE}") == EDGE
    assert caller(f'Subject="x,URI={WEB}";URI={EDGE}') == EDGE, "a comma in quotes begins no element"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Hash=4f2a",
        "URI=",
        f"URI={EDGE};URI={WEB}",
        f"URI={EDGE},Hash=4f2a",
        "URI=https://shop.internal/demo/edge",
        "URI=spiffe://shop.internal",
        "URI=spiffe://shop.internal/demo/<script>alert(1)</script>",
        f"URI={EDGE}\n",
        f"URI={EDGE}\n<b>",
    ],
)
def test_no_identity_is_made_of_what_proves_none(header: str) -> None:
    assert caller(header) == ""


@pytest.mark.parametrize(
    "header",
    ["<script>", f"URI={EDGE},", f"URI={EDGE};", 'URI="open', f'URI="{EDGE}"x', "=", ";", ",", f"URI {EDGE}", "é=1"],
)
def test_what_is_not_pairs_is_refused_and_proves_nothing(header: str) -> None:
    with pytest.raises(ValueError, match="expected key=value at character"):
        parse(header)
    assert caller(header) == ""


def test_no_elements_in_an_empty_header() -> None:
    assert parse("") == ()


def test_an_element_without_a_uri_has_no_identity() -> None:
    assert Element((("DNS", "web"),)).identity == ""


def test_a_long_hostile_header_costs_little() -> None:
    for header in ("URI=" + " " * 60_000 + '"', 'URI="' + "\\" * 60_001, "A=" * 30_000, " " * 60_000, "a" * 60_000):
        assert caller(header) == ""
