"""The text of a seal, and the signed note around it (C2SP signed-note and tlog-checkpoint).

Rules: one text for one seal, written and read strictly: what is read back gives the same bytes or is refused. The
signature is ECDSA with SHA-256 over the text; its key id is the first four bytes of the SHA-256 of the key's
SubjectPublicKeyInfo (C2SP signature type 0x02). A tree here is one seal's observations, not all there ever were, so
the lines after the root say which ones, and which seal came before (docs/decisions/0011).

    everyhop/shop.internal/demo/record                 whose seal it is: trust domain, environment, stream
    60                                                 how many observations
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=       their Merkle tree hash (RFC 6962)
    seal 12
    observations 661-720
    previous HcmgtmwYtJ3tXW0Lq4l3d7oPBz0bTkKiyqt2r1VGqQo=
    at 2026-11-22T20:40:00.123456+00:00

    — everyhop/shop.internal/demo/record Az3grlgtzPICa5OS...
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from everyhop.core.observation import Stream

_TEXT = re.compile(
    r"(?P<origin>everyhop/[a-z0-9.-]{1,255}/[A-Za-z0-9._-]{1,128}/(?P<stream>detail|record))\n"
    r"(?P<size>[1-9][0-9]{0,17})\n"
    r"(?P<root>[A-Za-z0-9+/]{43}=)\n"
    r"seal (?P<number>[1-9][0-9]{0,17})\n"
    r"observations (?P<first>[1-9][0-9]{0,17})-(?P<last>[1-9][0-9]{0,17})\n"
    r"previous (?P<previous>none|[A-Za-z0-9+/]{43}=)\n"
    r"at (?P<at>[0-9T:.+-]{1,40})\n"
)
_SIGNATURE = re.compile(r"\n— (?P<name>[^\s+]{1,500}) (?P<signature>[A-Za-z0-9+/]{1,400}={0,2})\n")
_NONE = "none"


@dataclass(frozen=True, slots=True)
class SealText:
    """What a seal says, before it is signed."""

    origin: str
    """``everyhop/<trust domain>/<environment>/<stream>``: also the name of the key that signs."""
    number: int
    first: int
    last: int
    root: bytes
    previous: bytes
    """SHA-256 of the note before; empty for the first seal."""
    at: datetime

    @property
    def stream(self) -> Stream:
        """The stream whose observations it covers."""
        return Stream(self.origin.rpartition("/")[2])

    def text(self) -> str:
        """The note's text, its last newline included."""
        lines = (
            self.origin,
            str(self.last - self.first + 1),
            _base64(self.root),
            f"seal {self.number}",
            f"observations {self.first}-{self.last}",
            f"previous {_base64(self.previous) if self.previous else _NONE}",
            f"at {self.at.astimezone(UTC).isoformat(timespec='microseconds')}",
        )
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A seal's text, and one signature over it."""

    seal: SealText
    key_id: bytes
    """Four bytes that tell which key it was; they prove nothing."""
    signature: bytes
    """ECDSA, DER."""

    def to_bytes(self) -> bytes:
        """The whole note."""
        return f"{self.seal.text()}\n— {self.seal.origin} {_base64(self.key_id + self.signature)}\n".encode()


def origin_of(trust_domain: str, environment: str, stream: Stream) -> str:
    """The first line of a stream's seals."""
    return f"everyhop/{trust_domain}/{environment}/{stream.value}"


def key_id_of(public_key: bytes) -> bytes:
    """The key id of a SubjectPublicKeyInfo (DER)."""
    return hashlib.sha256(public_key).digest()[:4]


def digest_of(note: bytes) -> bytes:
    """What the next seal says of this one."""
    return hashlib.sha256(note).digest()


def read_text(text: str) -> SealText:
    """Read a seal's text; raises ``ValueError`` for anything that :meth:`SealText.text` would not have written."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError("expected the lines of a seal, got others")
    previous = found["previous"]
    seal = SealText(
        found["origin"],
        int(found["number"]),
        int(found["first"]),
        int(found["last"]),
        _from_base64(found["root"]),
        b"" if previous == _NONE else _from_base64(previous),
        datetime.fromisoformat(found["at"]),
    )
    if seal.at.tzinfo is None or seal.text() != text:
        raise ValueError("expected a seal's text as everyhop writes it, got another spelling")
    return seal


def read_note(note: bytes) -> SignedNote:
    """Read a signed note; raises ``ValueError`` unless writing it again gives the same bytes."""
    text, newline, rest = note.decode().partition("\n\n")
    found = _SIGNATURE.fullmatch(newline[1:] + rest)
    if found is None:
        raise ValueError("expected one signature line below a seal's text")
    signature = _from_base64(found["signature"])
    read = SignedNote(read_text(text + "\n"), signature[:4], signature[4:])
    if read.to_bytes() != note:
        raise ValueError("expected a signature line as everyhop writes it, got another spelling")
    return read


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("expected base64") from error
