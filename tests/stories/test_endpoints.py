"""Every kind of endpoint, scanned whole: agrees with sslscan suite by suite, and gives exactly the right answer.

The results are a page of the documentation. ``EVERYHOP_WRITE_TABLES=1`` (in one process) writes it; otherwise a row
that says something else fails its endpoint's test.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fakes.pki import CA
from tests.servers import need
from tests.servers.bench import SOURCE, Bench
from tests.servers.certificates import certificates
from tests.servers.checked import ENDPOINTS, Endpoint
from tests.servers.sslscan import by_sslscan

from everyhop.core.endpoint.facts import Encryption, Entrance, Reply, TlsFacts
from everyhop.core.endpoint.fleet import Entry
from everyhop.core.finding import Finding
from everyhop.core.guidelines.registry import find
from everyhop.core.report.endpoint import EndpointReport, fails, is_untold, is_violation
from everyhop.core.tls.groups import group, group_name
from everyhop.core.tls.versions import NEWEST_FIRST, version_name
from everyhop.core.verdict import Verdict
from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.probes.endpoint import EndpointLooks
from everyhop.drivers.probes.manners import Limits, Manners
from everyhop.drivers.probes.verify import MOST_HELLOS
from everyhop.services.scan import Mode, Order, Scanner

pytestmark = pytest.mark.story

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "endpoints-checked.md"
WRITES = os.environ.get("EVERYHOP_WRITE_TABLES") == "1"
PATIENCE = 10.0
"""Seconds for one question: this machine may be busy."""

HEAD = (
    "Endpoint",
    "Held to",
    "Suites, by everyhop",
    "Suites, by sslscan",
    "Key exchange",
    "Post-quantum",
    "Encryption",
    "Verdict",
    "Fails",
    "Advice",
)
INTRODUCTION = """\
<!-- written by tests/stories/test_endpoints.py with EVERYHOP_WRITE_TABLES=1; change the code instead -->

# Endpoints that it is checked against

Real servers, started by a test, scanned whole (`everyhop scan --mode enumerate`, with `--mtls` where certificates of
clients are in question), and compared suite by suite and version by version with `sslscan`. The test fails if one
suite is missing or one too many, if another group is taken for the key exchange than the server was told, if one
finding is missing or one too many, if verify mode comes to another verdict, or if this table says anything else.
OpenSSL's own choice of groups is fixed for all of them, so that the table is the same on every machine.

*blind*: sslscan cannot see this endpoint; what was found is compared with what the server was told. *not asked*: no TLS
is spoken there. *Fails* needs somebody to act; *advice* changes no verdict. What the codes mean stands in
[](endpoint-rules.md), what an endpoint is held to in [](guidelines.md)."""

Suites = Mapping[int, set[int]]


@dataclass(frozen=True)
class Result:
    """What was found out about one endpoint."""

    endpoint: Endpoint
    report: EndpointReport
    """In enumerate mode."""
    verified: EndpointReport
    """In verify mode."""
    theirs: Suites | None
    """None where sslscan was not asked, or is blind."""

    @property
    def tls(self) -> TlsFacts | None:
        return self.report.facts.tls

    @property
    def ours(self) -> Suites:
        return {one.version: set(one.suites) for one in self.tls.versions} if self.tls else {}

    @property
    def groups(self) -> list[int]:
        """Of all versions, in the order in which they were chosen."""
        return list(dict.fromkeys(code for one in (self.tls.versions if self.tls else ()) for code in one.groups))

    def rules(self, kind: Callable[[Finding], bool]) -> tuple[str, ...]:
        """Codes of the findings of this kind."""
        return tuple(finding.rule for finding in self.report.findings if kind(finding))


def is_advice(finding: Finding) -> bool:
    return fails(finding) and not is_violation(finding)


# --- looking ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Generator[Bench]:
    need("sslscan")
    with ExitStack() as stack:
        yield Bench(stack, tmp_path_factory.mktemp)


def scanned(endpoint: Endpoint, port: int, mode: Mode) -> EndpointReport:
    """The whole scan, as on the command line, but without its politeness: these servers are ours."""
    clock, roots = SystemClock(), {"own": [certificates().authority.certificate]}
    hurried = Manners(Limits(at_once=None, per_second=None))
    scanner = Scanner(EndpointLooks(clock, manners=hurried, roots=roots, source=SOURCE), clock, roots)
    order = Order(
        guideline=find(endpoint.guideline),
        mode=mode,
        enforcement=endpoint.mutual,
        credentials={Entrance.FOREIGN_AUTHORITY: CA("a foreign authority").issue("stranger.test").credential},
        accept_lockout=True,
        timeout=PATIENCE,
    )
    return asyncio.run(scanner.scan(Entry(endpoint.target(port)), order))


def looked_at(endpoint: Endpoint, bench: Bench, file: Path) -> Result:
    with bench.serving(endpoint.start) as port:
        report, verified = scanned(endpoint, port, Mode.ENUMERATE), scanned(endpoint, port, Mode.VERIFY)
        asked = report.facts.tls is not None and endpoint.blind is None
        theirs = by_sslscan(port, file, starttls=endpoint.starttls) if asked else None
    return Result(endpoint, report, verified, theirs)


# --- the page -----------------------------------------------------------------------------------------------------


def row(result: Result) -> str:
    """The table's row about one endpoint."""
    endpoint, theirs = result.endpoint, "not asked" if result.tls is None else "*blind*"
    cells = (
        endpoint.about,
        str(result.report.guideline),
        _counted(result.ours) or "none",
        theirs if result.theirs is None else _counted(result.theirs),
        ", ".join(group_name(code) for code in result.groups) or "none",
        "yes" if any(group(code).post_quantum for code in result.groups) else "no",
        result.report.facts.plain.encryption.value if result.report.facts.plain else "not asked",
        f"**{result.report.verdict.value}**",
        _codes(result.rules(is_violation)),
        _codes(result.rules(is_advice)),
    )
    return "| " + " | ".join(cells) + " |"


def page(rows: Mapping[str, str]) -> str:
    """The whole page from its rows by endpoint, in the order of the list."""
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    lines += [rows[endpoint.about] for endpoint in ENDPOINTS if endpoint.about in rows]
    return f"{INTRODUCTION}\n\n" + "\n".join(lines) + "\n"


def written() -> dict[str, str]:
    """The rows of the page as it is."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    _, *rows = [line for line in text.splitlines() if line.startswith("| ")] or [""]
    return {line.split("|")[1].strip(): line for line in rows}


def _counted(suites: Suites) -> str:
    return "; ".join(
        f"{version_name(version)}: {len(suites[version])}" for version in NEWEST_FIRST if version in suites
    )


def _codes(rules: tuple[str, ...]) -> str:
    return ", ".join(f"`{rule}`" for rule in rules)


# --- the tests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_an_endpoint_is_seen_and_judged_as_it_is(endpoint: Endpoint, bench: Bench, tmp_path: Path) -> None:
    result = looked_at(endpoint, bench, tmp_path / "sslscan.xml")
    assert result.ours == (endpoint.blind.told if endpoint.blind else result.theirs or {})
    assert {group_name(code) for code in result.groups} == set(endpoint.groups)
    _everything_else_was_refused(result.tls)
    seen = result.report.facts.plain
    assert seen is not None
    assert (seen.encryption, seen.wire) == (endpoint.encryption, endpoint.wire), seen.evidence
    assert result.rules(is_violation) == endpoint.wrong
    assert result.rules(is_advice) == endpoint.advice
    assert result.rules(is_untold) == endpoint.untold
    assert result.report.verdict is endpoint.verdict
    assert result.verified.verdict is endpoint.verdict
    assert {one.rule for one in result.verified.findings if is_violation(one)} <= {*endpoint.wrong}
    # One more where a server refuses without alerts: does it still answer?
    assert result.verified.facts.tls is None or result.verified.facts.tls.hellos <= MOST_HELLOS + 1
    if WRITES:
        PAGE.write_text(page({**written(), endpoint.about: row(result)}), encoding="utf-8")
    assert written().get(endpoint.about) == row(result), "set EVERYHOP_WRITE_TABLES=1 to write the page anew"


def _everything_else_was_refused(tls: TlsFacts | None) -> None:
    """Every version was asked for, and every list ends with the server's own refusal."""
    if tls is None:
        return
    assert not tls.fault
    assert {*(one.version for one in tls.versions), *(version for version, _ in tls.refused_versions)} == {
        *NEWEST_FIRST
    }
    assert all(one.refusal and one.refusal.reply is Reply.REFUSED for one in tls.versions)


def test_the_page_is_about_these_endpoints() -> None:
    assert set(written()) == {endpoint.about for endpoint in ENDPOINTS}
    assert PAGE.read_text(encoding="utf-8") == page(written())


def test_the_list_holds_what_is_right_and_what_is_wrong() -> None:
    """Otherwise agreement would prove little."""
    assert len({endpoint.name for endpoint in ENDPOINTS}) == len({endpoint.about for endpoint in ENDPOINTS})
    assert {endpoint.verdict for endpoint in ENDPOINTS} == {Verdict.PASS, Verdict.FAIL}
    assert {endpoint.encryption for endpoint in ENDPOINTS} == {
        Encryption.TLS,
        Encryption.UPGRADE_REQUIRED,
        Encryption.UPGRADE_OFFERED,
        Encryption.PLAINTEXT,
    }
    assert any("X25519MLKEM768" in endpoint.groups for endpoint in ENDPOINTS)
