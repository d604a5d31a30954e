"""The JSON Schema of topology files, for editors.

Rules: it is made from the models, so that it cannot say anything else; what it cannot express (references, addresses
that clash, the order of lifetimes) only :mod:`everyhop.core.validation` checks. Source: JSON Schema draft 2020-12.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from everyhop.core.fault import Plain
from everyhop.core.literals import format_duration, format_ports
from everyhop.core.topology import Topology


def json_schema() -> dict[str, Plain]:
    """The schema, with titles, descriptions, defaults and examples. ``$id`` is relative to where it is served."""
    return cast("dict[str, Plain]", Topology.model_json_schema(schema_generator=_Generator))


class _Generator(GenerateJsonSchema):
    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        """The whole schema, with its name on top."""
        body = super().generate(schema, mode)
        head = {"$schema": self.schema_dialect, "$id": "everyhop.schema.json"}
        return head | {key: _tidy(value) for key, value in body.items()}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """What may be left out may not be written as null: the reader refuses empty values."""
        return self.generate_inner(schema["schema"])

    def encode_default(self, dft: Any) -> Any:
        """A default as one would write it in the file."""
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, range):
            return format_ports(dft)
        return super().encode_default(dict(cast("Mapping[str, object]", dft)) if isinstance(dft, Mapping) else dft)


def _tidy(value: Any) -> Any:
    """Descriptions in one line, because editors wrap by themselves; no default that one could not write."""
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return {
            key: " ".join(item.split()) if key == "description" and isinstance(item, str) else _tidy(item)
            for key, item in entries.items()
            if not (key == "default" and item is None)
        }
    if isinstance(value, list):
        return [_tidy(item) for item in cast("list[object]", value)]
    return value
