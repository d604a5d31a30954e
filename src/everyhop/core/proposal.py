"""A proposed topology: what listens on a machine and stands in no file yet, written in our language.

Rules: pure. What was seen stands in comments, what only people know is left to be filled in under a name that says so,
and nothing is guessed silently. What comes out is read by :func:`everyhop.core.validation.read` without a fault, and a
text that is there already keeps every byte: entries are only put in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.core.hop import Address
from everyhop.core.places import EVERYWHERE

OWNER = "to-be-named"
"""The owner of what has none yet."""

_WORDS = re.compile(r"[^a-z0-9]+")
_TAKEN = re.compile(r"(edge|client|everyhop(-.*)?|envoy-.*)\Z")
"""Names that mean something else already."""
_RUNTIMES = re.compile(r"(python|java|node|ruby|php|perl|dotnet|beam|bash|sh|uvicorn|gunicorn|docker-proxy)[0-9.-]*\Z")
"""Processes whose name says nothing of what they run: the port is added to it."""
_PROTOCOLS = {Wire.HTTP: "http", Wire.POSTGRESQL: "postgres"}
_LONGEST_NAME = 48


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that listens, and is in no topology."""

    name: str
    """Proposed: a free service name."""
    listen: Address
    """Proposed: where its proxy would reach it, on loopback."""
    addresses: tuple[Address, ...]
    """Where it listens now."""
    user: str
    process: str
    encryption: Encryption
    wire: Wire | None
    evidence: str
    calls: tuple[str, ...] = ()
    """Whom it was seen to call: candidates, or services of the topology."""
    called_by: tuple[str, ...] = ()

    @property
    def protocol(self) -> str:
        """What the topology would call what it speaks. Behind TLS of its own nobody can see."""
        speaks_tls = self.encryption is Encryption.TLS
        return "tcp" if speaks_tls or self.wire is None else _PROTOCOLS.get(self.wire, "tcp")

    @property
    def exposed(self) -> bool:
        """True if other machines can reach it now, around any proxy."""
        return not all(address.is_loopback for address in self.addresses)


def name_for(process: str, port: int, taken: Collection[str]) -> str:
    """A free service name after a process; one that tells nothing, or is taken, has the port in it."""
    word = _WORDS.sub("-", process.lower()).strip("-")[:_LONGEST_NAME].strip("-")
    if not word or _TAKEN.match(word):
        word = "service"
    plain = word != "service" and not _RUNTIMES.match(word)
    if plain and word not in taken:
        return word
    if _TAKEN.match(f"{word}-{port}"):  # a second process called envoy
        word = "service"
    name, number = f"{word}-{port}", 2
    while name in taken:
        name, number = f"{word}-{port}-{number}", number + 1
    return name


def loopback_for(addresses: Sequence[Address], taken: Collection[Address]) -> Address:
    """Where it should listen: where it does, if that is on loopback already; else a free place on loopback with the
    same port."""
    at = next((one for one in addresses if one.is_loopback and one not in taken), None)
    if at is not None:
        return at
    port = addresses[0].port
    places = (Address(f"127.0.0.{host}", port) for host in range(1, 255))
    return next((place for place in places if place not in taken), Address("127.0.0.1", port))


def whole(candidates: Sequence[Candidate]) -> str:
    """A whole topology file for a machine that has none."""
    return f"""\
# Proposed by `everyhop discover`, from what listens on this machine. Nothing is changed before `everyhop up`.
# Read it, remove what should not be in the mesh, and fill in what only you know: the trust domain, the environment,
# and who owns what ({OWNER}).

everyhop: 1
trust_domain: example.internal  # a name of your own, for example that of your company and environment
environment: production

owners:
{_owner(2)}
services:
{_entries(candidates, 2)}"""


def merged(text: str, candidates: Sequence[Candidate]) -> str | None:
    """An existing topology with the candidates put in; every byte of it stays. None where its form does not allow that
    (a mapping in braces, anchors): then :func:`fragment` is to be put in by hand."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    sections = _sections(root)
    services, owners = sections.get("services"), sections.get("owners")
    if services is None or owners is None or "&" in text or text.count("\r"):
        return None
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    blocks = [(services, _entries(candidates, services.column))]
    if OWNER not in owners.keys:
        blocks.append((owners, _owner(owners.column)))
    for section, block in sorted(blocks, key=lambda one: -one[0].end):  # from below: lines above keep their numbers
        lines.insert(section.end, block)
    return "".join(lines)


def fragment(candidates: Sequence[Candidate]) -> str:
    """The entries alone, to be put into a topology by hand."""
    return f"owners:\n{_owner(2)}\nservices:\n{_entries(candidates, 2)}"


# --- entries ------------------------------------------------------------------------------------------------------


def _owner(column: int) -> str:
    return f"{' ' * column}{OWNER}: {{contact: who answers for it}}  # fill in, under a name of your own\n"


def _entries(candidates: Sequence[Candidate], column: int) -> str:
    return "".join(_entry(candidate, " " * column) for candidate in candidates)


def _entry(candidate: Candidate, margin: str) -> str:
    body = [
        f"owner: {OWNER}",
        f"listen: {_text(candidate.listen)}{_move(candidate)}",
        f"protocol: {candidate.protocol}",
        *([f"calls: [{', '.join(candidate.calls)}]  # seen"] if candidate.calls else []),
    ]
    comments = "".join(f"{margin}# {line}\n" for line in _seen(candidate))
    return f"{comments}{margin}{candidate.name}:\n" + "".join(f"{margin}  {line}\n" for line in body)


def _seen(candidate: Candidate) -> Iterable[str]:
    """What was seen, for the comments."""
    who = " of ".join(word for word in (candidate.process or "a process", candidate.user) if word)
    yield _comment(f"Seen: {who}, listening on {', '.join(map(str, candidate.addresses))}.")
    yield _comment(f"Asked: {_ANSWERS[candidate.encryption]}.")
    if candidate.evidence:
        yield _comment(f"Its own words: {candidate.evidence}")
    if candidate.called_by:
        yield _comment(f"Called by: {', '.join(candidate.called_by)}. Add it to their calls.")


_ANSWERS = {
    Encryption.TLS: "it speaks TLS itself; let it speak plaintext to its proxy, or reach it by passthrough",
    Encryption.UPGRADE_REQUIRED: "it insists on its own upgrade to TLS; let it speak plaintext to its proxy",
    Encryption.UPGRADE_OFFERED: "it offers an upgrade to TLS, and takes plaintext all the same",
    Encryption.PLAINTEXT: "it takes plaintext",
    Encryption.OWN: "its protocol encrypts by itself",
    Encryption.SILENT: "it said nothing",
    Encryption.CLOSED: "it did not answer",
    Encryption.UNKNOWN: "it was asked, and its answer told nothing",
}


def _move(candidate: Candidate) -> str:
    """What must change before the entry is true."""
    if candidate.listen in candidate.addresses:
        return ""
    everywhere = any(address.host in EVERYWHERE for address in candidate.addresses)
    return (
        f"  # it listens {'on every address' if everywhere else 'elsewhere'} now: let it listen here and nowhere else"
    )


def _text(address: Address) -> str:
    return f'"{address}"' if ":" in address.host else str(address)


def _comment(text: str) -> str:
    """One line that can be nothing but a comment, whatever a stranger's process or banner is called."""
    return "".join(one if one.isprintable() else "?" for one in text)[:160]


# --- an existing text ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Section:
    """A mapping in block style: its column, the line after its last entry, and its keys."""

    column: int
    end: int
    keys: frozenset[str]


def _sections(root: yaml.Node | None) -> Mapping[str, _Section]:
    if not isinstance(root, yaml.MappingNode):
        return {}
    found: dict[str, _Section] = {}
    for key, value in root.value:
        if isinstance(key, yaml.ScalarNode) and isinstance(value, yaml.MappingNode) and not value.flow_style:
            keys = frozenset(str(name.value) for name, _ in value.value)
            found[str(key.value)] = _Section(value.start_mark.column, _last_line(value) + 1, keys)
    return found


def _last_line(node: yaml.Node) -> int:
    """The line on which a value ends: that of its last scalar or bracket, because a block's own end lies behind the
    comments that follow it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1])
    end = node.end_mark
    return end.line - 1 if end.column == 0 and end.line > node.start_mark.line else end.line
