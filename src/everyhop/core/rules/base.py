"""What a rule and a finding are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509

from everyhop.core.certificate import Draft

_Value = TypeVar("_Value", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its code, the clause it comes from, why it exists, and the check itself.

    ``check`` returns what is wrong in a few words, or an empty string.
    """

    code: str
    citation: str
    explanation: str
    check: Callable[[Draft], str]
    severity: str = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule's verdict on one draft."""

    code: str
    fault: str


def extension(draft: Draft, kind: type[_Value]) -> x509.Extension[_Value] | None:
    """The draft's extension of a kind, or None."""
    try:
        return draft.copy.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def names(draft: Draft) -> tuple[x509.GeneralName, ...]:
    """The draft's subject alternative names."""
    found = extension(draft, x509.SubjectAlternativeName)
    return tuple(found.value) if found else ()
