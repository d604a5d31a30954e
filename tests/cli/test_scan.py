"""`everyhop scan` against real servers: what it says, in words and in files, and what its exit status means."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from tests.fakes.clock import START
from tests.servers import need
from tests.servers.certificates import NAME, certificates
from tests.servers.nginx import BOTH, RSA, nginx
from tests.servers.openssl import s_server
from tests.servers.process import running
from tests.stories.ports import free_port

from everyhop.cli import main
from everyhop.cli.files import require_writable, write_text
from everyhop.core.endpoint.facts import EndpointFacts
from everyhop.core.endpoint.target import Target
from everyhop.core.guidelines.registry import find
from everyhop.core.report.endpoint import EndpointReport
from everyhop.errors import ExitStatus

GROUPS = "ssl_ecdh_curve X25519:prime256v1:secp384r1; add_header Strict-Transport-Security 'max-age=63072000';"
SOUND = "ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;" + GROUPS
OLD = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ciphers DEFAULT@SECLEVEL=0;"
CLIENTS = "ssl_protocols TLSv1.3; ssl_client_certificate {home}/ca.pem; ssl_verify_client "
SERVERS = {
    "good": BOTH + "ssl_protocols TLSv1.2 TLSv1.3;" + SOUND,
    "old": BOTH + OLD + GROUPS,
    "mtls": RSA + CLIENTS + "on;" + SOUND,
    "optional": RSA + CLIENTS + "optional;" + SOUND,
    "plain": "",
}


@dataclass
class Net:
    """Real servers, and a shell."""

    home: Path
    ports: dict[str, int]

    def at(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def scan(self, *arguments: str) -> Result:
        trusted = ("--name", NAME, "--ca-file", str(self.home / "ca.pem"))
        return CliRunner().invoke(main, ["scan", *trusted, *arguments], prog_name="everyhop")

    def document(self, *arguments: str) -> dict[str, Any]:
        return json.loads(self.scan("--json", *arguments).stdout)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Generator[Net]:
    home = tmp_path_factory.mktemp("nginx")
    with nginx(home, SERVERS) as ports:
        yield Net(home, ports)


def failed(document: dict[str, Any]) -> set[str]:
    return {
        result["rule"]
        for endpoint in document["endpoints"]
        for result in endpoint["findings"]
        if result["verdict"] == "fail" and result["severity"] not in ("low", "info")
    }


# --- what it says -------------------------------------------------------------------------------------------------


def test_a_good_endpoint_exits_with_0_and_shows_its_proofs(net: Net) -> None:
    result = net.scan(net.at("good"))
    assert result.exit_code == 0, result.output
    for words in ("✔ pass", "mozilla-intermediate 6.0", "accepts", "TLSv1.3", "x25519", "forbidden versions: alert"):
        assert words in result.stdout
    assert "! ADVICE" in result.stdout, "advice is told, and fails nothing"
    assert "FAIL" not in result.stdout


def test_a_bad_endpoint_exits_with_1_and_says_what_to_do(net: Net) -> None:
    result = net.scan(net.at("old"))
    assert result.exit_code == 1
    for words in ("✘ HIGH tls-version-old", "seen:", "why:", "do:     set the lowest protocol version", "RFC 8996"):
        assert words in result.stdout


def test_enumerate_finds_what_verify_proves(net: Net) -> None:
    verified, listed = net.document(net.at("old")), net.document(net.at("old"), "--mode", "enumerate")
    assert {"tls-version-old", "tls-suite-forbidden"} <= failed(verified)
    assert failed(verified) <= failed(listed) | {"tls-group-forbidden"}
    (endpoint,) = listed["endpoints"]
    assert [version["name"] for version in endpoint["accepts"]] == ["TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1.0"]
    assert endpoint["mode"] == "enumerate"


def test_plaintext_is_critical(net: Net) -> None:
    result = net.scan(net.at("plain"))
    assert result.exit_code == 1
    assert "✘ CRITICAL plaintext-served" in result.stdout
    assert failed(net.document(net.at("plain"))) == {"plaintext-served"}


def test_nobody_there_exits_with_2(net: Net) -> None:
    result = net.scan(f"127.0.0.1:{free_port()}")
    assert result.exit_code == 2
    assert "? UNKNOWN" in result.stdout
    assert net.scan(f"127.0.0.1:{free_port()}", net.at("old")).exit_code == 1, "a violation outweighs an unknown"


def test_mtls_is_enforced_or_not(net: Net) -> None:
    assert net.scan(net.at("mtls"), "--mtls").exit_code == 0
    assert failed(net.document(net.at("optional"), "--mtls")) == {"client-certificate-optional"}
    refused = net.document(net.at("mtls"), "--mtls")["endpoints"][0]["refuses"]
    assert {"entry with no certificate", "entry with a foreign authority's certificate"} <= {
        one["what"] for one in refused
    }


def test_nothing_is_trusted_that_was_not_named(net: Net) -> None:
    found = CliRunner().invoke(main, ["scan", net.at("good"), "--name", "other.test", "--json"])
    assert found.exit_code == 1
    assert {"chain-incomplete", "certificate-name-mismatch"} <= failed(json.loads(found.stdout))


def test_the_profile_decides(net: Net) -> None:
    assert net.scan(net.at("good"), "--profile", "mozilla-modern").exit_code == 1
    own = net.home / "own.yaml"
    own.write_text(
        'name: own\nversion: "1"\nversions: [TLSv1.3, TLSv1.2]\n'
        "suites_tls13: [TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256]\n"
        "suites_tls12: [ECDHE-RSA-AES128-GCM-SHA256]\ngroups: [x25519, P-256, P-384]\n"
    )
    assert failed(net.document(net.at("good"), "--profile", str(own))) == {"tls-suite-forbidden"}


def test_openssl_alone_is_judged_too(tmp_path: Path) -> None:
    with s_server(tmp_path, "-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0") as port:
        arguments = ["scan", f"127.0.0.1:{port}", "--name", NAME, "--ca-file", str(tmp_path / "ca.pem"), "--json"]
        found = failed(json.loads(CliRunner().invoke(main, arguments).stdout))
    assert {"tls-suite-forbidden", "tls-version-missing"} <= found


# --- files --------------------------------------------------------------------------------------------------------


def test_a_fleet_in_words_and_in_every_form(net: Net, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.txt"
    lines = [f"{net.at(name)} owner=team-{name} name={NAME}" for name in ("good", "old", "mtls", "plain", "optional")]
    fleet.write_text("# ours\n" + "\n".join(lines) + f" profile=everyhop\n127.0.0.1:{free_port()} # gone\n")
    names = ("--save", "saved.json"), ("--sarif", "found.sarif"), ("--junit", "found.xml")
    result = net.scan(
        "--file", str(fleet), *(str(word) for option, file in names for word in (option, tmp_path / file))
    )
    assert result.exit_code == 1
    assert "6 endpoints: 3 well, 2 to mend, 1 could not be told" in result.stdout
    assert "team-old" in result.stdout

    saved = json.loads((tmp_path / "saved.json").read_text())
    assert saved["verdict"] == "fail"
    assert {one["line"] for one in saved["endpoints"]} == {2, 3, 4, 5, 6, 7}
    assert {one["guideline"] for one in saved["endpoints"]} == {"mozilla-intermediate 6.0", "everyhop 2026-11"}
    run = json.loads((tmp_path / "found.sarif").read_text())["runs"][0]
    assert {one["locations"][0]["physicalLocation"]["region"]["startLine"] for one in run["results"]} == {*range(2, 8)}
    assert len(ElementTree.parse(tmp_path / "found.xml").getroot().findall("testsuite")) == 6


def test_what_changed_since_the_last_time(tmp_path: Path) -> None:
    """The story of --diff: a server is mended in one thing and broken in another."""
    certificates().write(tmp_path)
    port, saved = free_port(), tmp_path / "saved.json"
    place = ("-accept", f"127.0.0.1:{port}", "-cert", "rsa.pem", "-cert_chain", "rsa.pem", "-key", "rsa.key")
    server = [need("openssl"), "s_server", "-quiet", "-www", *place]

    def scan(*arguments: str) -> Result:
        trusted = ("--name", NAME, "--ca-file", str(tmp_path / "ca.pem"))
        return CliRunner().invoke(main, ["scan", f"127.0.0.1:{port}", *trusted, *arguments])

    with running([*server, "-no_tls1_3", "-cipher", "ECDHE+AESGCM:ECDHE+AES:@SECLEVEL=0"], tmp_path, [port]):
        assert scan("--save", str(saved)).exit_code == 1
        unchanged = scan("--diff", str(saved))
    assert "= still" in unchanged.stdout
    assert "+ new" not in unchanged.stdout
    with running([*server, "-tls1_2", "-cipher", "AES128-GCM-SHA256"], tmp_path, [port]):
        changed = scan("--diff", str(saved))
        difference = json.loads(scan("--json", "--diff", str(saved)).stdout)["difference"]
    assert changed.exit_code == 1
    assert "- mended" in changed.stdout
    assert "tls-version-old" in {change["rule"] for change in difference["mended"]}
    assert "tls-suite-forbidden" in {change["rule"] for change in difference["still"]}


# --- before anything is contacted ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "expected at least one HOST[:PORT]"),
        (["shop.test:0"], "expected a port from 1 to 65535"),
        (["shop.test:0", "a..b", "c.test"], "got '0' in 'shop.test:0'; expected host, host:port"),
        (["postgres://me:s3cret@shop.test"], "expected no user and no password"),
        (["shop.test", "--save", "no/such/place"], "expected to write no/such/place, could not: no such file"),
        (["shop.test", "--sarif", "/"], "File '/' is a directory"),
        (["shop.test", "--junit", "/proc/x.xml"], "expected to write /proc/x.xml, could not: "),
        (["gopher://shop.test"], "before ://"),
        (["shop.test", "--profile", "mozila-modern"], "did you mean 'mozilla-modern'?"),
        (["shop.test", "--file", "no-such-file"], "expected a readable file at no-such-file"),
        (["shop.test", "--ca-file", "fleet.txt"], "expected PEM certificates in fleet.txt, got none"),
        (["shop.test", "--diff", "fleet.txt"], "expected a scan that everyhop wrote"),
        (["--file", "fleet.txt"], "fleet.txt:2:1: expected a port from 1 to 65535"),
        (["--file", "fleet.txt"], "fleet.txt:3:12: expected owner, service, name or profile"),
        (["--file", "profiles.txt"], "did you mean 'mozilla-old'?"),
        (["shop.test", "--profile", "own.yaml"], "own.yaml:1:7: name: expected lower-case letters"),
    ],
)
def test_wrong_usage_exits_with_2_and_contacts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fleet.txt").write_text("a.test\nb.test:0\nc.test:443 color=red\n")
    Path("profiles.txt").write_text("a.test profile=mozilla-odd\n")
    Path("own.yaml").write_text("name: Own\n")

    def nobody(*_: object, **__: object) -> None:
        raise AssertionError("somebody was contacted")

    monkeypatch.setattr(sys.modules["everyhop.cli.scan"], "endpoint_reports", nobody)  # the command has that name, too
    result = CliRunner().invoke(main, ["scan", *arguments])
    assert result.exit_code == 2, result.output
    assert told in result.stderr


def test_a_file_that_cannot_be_written_in_the_end_costs_nobody_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "gone"
    place.mkdir()

    async def looked(*_: object, **__: object) -> AsyncGenerator[EndpointReport]:
        place.rmdir()
        target = Target.parse("shop.test")
        yield EndpointReport(target, START, find("everyhop"), "verify", EndpointFacts(target, START), ())

    monkeypatch.setattr(sys.modules["everyhop.cli.scan"], "endpoint_reports", looked)
    result = CliRunner().invoke(main, ["scan", "shop.test", "--save", str(place / "saved.json"), "--json"])
    assert result.exit_code == ExitStatus.USAGE
    assert json.loads(result.stdout)["endpoints"][0]["subject"] == "shop.test:443"
    assert json.loads(result.stderr)["error"] == "usage-invalid"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def pieces() -> Iterator[str]:
        yield "new and "
        raise KeyboardInterrupt

    saved, link = tmp_path / "saved.json", tmp_path / "link"
    saved.write_text("old")
    saved.chmod(0o640)
    link.symlink_to(saved)
    require_writable(link)
    with pytest.raises(KeyboardInterrupt):
        write_text(link, pieces())
    assert saved.read_text() == "old"
    write_text(link, ["new ", "and whole"])
    assert (saved.read_text(), saved.stat().st_mode & 0o777, link.is_symlink()) == ("new and whole", 0o640, True)
    write_text(Path("/dev/null"), ["nothing"])
    assert not Path("/dev/null").is_file(), "a device is not replaced"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "saved.json"]


# --- profiles and schema ------------------------------------------------------------------------------------------


def test_profiles_are_listed_and_shown() -> None:
    listed = CliRunner().invoke(main, ["profiles"])
    assert listed.exit_code == 0
    assert "mozilla-intermediate" in listed.stdout
    shown = CliRunner().invoke(main, ["profiles", "mozilla-intermediate@6.0"])
    assert "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256" in shown.stdout, "as configurations want it"
    assert "X25519MLKEM768:x25519:secp256r1:secp384r1" in shown.stdout
    everything = json.loads(CliRunner().invoke(main, ["profiles", "--json"]).stdout)
    assert {"everyhop", "everyhop-edge"} <= {one["name"] for one in everything}


def test_the_schema_of_scans_is_published() -> None:
    result = CliRunner().invoke(main, ["schema", "scan"])
    assert json.loads(result.stdout)["$id"] == "everyhop.scan.schema.json"
    assert json.loads(CliRunner().invoke(main, ["schema"]).stdout)["$id"] == "everyhop.schema.json"
