"""One service is switched to plaintext beside the mesh: it turns red, its owner is told, and it clears when mended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers.browser import visit
from tests.stories.client import Load, request
from tests.stories.harness import until
from tests.stories.receiver import Receiver
from tests.stories.shop import Shop

from everyhop.core.hop import Posture
from everyhop.services.inventory import HopStatus
from everyhop.services.measure import SLIS

pytestmark = pytest.mark.story

TELL = """
notify:
  receivers:
    hook:
      webhook: {url: "$url"}
  page: [hook]
  ticket: [hook]
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def hop(shop: Shop, name: str) -> HopStatus:
    return next(one for one in shop.status().hops if one.hop == name)


def m10(shop: Shop) -> float | None:
    values = shop.ask(SLIS.all)
    return next((one.value.value for one in values if (one.value.sli, one.value.scope) == ("M10", "all")), None)


@pytest.mark.timeout(700)
def test_plaintext_beside_the_mesh_turns_red_is_told_and_clears(receiver: Receiver, tmp_path: Path) -> None:
    """web is told to call api's own port, past both proxies. Nothing in TLS fails; only the socket table shows it."""
    with Shop() as shop:
        shop.file.write_text(shop.file.read_text() + TELL.replace("$url", receiver.url))
        shop.up().ready(seconds=90)
        dashboard = until(lambda: shop.dashboard, "the dashboard to be up")

        def send() -> None:
            assert request(shop.https, "shop.localhost", roots=shop.roots).status == 200

        with Load(send, pause=0.2):
            # Every hop between services is seen encrypted by both of its ends.
            between = ("edge -> web", "web -> api", "api -> db")
            until(lambda: all(len(hop(shop, name).ends) == 2 for name in between), "evidence from both ends")
            assert {end.version for name in between for end in hop(shop, name).ends} == {"TLSv1.3"}
            assert "All 4 hops are encrypted" in visit(dashboard, tmp_path / "green.png")

            good = shop.file.read_text()
            api = next(one.listen for one in shop.plan().apps if one.name == "api")
            assert '"{calls.api}"' in good
            shop.file.write_text(good.replace('"{calls.api}"', f'"{api}"'))
            shop.run("apply", str(shop.file))

            until(lambda: hop(shop, "web -> api").seen is Posture.PLAINTEXT, "the hop to turn red", seconds=60)
            assert not shop.status().ok
            found = shop.run("status", exit_status=1).stdout
            assert "plaintext" in found
            assert "orders" in found
            until(lambda: m10(shop) == 1, "M10 to count it")
            (told, *_) = until(lambda: receiver.alerts("PlaintextFlow", "firing"), "the webhook to be told")
            assert told["labels"]["owner"] == "orders"
            assert "3 of 4 hops are encrypted, 1\u00a0is not" in visit(dashboard, tmp_path / "red.png")

            shop.file.write_text(good)
            shop.run("apply", str(shop.file))
            until(lambda: hop(shop, "web -> api").ok, "the hop to be mended", seconds=240)
            until(lambda: m10(shop) == 0, "M10 to be 0 again", seconds=240)
            (ended, *_) = until(lambda: receiver.alerts("PlaintextFlow", "resolved"), "the webhook to hear of the end")
            assert ended["fingerprint"] == told["fingerprint"]
            assert len(receiver.alerts("PlaintextFlow", "firing")) == 1, "told once"
        assert (tmp_path / "green.png").read_bytes() != (tmp_path / "red.png").read_bytes()
