"""Every rule about files finds what it is for in its bad example, and nothing is found in its good one."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from everyhop.core.finding import Severity
from everyhop.core.guidelines.registry import find
from everyhop.core.lint.ciphers import judge_list, old_versions
from everyhop.core.lint.hops import is_local, plain_hops
from everyhop.core.lint.judge import judge_file
from everyhop.core.lint.languages import LANGUAGES, RULES, SECRETS, language_of
from everyhop.core.lint.rule import File, Language, Rule

INTERMEDIATE = find("mozilla-intermediate@6.0")
MODERN = find("mozilla-modern@6.0")
TODAY = date(2026, 11, 22)
EACH = [pytest.param(language, rule, id=rule.code) for language in (*LANGUAGES, SECRETS) for rule in language.rules]


def codes(path: str, text: str, mode: int = 0o600) -> set[str]:
    file = File(path, text, mode, tracked=True)
    return {one.rule for one in judge_file(file, INTERMEDIATE, today=TODAY)}


@pytest.mark.parametrize(("language", "rule"), EACH)
def test_bad_examples_are_found_and_good_ones_are_clean(language: Language[Any], rule: Rule[Any]) -> None:
    assert rule.code in codes(language.example, rule.bad, 0o644)
    assert codes(language.example, rule.good) == set()


@pytest.mark.parametrize(("language", "rule"), EACH)
def test_rules_say_who_says_so_and_what_to_do(language: Language[Any], rule: Rule[Any]) -> None:
    del language
    for words in (rule.citation, rule.explanation, rule.remedy):
        assert len(words) > 8
        assert not words.endswith(".")


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_every_kind_of_file_is_recognised_by_its_examples(language: Language[Any]) -> None:
    for rule in language.rules:
        for text in (rule.bad, rule.good):
            assert language_of(File(language.example, text)) is language


def test_codes_are_unique() -> None:
    assert len(RULES) == sum(len(language.rules) for language in (*LANGUAGES, SECRETS))


def test_the_guideline_decides_what_is_old() -> None:
    file = File("nginx.conf", "ssl_protocols TLSv1.2 TLSv1.3;")
    assert judge_file(file, INTERMEDIATE, today=TODAY) == ()
    (finding,) = judge_file(file, MODERN, today=TODAY)
    assert (finding.rule, finding.guideline) == ("nginx-version-old", "mozilla-modern 6.0")
    assert finding.subject == "nginx.conf:1:1"


@pytest.mark.parametrize(
    ("names", "old"),
    [
        (["TLSv1.2", "TLSv1.3"], []),
        (["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"], ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"]),
        (["TLSv1_0", "TLSv1_2"], ["TLSv1_0"]),
        (["TLS_AUTO", "nonsense"], []),
    ],
)
def test_versions_by_everybodys_names(names: list[str], old: list[str]) -> None:
    assert old_versions(names, INTERMEDIATE) == old


@pytest.mark.parametrize(
    ("text", "broken", "beyond"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305", (), ()),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", (), ()),
        ("ECDHE+AESGCM:ECDHE+CHACHA20", (), ()),
        ("HIGH:!aNULL:!MD5", (), ("HIGH",)),
        ("HIGH", ("HIGH",), ()),
        ("ALL:!aNULL:!MEDIUM", (), ("ALL",)),
        ("ALL", ("ALL",), ()),
        ("RC4-SHA:AES128-SHA", ("RC4-SHA",), ("AES128-SHA",)),
        ("DES-CBC3-SHA", ("DES-CBC3-SHA",), ()),
        ("ECDHE+3DES:!3DES", (), ("ECDHE+3DES",)),
        ("aNULL", ("aNULL",), ()),
        ("DEFAULT:@SECLEVEL=0", ("@SECLEVEL=0",), ("DEFAULT",)),
        ("PROFILE=SYSTEM", (), ()),
    ],
)
def test_cipher_lists_are_judged_by_what_they_let_in(
    text: str, broken: tuple[str, ...], beyond: tuple[str, ...]
) -> None:
    judgement = judge_list(text, INTERMEDIATE)
    assert (judgement.broken, judgement.beyond) == (broken, beyond)


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("redis://cache:6379", Severity.HIGH),
        ("http://api", Severity.HIGH),
        ("postgres://db/shop", Severity.MEDIUM),
        ("postgres://db/shop?sslmode=require", Severity.LOW),
        ("postgres://db/shop?sslmode=verify-ca", None),
        ("jdbc:mysql://db/shop?sslMode=VERIFY_IDENTITY", None),
        ("mongodb+srv://db.example.org/shop", None),
        ("mongodb://db/shop?tls=true", None),
        ("redis://localhost", None),
        ("http://[::1]:8080/", None),
        ("http://127.0.0.53/", None),
        ("https://api", None),
        ("host=db sslmode=allow", Severity.HIGH),
        ("http://www.w3.org/2000/svg", None),
        ("amqp+tls://queue", None),
    ],
)
def test_addresses_of_plaintext(text: str, severity: Severity | None) -> None:
    assert [hop.severity for hop in plain_hops(text)] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((host, True) for host in ("localhost", "unix:/run/a.sock", "127.1.2.3", "[::1]", "")),
        *((host, False) for host in ("localhost.example.org", "128.0.0.1", "api", "127.0.0.1.nip.io")),
    ],
)
def test_what_is_this_machine(host: str, local: bool) -> None:
    assert is_local(host) is local


@pytest.mark.parametrize("path", ["compose.yaml", "client.py", "client.go", "fetch.sh"])
def test_passwords_are_never_repeated(path: str) -> None:
    address = "redis://shop:hunter2@cache:6379/0?password=hunter2"
    texts = {
        "compose.yaml": f"services:\n  web:\n    image: x\n    environment: {{A: '{address}'}}\n",
        "client.py": f"A = {address!r}\n",
        "client.go": f'const a = "{address}"\n',
        "fetch.sh": f"A={address}\n",
    }
    findings = judge_file(File(path, texts[path]), INTERMEDIATE, today=TODAY)
    assert findings
    assert "hunter2" not in repr(findings)


def test_keys_are_never_repeated() -> None:
    body = "c2VjcmV0" * 8
    text = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    findings = judge_file(File("a.txt", text, 0o640, tracked=True), INTERMEDIATE, today=TODAY)
    assert [(one.rule, one.severity) for one in findings] == [
        ("secret-key-committed", Severity.CRITICAL),
        ("secret-key-readable", Severity.MEDIUM),
    ]
    assert body[:16] not in repr(findings)


def test_a_key_outside_of_a_repository_may_be_there_for_its_owner_alone() -> None:
    text = "-----BEGIN PRIVATE KEY-----\n" + "c2VjcmV0" * 8
    assert judge_file(File("/etc/shop.key", text, 0o600), INTERMEDIATE, today=TODAY) == ()
