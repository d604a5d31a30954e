"""What all parts of a topology file share: the model they are made of, and how names in it are written.

Rules: a part is immutable and knows all of its fields; the sentence under a field is its reference and what editors
show.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict

from everyhop.core import literals as lit

V = TypeVar("V")


def _in_name_order(entries: Mapping[str, V]) -> Mapping[str, V]:
    return MappingProxyType(dict(sorted(entries.items())))


InNameOrder = AfterValidator(_in_name_order)

Label = Annotated[str, lit.LABEL]
Reference = Annotated[str, lit.text("a name")]
"""A name defined elsewhere in the file; whether it is, is checked across parts."""


class Part(BaseModel):
    """A part of the topology: immutable, and nothing may stand in it that it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True, validate_default=False
    )
