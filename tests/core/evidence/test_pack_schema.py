"""The published schema of packs is the one that packs have."""

from __future__ import annotations

import json
from pathlib import Path

from everyhop.core.evidence.pack import FORMAT, json_schema

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "evidence.schema.json"


def test_the_published_schema_is_up_to_date() -> None:
    schema = json_schema()
    assert json.loads(PAGE.read_text(encoding="utf-8")) == schema
    assert schema["properties"]["format"]["const"] == FORMAT
