"""What goes wrong in Go, JavaScript, TypeScript, Java, Kotlin, shell scripts, Dockerfiles and pipelines, by patterns.

Rules: comments are blanked first, so that what is only mentioned is no finding. A pattern is bounded and says one
thing. Patterns see words and not meaning: what needs meaning is left to the tools that have it (``--sarif-in``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from everyhop.core.finding import Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.commands import old_commands, unverified_commands
from everyhop.core.lint.hops import plain_hops
from everyhop.core.lint.reasons import (
    KEY_LOG,
    KEY_LOG_SOURCE,
    OLD_VERSION,
    OLD_VERSION_SOURCE,
    PLAIN_HOP,
    PLAIN_HOP_SOURCE,
    UNVERIFIED,
    UNVERIFIED_SOURCE,
    WEAK_SUITE,
    WEAK_SUITE_SOURCE,
)
from everyhop.core.lint.rule import File, Hit, Language, Rule
from everyhop.core.lint.surroundings import Setting, key_logs, unverified_settings
from everyhop.core.lint.text import Lines, evidence, without_c_comments, without_hash_comments

Check = Callable[["Source", Guideline], Iterator[Hit]]


@dataclass(frozen=True, slots=True)
class Source:
    """A program's text without its comments."""

    text: str
    lines: Lines


def _c_like(file: File) -> Source:
    return Source(without_c_comments(file.text), Lines(file.text))


def _shell_like(file: File) -> Source:
    return Source(without_hash_comments(file.text), Lines(file.text))


def _patterns(*pairs: tuple[str, str]) -> Check:
    """A check that finds patterns; each comes with what is said of it."""
    compiled = [(re.compile(pattern), statement) for pattern, statement in pairs]

    def check(source: Source, guideline: Guideline) -> Iterator[Hit]:
        del guideline
        for pattern, statement in compiled:
            for found in pattern.finditer(source.text):
                yield Hit(source.lines.place(found.start()), statement, evidence(found[0]))

    return check


def _hops(source: Source, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for hop in plain_hops(source.text, http=False):
        before = source.text[max(0, hop.offset - 1) : hop.offset]
        if before in _BEFORE_ADDRESS:
            yield Hit(source.lines.place(hop.offset), hop.statement, hop.what, hop.severity)


_BEFORE_ADDRESS = ("", '"', "'", "`", "=", ":", " ", "\n", "?", "&", ",")
"""What may stand before an address: a quote, an assignment, ``jdbc:``."""

_HOP_REMEDY = "use the scheme with TLS (rediss, amqps, mqtts, sslmode=verify-full), or a sidecar on loopback"


def _hop_rule(language: str, bad: str, good: str) -> Rule[Source]:
    return Rule(
        f"{language}-hop-plain",
        Severity.HIGH,
        PLAIN_HOP_SOURCE,
        PLAIN_HOP,
        _HOP_REMEDY,
        bad=bad,
        good=good,
        check=_hops,
    )


# --- Go -----------------------------------------------------------------------------------------------------------

_GO_GOOD = 'config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13, ServerName: "api.internal"}\n'

GO_RULES: tuple[Rule[Source], ...] = (
    Rule(
        "go-verification-off",
        Severity.HIGH,
        UNVERIFIED_SOURCE,
        UNVERIFIED,
        "set `RootCAs` to the authority's pool and take `InsecureSkipVerify` out",
        bad="config := &tls.Config{InsecureSkipVerify: true}\n",
        good=_GO_GOOD,
        check=_patterns(
            (
                r"\bInsecureSkipVerify\s{0,20}[:=]{1,2}\s{0,20}true\b",
                "expected verification, got InsecureSkipVerify: true",
            ),
        ),
    ),
    Rule(
        "go-version-old",
        Severity.HIGH,
        OLD_VERSION_SOURCE,
        OLD_VERSION,
        "write `MinVersion: tls.VersionTLS12`, or leave it out",
        bad="config := &tls.Config{MinVersion: tls.VersionTLS10}\n",
        good=_GO_GOOD,
        check=_patterns(
            (
                r"\bM(?:in|ax)Version\s{0,20}[:=]{1,2}\s{0,20}tls\.Version(?:SSL30|TLS10|TLS11)\b",
                "expected TLS 1.2 or newer, got an older version",
            ),
        ),
    ),
    Rule(
        "go-cipher-weak",
        Severity.HIGH,
        WEAK_SUITE_SOURCE,
        WEAK_SUITE,
        "leave `CipherSuites` out: Go's own list is sound",
        bad="suites := []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}\n",
        good=_GO_GOOD,
        check=_patterns(
            (
                r"\btls\.TLS_(?:ECDHE_)?(?:RSA|ECDSA|ECDHE_RSA)_WITH_(?:RC4|3DES)_\w{1,40}",
                "expected a sound suite, got a broken one",
            ),
        ),
    ),
    Rule(
        "go-grpc-plain",
        Severity.MEDIUM,
        PLAIN_HOP_SOURCE,
        PLAIN_HOP,
        "use `grpc.WithTransportCredentials(credentials.NewTLS(config))`; to a sidecar on loopback, excuse the line",
        bad="connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))\n",
        good=_GO_GOOD,
        check=_patterns(
            (r"\bgrpc\.WithInsecure\(\)", "expected transport credentials, got WithInsecure"),
            (r"\binsecure\.NewCredentials\(\)", "expected transport credentials, got insecure ones"),
        ),
    ),
    Rule(
        "go-keylog",
        Severity.CRITICAL,
        KEY_LOG_SOURCE,
        KEY_LOG,
        "take the field out",
        bad="config := &tls.Config{KeyLogWriter: file}\n",
        good=_GO_GOOD,
        check=_patterns(
            (r"\bKeyLogWriter\s{0,20}[:=]{1,2}\s{0,20}(?!nil\b)\w", "expected no key log, got KeyLogWriter")
        ),
    ),
    _hop_rule("go", 'url := "amqp://queue.internal:5672"\n', _GO_GOOD),
)

# --- JavaScript and TypeScript ------------------------------------------------------------------------------------

_ANY_ARGUMENTS = r"(?:\([^)]{0,80}\)|\w{1,40})\s{0,20}=>\s{0,20}"
_JS_GOOD = 'const agent = new https.Agent({ ca: bundle, minVersion: "TLSv1.3" });\n'

JAVASCRIPT_RULES: tuple[Rule[Source], ...] = (
    Rule(
        "javascript-verification-off",
        Severity.HIGH,
        UNVERIFIED_SOURCE,
        UNVERIFIED,
        "give the agent the authority's certificate (`ca`), or set NODE_EXTRA_CA_CERTS",
        bad="const agent = new https.Agent({ rejectUnauthorized: false });\n",
        good=_JS_GOOD,
        check=_patterns(
            (
                r"\brejectUnauthorized[\"']?\s{0,20}[:=]\s{0,20}(?:false|0)\b",
                "expected verification, got rejectUnauthorized: false",
            ),
            (
                r"\bNODE_TLS_REJECT_UNAUTHORIZED[\"'\]]{0,2}\s{0,20}=\s{0,20}[\"']?0",
                "expected verification, got NODE_TLS_REJECT_UNAUTHORIZED=0",
            ),
            (r"\bstrictSSL[\"']?\s{0,20}:\s{0,20}false\b", "expected verification, got strictSSL: false"),
            (
                rf"\bcheckServerIdentity[\"']?\s{{0,20}}:\s{{0,20}}{_ANY_ARGUMENTS}(?:undefined|null|\{{\s{{0,20}}\}}|true)",
                "expected the server's name to be checked, got a check that says nothing",
            ),
        ),
    ),
    Rule(
        "javascript-version-old",
        Severity.HIGH,
        OLD_VERSION_SOURCE,
        OLD_VERSION,
        "write `minVersion: 'TLSv1.2'`, or leave it out",
        bad='https.createServer({ minVersion: "TLSv1" });\n',
        good=_JS_GOOD,
        check=_patterns(
            (
                r"\bm(?:in|ax)Version[\"']?\s{0,20}[:=]\s{0,20}[\"']TLSv1(?:\.1)?[\"']",
                "expected TLS 1.2 or newer, got an older version",
            ),
            (
                r"\bsecureProtocol[\"']?\s{0,20}:\s{0,20}[\"'](?:SSLv[23]|TLSv1(?:_1)?)_(?:\w{1,10}_)?method[\"']",
                "expected TLS 1.2 or newer, got an older method",
            ),
        ),
    ),
    _hop_rule("javascript", 'const url = "redis://cache.internal:6379";\n', _JS_GOOD),
)

# --- Java and Kotlin ----------------------------------------------------------------------------------------------

_JAVA_GOOD = 'SSLContext context = SSLContext.getInstance("TLSv1.3");\n'
_TRUST_ALL = "NoopHostnameVerifier|AllowAllHostnameVerifier|InsecureTrustManagerFactory|TrustAllStrategy"
_TWO_NAMES = r"\(?\s{0,9}\w{1,40}\s{0,9},\s{0,9}\w{1,40}\s{0,9}\)?"
_EMPTY = r"\s{0,40}(?:throws\s{1,20}[\w.,\s]{1,200})?\{\s{0,200}(?:return\s{0,20};\s{0,200})?\}"

JAVA_RULES: tuple[Rule[Source], ...] = (
    Rule(
        "java-verification-off",
        Severity.HIGH,
        UNVERIFIED_SOURCE,
        UNVERIFIED,
        "load the authority's certificate into a trust store, and use the default trust manager with it",
        bad="public void checkServerTrusted(X509Certificate[] chain, String type) {}\n",
        good=_JAVA_GOOD,
        check=_patterns(
            (
                rf"\bcheckServerTrusted\s{{0,20}}\([^)]{{0,200}}\){_EMPTY}",
                "expected a trust manager that checks, got one that says yes",
            ),
            (
                rf"\bALLOW_ALL_HOSTNAME_VERIFIER\b|(?<![.\w])(?:{_TRUST_ALL})\b",
                "expected verification, got something that trusts all",
            ),
            (
                rf"\bHostnameVerifier\s{{0,20}}\(\s{{0,20}}{_TWO_NAMES}\s{{0,20}}->\s{{0,20}}(?:\{{\s{{0,40}}return\s{{1,9}})?true\b",
                "expected the server's name to be checked, got a verifier that says yes",
            ),
        ),
    ),
    Rule(
        "java-version-old",
        Severity.HIGH,
        OLD_VERSION_SOURCE,
        OLD_VERSION,
        'write `SSLContext.getInstance("TLSv1.3")`',
        bad='SSLContext context = SSLContext.getInstance("TLSv1");\n',
        good=_JAVA_GOOD,
        check=_patterns(
            (
                r"\bSSLContext\.getInstance\(\s{0,9}\"(?:SSL|SSLv[23]|TLSv1(?:\.1)?)\"",
                "expected TLS 1.2 or newer, got an older version",
            ),
            (
                r"\bsetEnabledProtocols\([^)]{0,200}\"(?:SSLv[23](?:Hello)?|TLSv1(?:\.1)?)\"",
                "expected TLS 1.2 or newer, got an older version among them",
            ),
        ),
    ),
    _hop_rule("java", 'String url = "jdbc:postgresql://db.internal/shop?sslmode=disable";\n', _JAVA_GOOD),
)

# --- shell, Dockerfiles, pipelines --------------------------------------------------------------------------------

_SHELL_GOOD = "curl --fail --cacert /etc/everyhop/bundle.pem https://api.internal/health\n"
_ASSIGNED = re.compile(
    r"(?:^|(?<=[\s;&(]))(?:(?:export|ENV|ARG)\s{1,9})?"
    r"(?P<name>[A-Z][A-Z0-9_]{2,60})[= ][\"']?(?P<value>[^\s\"';]{0,300})",
    re.MULTILINE,
)


def _settings(source: Source) -> Iterator[Setting]:
    for found in _ASSIGNED.finditer(source.text):
        yield Setting(found["name"], found["value"], source.lines.place(found.start("name")))


def _commands(source: Source, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in unverified_commands(source.text):
        yield Hit(source.lines.place(one.offset), one.statement, one.what)
    yield from unverified_settings(_settings(source))


def _old(source: Source, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for one in old_commands(source.text):
        yield Hit(source.lines.place(one.offset), one.statement, one.what)


def _keylog(source: Source, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    yield from key_logs(_settings(source))


SHELL_RULES: tuple[Rule[Source], ...] = (
    Rule(
        "shell-verification-off",
        Severity.HIGH,
        UNVERIFIED_SOURCE,
        UNVERIFIED,
        "give the program the authority's certificate (`curl --cacert FILE`) instead of telling it to look away",
        bad="curl -sk https://api.internal/health\n",
        good=_SHELL_GOOD,
        check=_commands,
    ),
    Rule(
        "shell-version-old",
        Severity.HIGH,
        OLD_VERSION_SOURCE,
        OLD_VERSION,
        "take the option out, or write --tlsv1.2",
        bad="curl --tlsv1.0 https://api.internal/\n",
        good=_SHELL_GOOD,
        check=_old,
    ),
    Rule(
        "shell-keylog",
        Severity.CRITICAL,
        KEY_LOG_SOURCE,
        KEY_LOG,
        "take the variable out",
        bad="export SSLKEYLOGFILE=/tmp/keys.log\n",
        good=_SHELL_GOOD,
        check=_keylog,
    ),
    _hop_rule("shell", "export CACHE=redis://cache.internal:6379\n", _SHELL_GOOD),
)

# --- which file is which ------------------------------------------------------------------------------------------

_SHELL_NAMES = ("dockerfile", "containerfile", "makefile", "jenkinsfile", "vagrantfile", ".env", ".bashrc", ".profile")
_PIPELINES = (".github/workflows/", ".gitlab-ci", ".circleci/", "azure-pipelines", ".woodpecker", ".drone.y")


def _is_shell(file: File) -> bool:
    name = file.path.rpartition("/")[2].lower()
    by_name = (
        name in _SHELL_NAMES or name.startswith(("dockerfile.", ".env.")) or any(one in file.path for one in _PIPELINES)
    )
    ended = name.endswith((".sh", ".bash", ".zsh", ".ksh", ".dockerfile", ".containerfile", ".mk", ".env"))
    return by_name or ended or re.match(r"#!\s?\S{0,60}/(?:env\s)?(?:ba|z|k|da)?sh\b", file.text) is not None


def _language(name: str, example: str, ends: tuple[str, ...], rules: tuple[Rule[Source], ...]) -> Language[Source]:
    return Language(name, example, lambda file: file.path.endswith(ends), _c_like, rules)


GO = _language("Go", "client.go", (".go",), GO_RULES)
JAVASCRIPT = _language(
    "JavaScript", "client.ts", (".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".vue"), JAVASCRIPT_RULES
)
JAVA = _language("Java", "Client.java", (".java", ".kt", ".kts", ".scala", ".groovy"), JAVA_RULES)
SHELL: Language[Source] = Language("shell", "fetch.sh", _is_shell, _shell_like, SHELL_RULES)
