"""How exported files are written: YAML that people can read, with a first line that says where it comes from."""

from __future__ import annotations

from typing import Any

import yaml

_WIDE = 10_000
"""Long expressions stay in one line: folded ones cannot be searched for."""


def as_yaml(value: Any, *, made_by: str) -> str:
    """A value as YAML, in the order it was made."""
    head = f"# written by `{made_by}`; change what it is made from instead\n"
    return head + yaml.safe_dump(value, sort_keys=False, width=_WIDE, allow_unicode=True)
