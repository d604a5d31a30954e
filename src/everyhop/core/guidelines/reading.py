"""A guideline of one's own, from a YAML or JSON document.

    name: shop-partners
    version: "2026-11"
    versions: [TLSv1.3, TLSv1.2]
    suites_tls13: [TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384]
    suites_tls12: [ECDHE-RSA-AES256-GCM-SHA384]
    groups: [X25519MLKEM768, x25519, P-256]

Rules: the fields are those of :class:`Guideline`. Versions, suites and groups are written by name, suites by their
IANA or OpenSSL name. What is left out is not permitted, except suites and groups of a version that is permitted: those
must be named, because a guideline that permits a version and none of its suites can be kept by nobody. Every fault is
told at once, with its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date

from everyhop.core.document import Document, parse
from everyhop.core.fault import Fault, FaultCode, FileFaults, Path, describe, did_you_mean, listed
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.tls.groups import GROUPS, group_code
from everyhop.core.tls.suite_names import NAMES as SUITES
from everyhop.core.tls.suites import suite_code
from everyhop.core.tls.versions import NAMES as VERSIONS
from everyhop.core.tls.versions import TLS12, TLS13, version_code

FIELDS = tuple(Guideline.__dataclass_fields__)
_REQUIRED = ("name", "version", "versions", "groups")
_KEY = re.compile(r"rsa-[1-9][0-9]{3,4}|ecdsa-p(256|384|521)|ed25519|ed448|ml-dsa-(44|65|87)")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


def read_guideline(text: str, *, file: str) -> Guideline:
    """Read a guideline; ``file`` is its name in messages.

    Raises :class:`FileFaults` (``guideline-invalid``) with every fault, in file order.
    """
    document = parse(text, file=file)
    reader = _Reader(document)
    if document.complete:
        guideline = reader.guideline()
        if not reader.faults:
            return guideline
    raise FileFaults("guideline-invalid", "a guideline", file, reader.faults)


class _Reader:
    """Reads field by field and collects faults; what has a fault is read as empty."""

    def __init__(self, document: Document) -> None:
        self.faults: list[Fault] = list(document.faults)
        self._document = document
        self._fields = document.value if isinstance(document.value, dict) else {}

    def guideline(self) -> Guideline:
        """The whole, to be used only if no fault was found."""
        self._shape()
        read = Guideline(
            name=self._text("name", "lower-case letters, digits, dots and hyphens", _NAME),
            version=self._text("version", "a text, in quotes if it looks like a number", re.compile(r".{1,40}")),
            published=self._date("published"),
            source=self._text("source") or self._document.file,
            versions=self._codes("versions", version_code, VERSIONS.values()),
            suites_tls13=self._codes("suites_tls13", suite_code, (name for names in SUITES.values() for name in names)),
            suites_tls12=self._codes("suites_tls12", suite_code, (name for names in SUITES.values() for name in names)),
            groups=self._codes("groups", group_code, (group.name for group in GROUPS.values())),
            preferred_groups=self._codes("preferred_groups", group_code, (group.name for group in GROUPS.values())),
            required_versions=self._codes("required_versions", version_code, VERSIONS.values()),
            certificate_keys=self._keys(),
            certificate_days_max=self._number("certificate_days_max"),
            certificate_days_recommended=self._number("certificate_days_recommended"),
            hsts_seconds_min=self._number("hsts_seconds_min"),
            dh_bits_min=self._number("dh_bits_min") or 2048,
            server_order=self._boolean("server_order"),
            notes=self._text("notes"),
        )
        self._together(read)
        return read

    def _shape(self) -> None:
        if not isinstance(self._document.value, dict):
            self._fault((), FaultCode.WRONG_VALUE, "a mapping of fields to values", f"there are {listed(FIELDS)}")
            return
        for key in self._fields:
            if key not in FIELDS:
                hint = did_you_mean(key, FIELDS, otherwise=f"there are {listed(FIELDS, last='and')}")
                self._fault((key,), FaultCode.UNKNOWN_KEY, "a field of guidelines", hint, got=describe(key), key=True)
        for key in _REQUIRED:
            if key not in self._fields:
                self._fault((), FaultCode.MISSING_KEY, f"the field {key}", f"write {key}: ...", got="none")

    def _together(self, read: Guideline) -> None:
        """What is fine alone and does not fit together."""
        if not self._right("versions"):
            return
        for field, codes, needed in (
            ("suites_tls13", read.suites_tls13, TLS13 in read.versions),
            ("suites_tls12", read.suites_tls12, any(version <= TLS12 for version in read.versions)),
        ):
            if needed and not codes and self._right(field):
                expected = f"{field}, because a version that needs them is permitted"
                self._fault((field,), FaultCode.CONFLICT, expected, "name at least one suite", got="none")
        for field, codes, within in (
            ("required_versions", read.required_versions, read.versions),
            ("preferred_groups", read.preferred_groups, read.groups),
        ):
            if not set(codes) <= set(within):
                expected = "only what is permitted, too"
                self._fault((field,), FaultCode.CONFLICT, expected, "permit it, or leave it out here")

    def _right(self, field: str) -> bool:
        place = self._document.locate((field,))
        return not any(fault.line == place.line for fault in self.faults)

    # --- kinds of values ------------------------------------------------------------------------------------------

    def _text(self, field: str, expected: str = "a text", pattern: re.Pattern[str] | None = None) -> str:
        value = self._fields.get(field, "" if field not in _REQUIRED else None)
        if isinstance(value, str) and (pattern is None or pattern.fullmatch(value)):
            return value
        if field in self._fields:
            self._fault((field,), FaultCode.WRONG_VALUE, expected, "put a text in quotes")
        return ""

    def _date(self, field: str) -> date | None:
        value = self._fields.get(field)
        try:
            return date.fromisoformat(value) if isinstance(value, str) else self._absent(field, "a date")
        except ValueError:
            self._fault((field,), FaultCode.WRONG_VALUE, "a date", "write it as 2026-11-22")
            return None

    def _number(self, field: str) -> int | None:
        value = self._fields.get(field)
        if type(value) is int and 0 < value < 10**10:
            return value
        return self._absent(field, "a whole number greater than 0")

    def _boolean(self, field: str) -> bool | None:
        value = self._fields.get(field)
        return value if isinstance(value, bool) else self._absent(field, "true or false")

    def _absent(self, field: str, expected: str) -> None:
        """Nothing, which is a fault if something stands there."""
        if field in self._fields:
            self._fault((field,), FaultCode.WRONG_VALUE, expected, "leave the field out to say nothing of it")

    def _codes(self, field: str, code: Callable[[str], int | None], known: Iterable[str]) -> tuple[int, ...]:
        """Registered names as numbers, each once."""
        found: dict[int, None] = {}
        for index, name in self._items(field):
            number = code(name)
            if number is None:
                hint = did_you_mean(name, known, otherwise="use a name of the IANA registry")
                self._fault((field, index), FaultCode.UNKNOWN_NAME, "a registered name", hint)
            else:
                found[number] = None
        return tuple(found)

    def _keys(self) -> tuple[str, ...]:
        kept: list[str] = []
        for index, name in self._items("certificate_keys"):
            if _KEY.fullmatch(name):
                kept.append(name)
            else:
                hint = "for example ecdsa-p256, rsa-2048, ed25519 or ml-dsa-65"
                self._fault(("certificate_keys", index), FaultCode.WRONG_VALUE, "a kind of key", hint)
        return tuple(kept)

    def _items(self, field: str) -> list[tuple[int, str]]:
        """The texts of a list; what is no text is a fault."""
        value = self._fields.get(field)
        if not isinstance(value, list) or (not value and field in ("versions", "groups")):
            self._absent(field, "a list of names")
            return []
        texts: list[tuple[int, str]] = []
        for index, item in enumerate(value):
            if isinstance(item, str):
                texts.append((index, item))
            else:
                self._fault((field, index), FaultCode.WRONG_VALUE, "a name", "put it in quotes")
        return texts

    def _fault(
        self, path: Path, code: FaultCode, expected: str, hint: str, *, got: str | None = None, key: bool = False
    ) -> None:
        self.faults.append(self._document.fault(path, code, expected=expected, hint=hint, got=got, key=key))
