"""Reading a topology file: text in, a consistent topology or every fault at once out.

Rules: pure; the day it is comes as an argument. Shape is checked by the models, and whatever part has a good shape is
checked against the others in the same run, so that a person corrects a file once. The libraries' own messages never
reach the user: each kind of error is said in our words, in the place where it stands in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from everyhop.core.crosschecks import cross_faults
from everyhop.core.document import Document, parse
from everyhop.core.fault import Fault, FaultCode, Path, Plain, TopologyFaults, describe, did_you_mean, listed
from everyhop.core.parts import Parts
from everyhop.core.section import Part
from everyhop.core.sending import Otlp, Telemetry
from everyhop.core.showing import Board
from everyhop.core.telling import Notify, Objectives, Quiet, Receiver, Smtp, Targets, Webhook
from everyhop.core.topology import (
    Call,
    Edge,
    Exemption,
    Health,
    Host,
    Hsts,
    Owner,
    Policy,
    Run,
    Service,
    Topology,
)

MODELS: dict[tuple[str, ...], type[Part]] = {
    (): Topology,
    ("owners", "*"): Owner,
    ("services", "*"): Service,
    ("services", "*", "calls", "*"): Call,
    ("services", "*", "run"): Run,
    ("services", "*", "run", "health"): Health,
    ("edge",): Edge,
    ("edge", "hsts"): Hsts,
    ("edge", "hosts", "*"): Host,
    ("policy",): Policy,
    ("exceptions", "*"): Exemption,
    ("objectives",): Objectives,
    ("objectives", "*"): Targets,
    ("dashboard",): Board,
    ("notify",): Notify,
    ("notify", "receivers", "*"): Receiver,
    ("notify", "receivers", "*", "webhook"): Webhook,
    ("notify", "receivers", "*", "smtp"): Smtp,
    ("notify", "silences", "*"): Quiet,
    ("telemetry",): Telemetry,
    ("telemetry", "otlp"): Otlp,
}
"""Which model stands at which path; ``*`` is a name or an index."""


def read(text: str, *, file: str, today: date) -> Topology:
    """Read a topology file's text. ``file`` is its name in messages; ``today`` decides which exceptions still hold.

    Raises :class:`TopologyFaults` with every fault that was found, in file order, and nothing else.
    """
    document = parse(text, file=file)
    if not document.complete:
        raise TopologyFaults(file, document.faults)
    if fault := _other_version(document):
        raise TopologyFaults(file, [fault])
    topology: Topology | None = None
    faults = [*document.faults, *_empty_values(document)]
    try:
        topology = Topology.model_validate(document.value)
    except ValidationError as error:
        faults += _shape_faults(error, document, seen={(fault.line, fault.column) for fault in faults})
    faults += cross_faults(Parts.of(document), document, today)
    if topology is None or faults:
        raise TopologyFaults(file, faults)
    return topology


def _other_version(document: Document) -> Fault | None:
    """A file in a later version of the language would be full of faults that are none."""
    version = document.value.get("everyhop") if isinstance(document.value, dict) else None
    if type(version) is not int or version == 1:
        return None
    hint = "a newer everyhop reads it" if version > 1 else "write everyhop: 1"
    return document.fault(("everyhop",), FaultCode.VERSION, expected="version 1 of the language", hint=hint)


def _empty_values(document: Document) -> Iterator[Fault]:
    """Keys without a value: nearly always a forgotten one, so that no default is silently taken."""
    for path in _nulls(document.value, ()):
        hint = _about(path) or "write the value, or remove the key"
        yield document.fault(path, FaultCode.WRONG_VALUE, expected="a value", hint=hint)


def _nulls(value: Plain, path: Path) -> Iterator[Path]:
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for step, item in entries:
            yield from _nulls(item, (*path, step))
    elif value is None and path:
        yield path


# --- the models' errors in our words --------------------------------------------------------------------------


def _shape_faults(error: ValidationError, document: Document, *, seen: set[tuple[int, int]]) -> Iterator[Fault]:
    """One fault for each error; where a value is missing altogether, that was said already."""
    for detail in error.errors(include_url=False, include_input=False):
        fault = _shape_fault(detail, document)
        if fault.got != "nothing" or (fault.line, fault.column) not in seen:
            yield fault


def _shape_fault(detail: ErrorDetails, document: Document) -> Fault:
    context: dict[str, Any] = detail.get("ctx", {})
    path = detail["loc"]
    is_key = bool(path) and path[-1] == "[key]"
    kind = "key" if is_key else detail["type"]
    say = _WORDS.get(kind, _wrong_value)
    return say(document, path[:-1] if is_key else path, context)


def _missing(document: Document, path: Path, context: dict[str, Any]) -> Fault:
    *above, key = path
    where = document.reach(tuple(above))
    hint, example = _about(path) or "add it", _example(path)
    hint = f"{hint}; for example {example}" if example else hint
    code, expected = FaultCode.MISSING_KEY, f"the key {key!r}"
    return document.fault(where, code, expected=expected, got="none", hint=hint, key=True)


def _unknown(document: Document, path: Path, context: dict[str, Any]) -> Fault:
    *above, key = path
    model = _model_at(tuple(above))
    keys = list(model.model_fields) if model else []
    hint = did_you_mean(key, keys, otherwise=f"known keys are {listed(keys, last='and')}")
    return document.fault(
        path, FaultCode.UNKNOWN_KEY, expected="a known key", got=describe(str(key)), hint=hint, key=True
    )


def _wrong_key(document: Document, path: Path, context: dict[str, Any]) -> Fault:
    got, hint = describe(str(path[-1])), context.get("hint", "")
    expected = context.get("expected", "a name")
    return document.fault(path, FaultCode.WRONG_VALUE, expected=expected, got=got, hint=hint, key=True)


def _misfit(document: Document, path: Path, context: dict[str, Any]) -> Fault:
    where, got = document.reach(path), context["got"] or None
    whole = got is not None  # a model speaks about several keys at once: point at its name
    return document.fault(
        where, FaultCode.WRONG_VALUE, expected=context["expected"], got=got, hint=context["hint"], key=whole
    )


def _not_chosen(document: Document, path: Path, context: dict[str, Any]) -> Fault:
    choices = re.findall(r"'([^']*)'", context["expected"])
    hint = did_you_mean(document.at(path), choices, otherwise=_about(path) or "choose one of these")
    return document.fault(path, FaultCode.WRONG_VALUE, expected=listed(choices), hint=hint)


def _wrong_type(expected: str) -> Callable[[Document, Path, dict[str, Any]], Fault]:
    def say(document: Document, path: Path, context: dict[str, Any]) -> Fault:
        model = _model_at(path)
        keys = f"its keys are {listed(model.model_fields, last='and')}" if model else ""
        hint = keys or _about(path) or "look at the schema"
        return document.fault(document.reach(path), FaultCode.WRONG_VALUE, expected=expected, hint=hint)

    return say


_wrong_value = _wrong_type("another value")

_WORDS: dict[str, Callable[[Document, Path, dict[str, Any]], Fault]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "misfit": _misfit,
    "key": _wrong_key,
    "enum": _not_chosen,
    "literal_error": _not_chosen,
    "model_type": _wrong_type("a mapping"),
    "model_attributes_type": _wrong_type("a mapping"),
    "dict_type": _wrong_type("a mapping"),
    "mapping_type": _wrong_type("a mapping"),
    "tuple_type": _wrong_type("a list"),
    "too_short": _wrong_type("at least one item"),
    "bool_type": _wrong_type("true or false"),
}
"""How each kind of error of the models is said."""


def _model_at(path: Path) -> type[Part] | None:
    """The model of the value at a path, if it has one."""
    for places, model in MODELS.items():
        if len(places) == len(path) and all(place in ("*", step) for place, step in zip(places, path, strict=True)):
            return model
    return None


def _about(path: Path) -> str:
    """What the field at a path, or the nearest one above it, means: its description without the default."""
    for end in range(len(path), 0, -1):
        model = _model_at(path[: end - 1])
        field = model.model_fields.get(str(path[end - 1])) if model else None
        if field and field.description:
            meaning = " ".join(field.description.split()).partition(" Default:")[0].rstrip(".")
            return meaning if meaning[1:2].isupper() else meaning[:1].lower() + meaning[1:]
    return ""


def _example(path: Path) -> str:
    """A line one could write for the key at a path; empty if it takes more than a line."""
    model = _model_at(path[:-1])
    field = model.model_fields[str(path[-1])] if model else None
    example = field.examples[0] if field and field.examples else None
    return f"{path[-1]}: {example}" if isinstance(example, str | int) else ""
