"""What goes wrong in Python, by its syntax tree: comments and texts that merely mention a mistake are none.

Rules: a name counts by its last words (``ssl.CERT_NONE``, ``CERT_NONE``), because imports may rename its first ones. A
file that this Python cannot parse, or that is deeper than it can walk, is Unreadable.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from everyhop.core.finding import Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.ciphers import code_of, judge_list, least
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
from everyhop.core.lint.rule import File, Hit, Language, Place, Rule, Unreadable
from everyhop.core.lint.text import evidence
from everyhop.core.tls.versions import TLS12

_BLANK = re.compile(r"\s")
_VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "request", "send", "stream", "fetch", "urlopen")
_CLIENTS = ("Client", "AsyncClient", "Session", "ClientSession", "TCPConnector", "HTTPTransport", "AsyncHTTPTransport")
_OTHERS = ("ws_connect", "connect", "HTTPSConnection", "PoolManager", "websocket_connect", "Elasticsearch", "Redis")
_CALLS = frozenset((*_VERBS, *_CLIENTS, *_OTHERS, "client"))
"""Calls that go to a server, by their last word."""
_SWITCHES = frozenset(("verify", "verify_ssl", "ssl", "verify_certs", "ssl_verify", "validate_certs", "check_hostname"))
_OLD_NAMES = {
    "PROTOCOL_SSLv2": "SSLv2",
    "PROTOCOL_SSLv3": "SSLv3",
    "PROTOCOL_TLSv1": "TLSv1",
    "PROTOCOL_TLSv1_1": "TLSv1.1",
    "SSLv2_METHOD": "SSLv2",
    "SSLv3_METHOD": "SSLv3",
    "TLSv1_METHOD": "TLSv1",
    "TLSv1_1_METHOD": "TLSv1.1",
}
"""Names of the ssl module and of pyOpenSSL that ask for one old version."""


@dataclass(frozen=True, slots=True)
class Program:
    """A file's syntax tree, as the list of its nodes in the order of walking, and its texts."""

    nodes: tuple[ast.AST, ...]
    prose: frozenset[int]
    """Docstrings and the like: texts that nobody uses, by the id of their node."""


def _parse(file: File) -> Program:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(file.text)
    except SyntaxError as error:
        place = Place(max(error.lineno or 1, 1), max(error.offset or 1, 1))
        raise Unreadable(place, "a syntax error") from None
    except (ValueError, RecursionError, MemoryError, UnicodeError):
        raise Unreadable(Place(1, 1), "something deeper or stranger than a program") from None
    nodes = tuple(ast.walk(tree))
    prose = frozenset(
        id(node.value) for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )
    return Program(nodes, prose)


def _last(node: ast.AST) -> str:
    """The last word of a name: ``CERT_NONE`` of ``ssl.CERT_NONE``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _first(node: ast.expr) -> str:
    while isinstance(node, (ast.Attribute, ast.Call)):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


def _place(node: ast.expr | ast.keyword) -> Place:
    return Place(node.lineno, node.col_offset + 1)


def _is(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _assigned(program: Program) -> Iterator[tuple[str, ast.expr, ast.expr]]:
    """Every assignment to an attribute: its name, where, and what."""
    for node in program.nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute):
                    yield target.attr, target, node.value


# --- rules --------------------------------------------------------------------------------------------------------


def _unverified(program: Program, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for node in program.nodes:
        if isinstance(node, ast.Call):
            yield from _unverified_call(node)
    for name, target, value in _assigned(program):
        if name == "verify_mode" and _last(value) == "CERT_NONE":
            yield Hit(_place(target), "expected CERT_REQUIRED, got CERT_NONE: anybody can be the server", "verify_mode")
        elif name == "check_hostname" and _is(value, False):
            yield Hit(_place(target), "expected check_hostname, got False: any certificate will do", "check_hostname")
        elif name in ("verify", "verify_certs") and _is(value, False):
            yield Hit(_place(target), f"expected verification, got {name} = False", name)
        elif _last(value) == "_create_unverified_context":
            yield Hit(_place(value), "expected a context that verifies, got _create_unverified_context", name)


def _unverified_call(node: ast.Call) -> Iterator[Hit]:
    called = _last(node.func)
    if called == "_create_unverified_context":
        yield Hit(_place(node), "expected a context that verifies, got _create_unverified_context", called)
    if called == "set_verify" and node.args and _last(node.args[0]) == "VERIFY_NONE":
        yield Hit(_place(node), "expected VERIFY_PEER, got VERIFY_NONE: anybody can be the other side", called)
    for argument in node.keywords:
        name = argument.arg or ""
        off = name in _SWITCHES and _is(argument.value, False) and called in _CALLS and _first(node.func) != "jwt"
        if off:
            yield Hit(_place(argument), f"expected verification, got {name}=False", f"{called}(…, {name}=False)")
        elif name in ("cert_reqs", "ssl_cert_reqs") and (
            _last(argument.value) == "CERT_NONE" or _is_none_text(argument)
        ):
            yield Hit(_place(argument), f"expected CERT_REQUIRED, got {name}=CERT_NONE", called)


def _is_none_text(argument: ast.keyword) -> bool:
    value = argument.value
    return isinstance(value, ast.Constant) and (value.value is None or value.value in ("none", "CERT_NONE"))


def _versions(program: Program, guideline: Guideline) -> Iterator[Hit]:
    for node in program.nodes:
        if not (isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Load)):
            continue  # who defines such a name does not use it
        old = _OLD_NAMES.get(_last(node), "")
        if old and _is_old(old, guideline):
            yield Hit(_place(node), f"expected {least(guideline)} or newer, got {old}", _last(node))
    for name, target, value in _assigned(program):
        if name not in ("minimum_version", "maximum_version") or _first(value) not in ("ssl", "TLSVersion", "_ssl"):
            continue
        word = _last(value)
        open_ended = name == "minimum_version" and word == "MINIMUM_SUPPORTED"
        if open_ended or _is_old(word, guideline):
            yield Hit(_place(target), f"expected {least(guideline)} or newer, got {word}", f"{name} = {word}")


def _is_old(name: str, guideline: Guideline) -> bool:
    code = code_of(name)
    return code is not None and code < min(*guideline.versions, TLS12)


def _ciphers(program: Program, guideline: Guideline) -> Iterator[Hit]:
    for node in program.nodes:
        if not (isinstance(node, ast.Call) and _last(node.func) in ("set_ciphers", "set_cipher_list") and node.args):
            continue
        first = node.args[0]
        text = first.value if isinstance(first, ast.Constant) else ""
        judgement = judge_list(text.decode("latin-1") if isinstance(text, bytes) else str(text), guideline)
        if judgement.broken:
            yield Hit(
                _place(node), f"expected sound suites only, got {', '.join(judgement.broken)}", evidence(str(text))
            )


def _plain(program: Program, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for node in program.nodes:
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)) or id(node) in program.prose:
            continue
        if _is_address(node.value):
            for hop in plain_hops(node.value, http=False):
                yield Hit(_place(node), hop.statement, hop.what, hop.severity)
                break


def _is_address(text: str) -> bool:
    """True for a text that is an address as a whole, or a list of parameters, and no prose or template around one."""
    return ("://" in text and not _BLANK.search(text)) or ("sslmode=" in text and "\n" not in text)


def _keylog(program: Program, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for name, target, value in _assigned(program):
        if name == "keylog_filename" and not _is(value, None):
            yield Hit(_place(target), "expected no key log, got keylog_filename", name)
    for node in program.nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Subscript) and _text(target.slice) == "SSLKEYLOGFILE":
                    yield Hit(
                        _place(target), "expected no key log, got SSLKEYLOGFILE in the environment", "SSLKEYLOGFILE"
                    )


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


_GOOD = """\
import ssl

context = ssl.create_default_context(cafile="/etc/everyhop/bundle.pem")
context.minimum_version = ssl.TLSVersion.TLSv1_3
response = requests.get("https://api.internal/", verify="/etc/everyhop/bundle.pem", timeout=5)
"""

RULES: tuple[Rule[Program], ...] = (
    Rule(
        "python-verification-off",
        Severity.HIGH,
        UNVERIFIED_SOURCE,
        UNVERIFIED,
        "use ssl.create_default_context(cafile=...), or verify='/path/to/bundle.pem'",
        bad="requests.get('https://api.internal/', verify=False)\n",
        good=_GOOD,
        check=_unverified,
    ),
    Rule(
        "python-version-old",
        Severity.HIGH,
        OLD_VERSION_SOURCE,
        OLD_VERSION,
        "write `context.minimum_version = ssl.TLSVersion.TLSv1_2`, or leave the default",
        bad="context.minimum_version = ssl.TLSVersion.TLSv1\n",
        good=_GOOD,
        check=_versions,
    ),
    Rule(
        "python-cipher-weak",
        Severity.HIGH,
        WEAK_SUITE_SOURCE,
        WEAK_SUITE,
        "leave the default suites, or name the guideline's; `everyhop profiles NAME` prints it",
        bad="context.set_ciphers('ALL:@SECLEVEL=0')\n",
        good=_GOOD,
        check=_ciphers,
    ),
    Rule(
        "python-hop-plain",
        Severity.HIGH,
        PLAIN_HOP_SOURCE,
        PLAIN_HOP,
        "use the scheme with TLS (rediss, amqps, mqtts, sslmode=verify-full), or a sidecar on loopback",
        bad="DATABASE = 'postgresql://shop@db.internal/shop?sslmode=disable'\n",
        good=_GOOD,
        check=_plain,
    ),
    Rule(
        "python-keylog",
        Severity.CRITICAL,
        KEY_LOG_SOURCE,
        KEY_LOG,
        "take the line out",
        bad="context.keylog_filename = '/tmp/keys.log'\n",
        good=_GOOD,
        check=_keylog,
    ),
)

PYTHON: Language[Program] = Language(
    "Python", "client.py", lambda file: file.path.endswith((".py", ".pyi", ".pyw")), _parse, RULES
)
