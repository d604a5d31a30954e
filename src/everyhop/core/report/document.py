"""The published form of a scan: one JSON document with a schema and a version.

Rules: names, not numbers (``TLSv1.3``, ``X25519MLKEM768``); every finding with its evidence; times in UTC as RFC 3339.
A field is never renamed or given another meaning within a schema version; new ones may come. What an endpoint showed of
itself is kept as facts, so that an old document can be judged again by eye. Nothing in it is secret: cookie values and
keys are not even read. Here strangers' words become ours: what is no printable character is spelled out, once and for
every form in which the document is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from textwrap import indent
from typing import Any, ClassVar, Literal, Protocol, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from everyhop.core.endpoint.facts import EndpointFacts, Reply, TlsFacts
from everyhop.core.endpoint.served import Served
from everyhop.core.finding import Finding, Severity
from everyhop.core.report.endpoint import EndpointReport
from everyhop.core.report.splice import spliced
from everyhop.core.tls.groups import group_name
from everyhop.core.tls.suites import suite_name
from everyhop.core.tls.versions import NEWEST_FIRST, version_name
from everyhop.core.verdict import Verdict, worst
from everyhop.errors import EveryhopError

SCHEMA_VERSION = 1
SCHEMA_NAME = "everyhop.scan.schema.json"
_DOCUMENTED = ConfigDict(use_attribute_docstrings=True, extra="ignore")


@dataclass(frozen=True, slots=True)
class Result:
    """A rule's verdict on an endpoint."""

    __pydantic_config__: ClassVar[ConfigDict] = _DOCUMENTED

    rule: str
    """The rule's stable code, for example `tls-version-old`."""
    verdict: Verdict
    severity: Severity
    """How bad a failure is; `low` and `info` are advice and fail nothing."""
    statement: str
    """What was expected and what came."""
    evidence: str = ""
    """The endpoint's own answer."""
    citation: str = ""
    """The clause that governs."""
    runbook: str = ""
    """The documentation page for whoever has to act."""
    excused: str = ""
    """The reason of a running exception, or empty."""
    excused_until: date | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A protocol version that is accepted, and in it suites and groups as far as they were asked for."""

    __pydantic_config__: ClassVar[ConfigDict] = _DOCUMENTED

    name: str
    suites: tuple[str, ...] = ()
    """In the order in which the server chose them; in verify mode only those that it chose when asked."""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that was refused, in the server's own words."""

    __pydantic_config__: ClassVar[ConfigDict] = _DOCUMENTED

    what: str
    """A version, `all else in` a version, a question such as `forbidden-suites-tls12`, or `entry with` a kind of client
    certificate."""
    evidence: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of the served chain."""

    __pydantic_config__: ClassVar[ConfigDict] = _DOCUMENTED

    subject: str
    issuer: str
    serial: str
    """In hexadecimal."""
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    """Alternative names as `dns:...`, `ip:...`, `uri:...`."""
    key: str
    """The kind of its public key: `rsa-2048`, `ecdsa-p256`, `ml-dsa-65`..."""
    sha256: str
    """The fingerprint."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint, looked at once."""

    __pydantic_config__: ClassVar[ConfigDict] = _DOCUMENTED

    subject: str
    """`host:port`."""
    at: datetime
    verdict: Verdict
    guideline: str
    """Name and version of what it was held to."""
    mode: str
    """`verify` or `enumerate`."""
    findings: tuple[Result, ...]
    name: str = ""
    """The name that was asked for."""
    service: str = ""
    owner: str = ""
    encryption: str = ""
    """What the port does with plaintext: `tls`, `upgrade required`, `upgrade offered`, `plaintext`..."""
    wire: str = ""
    """What is spoken there."""
    accepts: tuple[Version, ...] = ()
    """Newest first."""
    refuses: tuple[Refusal, ...] = ()
    chain: tuple[Certificate, ...] = ()
    """As it was served, leaf first; certificates that cannot be read are left out."""
    hellos: int = 0
    """How many ClientHellos it took."""
    seconds: float = 0.0
    file: str = ""
    """The fleet file that names it, or empty."""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One failure, then or now."""

    __pydantic_config__: ClassVar[ConfigDict] = _DOCUMENTED

    subject: str
    rule: str
    severity: Severity
    statement: str
    """What is said now, or what was said then if nothing is."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two scans compared. Sorted by subject and rule."""

    __pydantic_config__: ClassVar[ConfigDict] = _DOCUMENTED

    new: tuple[Change, ...]
    mended: tuple[Change, ...]
    still: tuple[Change, ...]
    unseen: tuple[Change, ...]
    """Failed then, and could not be told or was not looked at now."""


@dataclass(frozen=True, slots=True)
class ScanDocument:
    """What `everyhop scan --json` prints."""

    __pydantic_config__: ClassVar[ConfigDict] = _DOCUMENTED

    tool: str
    """Name and version of the program that wrote it."""
    at: datetime
    """When the scan began."""
    verdict: Verdict
    """`fail` if any endpoint fails, else `unknown` if any could not be told."""
    endpoints: tuple[Endpoint, ...]
    """Sorted by subject."""
    difference: Difference | None = None
    """What changed since an earlier scan, if one was given."""
    schema: Literal[1] = field(default=1)
    """The version of this form."""


class Endpoints(Sized, Iterable[Endpoint], Protocol):
    """Endpoints that can be gone through more than once; a fleet's need not be in memory all at once."""


class Scan(Protocol):
    """What is rendered: a document, or the same on a shelf."""

    @property
    def tool(self) -> str:
        """Name and version of the program."""
        ...

    @property
    def at(self) -> datetime:
        """When the scan began."""
        ...

    @property
    def verdict(self) -> Verdict:
        """The worst of its endpoints."""
        ...

    @property
    def endpoints(self) -> Endpoints:
        """Sorted by subject."""
        ...

    @property
    def difference(self) -> Difference | None:
        """What changed since an earlier scan."""
        ...


_ADAPTER: TypeAdapter[ScanDocument] = TypeAdapter(ScanDocument)
_ENDPOINT: TypeAdapter[Endpoint] = TypeAdapter(Endpoint)
_MARGIN = "  "


class _Generator(GenerateJsonSchema):
    """Names the schema and its dialect on top."""

    def generate(self, schema: Any, mode: Any = "serialization") -> dict[str, Any]:
        """The whole schema."""
        body = super().generate(schema, mode)
        return {"$schema": self.schema_dialect, "$id": SCHEMA_NAME} | body


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the document (draft 2020-12)."""
    return _ADAPTER.json_schema(mode="serialization", schema_generator=_Generator)


def render(scan: Scan) -> Iterator[str]:
    """The document as JSON text, piece by piece; the same bytes for the same content. All of it is ASCII, so that it is
    read alike in every locale."""
    head = ScanDocument(scan.tool, scan.at.astimezone(UTC), scan.verdict, (), scan.difference)
    around = _ADAPTER.dump_json(head, indent=2, ensure_ascii=True).decode("ascii") + "\n"
    return spliced(around, "endpoints", map(_indented, scan.endpoints), margin=_MARGIN)


def _indented(one: Endpoint) -> str:
    return indent(_ENDPOINT.dump_json(one, indent=2, ensure_ascii=True).decode("ascii"), 2 * _MARGIN)


def in_json(one: Endpoint) -> bytes:
    """One endpoint of a document, in as few bytes as JSON allows."""
    return _ENDPOINT.dump_json(one)


def of_json(text: bytes) -> Endpoint:
    """What :func:`in_json` wrote."""
    return _ENDPOINT.validate_json(text)


def plain(document: ScanDocument) -> dict[str, Any]:
    """The document as plain JSON values."""
    return cast("dict[str, Any]", _ADAPTER.dump_python(document, mode="json"))


def read(text: str, *, file: str) -> ScanDocument:
    """Read a document that an earlier scan wrote. Raises ``target-invalid`` if it is none of ours, or too new."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the beginning"
        raise EveryhopError(
            "target-invalid",
            f"expected a scan that everyhop wrote (schema {SCHEMA_VERSION}) in {file}, got a fault at {place}",
            hint="write one with `everyhop scan ... --save FILE`",
        ) from error


def document(endpoints: Iterable[Endpoint], *, tool: str, at: datetime) -> ScanDocument:
    """The published form of a whole scan."""
    ordered = tuple(sorted(endpoints, key=lambda one: (one.subject, one.name, one.line)))
    return ScanDocument(
        tool=tool, at=at.astimezone(UTC), verdict=worst(one.verdict for one in ordered), endpoints=ordered
    )


def endpoint(report: EndpointReport) -> Endpoint:
    """The published form of one report."""
    facts = report.facts
    return Endpoint(
        subject=spelled(str(report.target)),
        name=spelled(report.target.name),
        service=spelled(report.target.service),
        owner=spelled(report.target.owner),
        at=report.at.astimezone(UTC),
        verdict=report.verdict,
        guideline=str(report.guideline),
        mode=report.mode,
        encryption=facts.plain.encryption.value if facts.plain else "",
        wire=facts.plain.wire.value if facts.plain and facts.plain.wire else "",
        accepts=accepted(facts.tls) if facts.tls else (),
        refuses=(*(refused(facts.tls) if facts.tls else ()), *_kept_out(facts)),
        chain=_chain(facts),
        findings=tuple(map(_result, report.findings)),
        hellos=facts.tls.hellos if facts.tls else 0,
        seconds=round(report.seconds, 3),
        file=spelled(report.file),
        line=report.line,
    )


def spelled(text: str) -> str:
    """A text that does nothing to whoever shows it: control characters, marks that turn the direction of writing and
    halves of characters stand as their escapes (``\\x9b``, ``\\u202e``)."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def accepted(tls: TlsFacts) -> tuple[Version, ...]:
    """Versions with their suites and groups, newest first; in verify mode those that answered a question."""
    if tls.versions:
        return tuple(
            Version(version_name(one.version), tuple(map(suite_name, one.suites)), tuple(map(group_name, one.groups)))
            for one in tls.versions
        )
    answers = [one.answer for one in tls.asked if one.answer.reply is Reply.ACCEPTED]
    return tuple(
        Version(
            version_name(version),
            tuple(dict.fromkeys(suite_name(one.suite) for one in answers if one.version == version and one.suite)),
            tuple(dict.fromkeys(group_name(one.group) for one in answers if one.version == version and one.group)),
        )
        for version in NEWEST_FIRST
        if any(one.version == version for one in answers)
    )


def refused(tls: TlsFacts) -> tuple[Refusal, ...]:
    """What was provably refused."""
    versions = [(version_name(version), answer) for version, answer in tls.refused_versions]
    versions += [(f"all else in {version_name(one.version)}", one.refusal) for one in tls.versions if one.refusal]
    questions = [(one.question, one.answer) for one in tls.asked]
    return tuple(
        Refusal(spelled(what), spelled(answer.evidence))
        for what, answer in (*versions, *questions)
        if answer.reply in (Reply.REFUSED, Reply.RESET)
    )


def _kept_out(facts: EndpointFacts) -> tuple[Refusal, ...]:
    """Who tried to get in and was refused."""
    entries = facts.enforcement.entries if facts.enforcement else ()
    return tuple(
        Refusal(f"entry with {entry.entrance}", spelled(": ".join(filter(None, (entry.stage, entry.evidence)))))
        for entry in entries
        if entry.accepted is False
    )


def _result(finding: Finding) -> Result:
    return Result(
        rule=finding.rule,
        verdict=finding.verdict,
        severity=finding.severity,
        statement=spelled(finding.statement),
        evidence=spelled(finding.evidence),
        citation=finding.citation,
        runbook=finding.runbook,
        excused=finding.excused,
        excused_until=finding.excused_until,
    )


def _chain(facts: EndpointFacts) -> tuple[Certificate, ...]:
    if facts.certificate is None:
        return ()
    return tuple(
        Certificate(
            subject=spelled(one.subject),
            issuer=spelled(one.issuer),
            serial=f"{one.serial:x}",
            not_before=one.not_before,
            not_after=one.not_after,
            names=(
                *(f"dns:{spelled(name)}" for name in one.dns_names),
                *(f"ip:{name}" for name in one.addresses),
                *(f"uri:{spelled(name)}" for name in one.uris),
            ),
            key=one.key.name,
            sha256=sha256(one.der).hexdigest(),
        )
        for one in Served.of(facts.certificate).chain
    )
