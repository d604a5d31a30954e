"""SPIFFE identities: what is read is written back the same, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everyhop.core.hop import Address
from everyhop.core.identity import SpiffeId, TrustDomain

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
SEGMENT = st.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True).filter(lambda one: one not in (".", ".."))


@given(domain=DOMAIN, path=st.lists(SEGMENT, min_size=1, max_size=5))
def test_an_identity_is_read_as_it_is_written(domain: str, path: list[str]) -> None:
    one = SpiffeId(TrustDomain(domain), tuple(path))
    assert SpiffeId.parse(str(one)) == one
    assert str(SpiffeId.parse(f"spiffe://{domain}/{'/'.join(path)}")) == f"spiffe://{domain}/{'/'.join(path)}"
    assert one.service == path[-1]


@given(st.text(max_size=60) | st.text(alphabet="spife:/.%?#@ab\n", max_size=40).map(lambda rest: f"spiffe://{rest}"))
def test_whatever_is_read_is_the_same_text_again(text: str) -> None:
    """No normalising: identities are compared as exact strings, so two texts are never one identity."""
    try:
        found = SpiffeId.parse(text)
    except ValueError:
        with pytest.raises(ValueError, match="expected"):
            SpiffeId.parse(text)
    else:
        assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://",
        "spiffe:///test/db",
        "spiffe://shop.internal",
        "spiffe://shop.internal/",
        "spiffe://shop.internal/test/",
        "spiffe://shop.internal//db",
        "spiffe://shop.internal/./db",
        "spiffe://shop.internal/../db",
        "spiffe://shop.internal/test/d b",
        "spiffe://shop.internal/test/db?x=1",
        "spiffe://shop.internal/test/db#x",
        "spiffe://shop.internal/test/%64b",
        "spiffe://shop.internal/test/db\n",
        "spiffe://shop.internal\n/test/db",
        "spiffe://Shop.internal/test/db",
        "spiffe://shop.internal:8443/test/db",
        "spiffe://db@shop.internal/test/db",
        "spiffe://-shop.internal/test/db",
        "SPIFFE://shop.internal/test/db",
        "https://shop.internal/test/db",
        f"spiffe://shop.internal/{'/'.join(['x' * 100] * 21)}",
        f"spiffe://{'a' * 64}/test/db",
    ],
)
def test_what_is_no_identity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        SpiffeId.parse(text)


def test_a_trust_domain_names_its_services() -> None:
    assert str(TrustDomain("shop.internal").identity("test", "db")) == "spiffe://shop.internal/test/db"
    with pytest.raises(ValueError, match="expected letters"):
        TrustDomain("shop.internal").identity("test", "")


@given(host=st.sampled_from(["127.0.0.1", "::1", "db.shop.internal", "localhost"]), port=st.integers(1, 65535))
def test_an_address_is_read_as_it_is_written(host: str, port: int) -> None:
    assert Address.parse(str(Address(host, port))) == Address(host, port)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:0", "host:65536", "host:x", "host:1²", "unix:relative"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "near"),
    [("127.9.9.9:1", True), ("[::1]:1", True), ("localhost:1", True), ("unix:/x", True), ("10.0.0.1:1", False)],
)
def test_loopback_is_what_others_cannot_reach(text: str, near: bool) -> None:
    assert Address.parse(text).is_loopback is near
