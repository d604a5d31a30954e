"""The shop of the examples, on free ports and in a directory of its own."""

from __future__ import annotations

from pathlib import Path

from tests.stories.harness import Everyhop
from tests.stories.ports import free_port

SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"


class Shop(Everyhop):
    """``with Shop() as shop: shop.up().ready()``."""

    def __init__(self) -> None:
        self.https, self.http, web, api = (free_port() for _ in range(4))
        text = (SHOP / "everyhop.yaml").read_text()
        for before, after in {
            "127.0.0.1:8443": f"127.0.0.1:{self.https}",
            "127.0.0.1:8080": f"127.0.0.1:{self.http}",
            "127.0.0.1:7001": f"127.0.0.1:{web}",
            "127.0.0.1:7002": f"127.0.0.1:{api}",
            "{file_dir}": str(SHOP),
        }.items():
            assert before in text, f"the example has no {before}"
            text = text.replace(before, after)
        super().__init__(text)
        # The database lives outside of everyhop's data directory when we are root (see db.py); here it must not stay.
        self.home.chmod(0o711)
        marker = 'SHOP_LISTEN: "{listen}"\n      health: {tcp: true}'
        assert marker in text
        home = f'        SHOP_DB_HOME: "{self.home}/db"\n'
        self.file.write_text(text.replace(marker, marker.replace("\n", "\n" + home, 1)))
