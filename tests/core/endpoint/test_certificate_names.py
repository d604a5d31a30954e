"""Names and addresses of certificates against what was asked for (RFC 9525, 6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everyhop.core.endpoint.names import covers, matches


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("web.test", "web.test"),
        ("WEB.test", "web.TEST"),
        ("web.test", "web.test."),
        ("*.shop.test", "web.shop.test"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("localhost", "localhost"),
    ],
)
def test_covered(pattern: str, host: str) -> None:
    assert covers(pattern, host)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("*.shop.test", "shop.test"),
        ("*.shop.test", "a.b.shop.test"),
        ("*.test", "shop.test"),
        ("*", "shop"),
        ("w*.shop.test", "web.shop.test"),
        ("web.*.test", "web.shop.test"),
        ("*.*.test", "web.shop.test"),
        ("shop.test", "webshop.test"),
        ("", ""),
        ("shop..test", "shop..test"),
        ("*.shop.test", ".shop.test"),
    ],
)
def test_not_covered(pattern: str, host: str) -> None:
    assert not covers(pattern, host)


def test_an_address_matches_by_value_and_never_a_name() -> None:
    assert matches("2001:db8::1", (), ("2001:0db8:0:0::1",))
    assert matches("[::1]", (), ("::1",))
    assert not matches("127.0.0.1", ("127.0.0.1",), ())
    assert not matches("127.0.0.1", ("*.0.0.1",), ("127.0.0.2",))


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_gets_an_answer(pattern: str, host: str) -> None:
    assert covers(pattern, host) in (True, False)
    assert matches(host, [pattern], [pattern]) in (True, False)
