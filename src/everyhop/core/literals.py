"""How single values are written in a topology file: durations, dates, addresses, ports, names, shares, hops.

Rules: a literal is read by one function that returns the value or raises :func:`misfit` with what was expected and a
way out; it also takes the finished value, so that code can build models. Readers never see where the value stands.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from everyhop.core.hop import Address, Hop
from everyhop.core.identity import TrustDomain
from everyhop.core.placeholders import DATA


def misfit(expected: str, hint: str, *, got: str = "") -> PydanticCustomError:
    """The error of a value that is not what was expected; ``got`` replaces the usual description of the value."""
    return PydanticCustomError("misfit", "{expected}", {"expected": expected, "hint": hint, "got": got})


@dataclass(frozen=True, slots=True, eq=False)
class Spelling:
    """One way to write a value: its reader, its writer, and its JSON Schema for editors. Goes into ``Annotated``."""

    read: Callable[[object], object]
    schema: Mapping[str, object]
    write: Callable[[Any], str] | None = str
    """None for what JSON can hold as it is."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's hook: validate with ``read``, serialise with ``write``."""
        writer = None
        if self.write:
            text_schema = core_schema.str_schema()
            writer = core_schema.plain_serializer_function_ser_schema(self.write, return_schema=text_schema)
        return core_schema.no_info_plain_validator_function(self.read, serialization=writer)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Pydantic's hook: the schema as it stands."""
        return dict(self.schema)


# --- texts and names ------------------------------------------------------------------------------------------

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_LABEL_SCHEMA = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
_RESERVED = ("edge", "client", "everyhop")
_DNS_NAME = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_HTTP_PATH = re.compile(r"/[!-\"$-~]{0,1023}\Z")
_LONGEST_LINE = 1024
_LONGEST = 65_536
"""Half of what Linux takes as one argument or variable (execve(2), MAX_ARG_STRLEN)."""


def text(expected: str = "a text", *, lines: bool = False) -> Spelling:
    """A line of printable characters that is not empty; with ``lines`` a text of any number of lines, or none."""
    longest = _LONGEST if lines else _LONGEST_LINE

    def read(value: object) -> str:
        if not isinstance(value, str):
            hint = "put quotes around it" if isinstance(value, bool | int | float) else "write a single text here"
            raise misfit(expected, hint)
        if len(value) > longest:
            raise misfit(f"{expected} of at most {longest} characters", "put long values in a file and name the file")
        shown = value.replace("\n", "").replace("\t", "") if lines else value
        if not shown.isprintable() or not (lines or value.strip()):
            raise misfit(expected, "write printable characters" if lines else "write at least one printable character")
        return value

    return Spelling(read, {"type": "string", "maxLength": longest} | ({} if lines else {"minLength": 1}))


def _read_label(value: object) -> str:
    if not isinstance(value, str) or not _LABEL.match(value):
        raise misfit(
            "a name of lower-case letters, digits and hyphens",
            "at most 63, beginning and ending with a letter or digit",
        )
    return value


_LONGEST_SERVICE = 57
"""With ``envoy-`` before it a name is still a label of at most 63 characters."""


def _read_service_name(value: object) -> str:
    name = _read_label(value)
    if name in _RESERVED or name.startswith(("everyhop-", "envoy-")):
        hint = "edge, client, everyhop, everyhop-... and envoy-... belong to everyhop itself"
        raise misfit("a name that is not reserved", hint)
    if len(name) > _LONGEST_SERVICE:
        raise misfit(f"a name of at most {_LONGEST_SERVICE} characters", "its proxy is called envoy- and its name")
    return name


def _read_dns_name(value: object) -> str:
    if not isinstance(value, str) or not _DNS_NAME.match(value):
        raise misfit("a DNS name in lower case", "for example shop.internal; write other scripts in their xn-- form")
    return value


def _read_host(value: object) -> str:
    name = value.removeprefix("*.") if isinstance(value, str) else ""
    if not _DNS_NAME.match(name):
        raise misfit("a DNS name in lower case, or *. and one", "for example shop.example or *.shop.example")
    return str(value)


def _read_variable(value: object) -> str:
    if not isinstance(value, str) or not _VARIABLE.match(value):
        raise misfit("the name of an environment variable", "letters, digits and _, beginning with a letter or _")
    return value


def _read_http_path(value: object) -> str:
    if not isinstance(value, str) or not _HTTP_PATH.match(value):
        raise misfit("a path that begins with /", "for example /healthz, without host or fragment")
    return value


def _read_trust_domain(value: object) -> TrustDomain:
    if isinstance(value, TrustDomain):
        return value
    return TrustDomain(_read_dns_name(value))


LABEL = Spelling(_read_label, _LABEL_SCHEMA)
SERVICE_NAME = Spelling(
    _read_service_name, {**_LABEL_SCHEMA, "not": {"pattern": "^(edge|client|everyhop(-.*)?|envoy-.*)$"}}
)
DNS_NAME = Spelling(_read_dns_name, {"type": "string", "format": "hostname"})
HOST = Spelling(_read_host, {"type": "string", "pattern": r"^(\*\.)?[a-z0-9.-]+$"})
VARIABLE = Spelling(_read_variable, {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"})
HTTP_PATH = Spelling(_read_http_path, {"type": "string", "pattern": "^/[^# ]*$"})
TRUST_DOMAIN = Spelling(_read_trust_domain, {"type": "string", "format": "hostname"})


# --- addresses and hops ---------------------------------------------------------------------------------------

_TCP = re.compile(r"(\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>[0-9.]+|localhost)):(?P<port>[0-9]{1,5})\Z")
_SOCKET = re.compile(rf"unix:({re.escape(DATA)}|)(/[^/\0{{}}]+)+\Z")
_HOP = re.compile(r"\s*([a-z0-9-]{1,63})\s*->\s*([a-z0-9-]{1,63})\s*\Z")


def _tcp(value: str) -> Address | None:
    """An address of an IP literal and a port in its usual spelling, or None. ``localhost`` means 127.0.0.1."""
    found = _TCP.match(value)
    if not found or not 1 <= int(found["port"]) <= 65535:
        return None
    host = (found["six"] or found["four"]).replace("localhost", "127.0.0.1")
    try:
        ip = ipaddress.IPv6Address(host) if found["six"] else ipaddress.IPv4Address(host)
    except ValueError:
        return None
    return Address(host=str(ip), port=int(found["port"]))


def _read_tcp(value: object) -> Address:
    address = value if isinstance(value, Address) and not value.path else None
    if isinstance(value, str):
        address = _tcp(value)
    if address is None:
        raise misfit("an IP address and a port", "for example 127.0.0.1:8443, [::1]:8443 or 0.0.0.0:443")
    return address


def _read_address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    if isinstance(value, str) and value.startswith("unix:"):
        steps = value.removeprefix("unix:").split("/")
        if not _SOCKET.match(value) or "." in steps or ".." in steps or not value.isprintable():
            raise misfit("unix: and an absolute path", "for example unix:/run/web.sock or unix:{data}/web.sock")
        if len(value.removeprefix("unix:").encode()) > 107:
            raise misfit("a socket path of at most 107 bytes", "the system allows no longer one: use a shorter path")
        return Address(path=value.removeprefix("unix:"))
    address = _tcp(value) if isinstance(value, str) else None
    if address is None:
        raise misfit(
            "an IP address and a port, or unix: and a path", "for example 127.0.0.1:8081 or unix:{data}/web.sock"
        )
    return address


def _read_hop(value: object) -> Hop:
    if isinstance(value, Hop):
        return value
    found = _HOP.match(value) if isinstance(value, str) else None
    if not found:
        raise misfit("a hop", "write it as caller -> callee, for example web -> metrics")
    return Hop(found[1], found[2])


_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_OURS = ("connection", "content-", "expect", "host", "proxy-", "te", "trailer", "transfer-encoding", "upgrade")
"""What begins the names of headers that belong to HTTP itself."""


def _read_header(value: object) -> str:
    name = value.lower() if isinstance(value, str) and _HEADER.match(value) else ""
    if not name:
        raise misfit("the name of an HTTP header", "letters, digits and hyphens, for example authorization")
    if name.startswith(tuple(one for one in _OURS if one.endswith("-"))) or name in _OURS:
        raise misfit("a header that may be chosen", f"{name} belongs to HTTP itself")
    return name


_URL = re.compile(r"(?P<scheme>https?)://(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[!-~]*)?\Z")
_HERE = ("localhost", "[::1]")
_LOOPBACK = re.compile(r"127(\.[0-9]{1,3}){3}\Z")
"""An address, and not a name that begins like one."""
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})\Z")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}\Z")


def _read_url(value: object) -> str:
    found = _URL.match(value) if isinstance(value, str) else None
    if not found:
        raise misfit("a URL that begins with https://", "for example https://hooks.example/everyhop, without user")
    here = found["host"] in _HERE or _LOOPBACK.match(found["host"])
    if found["scheme"] == "http" and not here:
        raise misfit("an https URL", "http is for receivers on this machine only, such as http://127.0.0.1:9000/")
    return found.string


def _read_base_url(value: object) -> str:
    url = _read_url(value).rstrip("/")
    if "?" in url or "#" in url or url.endswith(("/v1/metrics", "/v1/traces")):
        raise misfit("a URL without query or path of a signal", "/v1/metrics and /v1/traces are added to it")
    return url


def _read_host_port(value: object) -> str:
    found = _HOST_PORT.match(value) if isinstance(value, str) else None
    if not found or not 1 <= int(found[2]) <= 65535:
        raise misfit("a host and a port", "for example mail.example:587")
    return found.string


def is_email(text: str) -> bool:
    """Whether a text is a plain mail address (RFC 5321, without quoted local parts)."""
    return _EMAIL.match(text) is not None


def _read_email(value: object) -> str:
    if not isinstance(value, str) or not is_email(value):
        raise misfit("a mail address", "for example everyhop@shop.example")
    return value


URL = Spelling(_read_url, {"type": "string", "format": "uri", "pattern": "^https?://"})
BASE_URL = Spelling(_read_base_url, {"type": "string", "format": "uri", "pattern": "^https?://"})
HEADER = Spelling(_read_header, {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"})
HOST_PORT = Spelling(_read_host_port, {"type": "string", "pattern": "^.+:[0-9]{1,5}$"})
EMAIL = Spelling(_read_email, {"type": "string", "format": "email"})

ADDRESS = Spelling(
    _read_address,
    {"type": "string", "pattern": r"^(unix:(\{data\})?/.+|(\[[0-9a-fA-F:.]+\]|[0-9.]+|localhost):[0-9]{1,5})$"},
)
TCP_ADDRESS = Spelling(_read_tcp, {"type": "string", "pattern": r"^(\[[0-9a-fA-F:.]+\]|[0-9.]+|localhost):[0-9]{1,5}$"})
HOP = Spelling(_read_hop, {"type": "string", "pattern": r"^\s*[a-z0-9-]+\s*->\s*[a-z0-9-]+\s*$"})


# --- ports ----------------------------------------------------------------------------------------------------

_PORTS = re.compile(r"([0-9]{1,5})-([0-9]{1,5})\Z")
_LOWEST_PORT, _HIGHEST_PORT = 1024, 65535


def _read_ports(value: object) -> range:
    if isinstance(value, range):
        return value
    found = _PORTS.match(value) if isinstance(value, str) else None
    if not found:
        raise misfit("a band of ports", "the first and the last one, both belong to it: for example 15400-16399")
    first, last = int(found[1]), int(found[2])
    if min(first, last) < _LOWEST_PORT or max(first, last) > _HIGHEST_PORT:
        hint = "lower ports are for root, higher ones do not exist: for example 15400-16399"
        raise misfit(f"ports from {_LOWEST_PORT} to {_HIGHEST_PORT}", hint)
    if last < first:
        raise misfit("the lower port first", f"write {last}-{first}")
    return range(first, last + 1)


def format_ports(band: range) -> str:
    """How a band of ports is written: its first and its last port, as in ``15400-16399``."""
    return f"{band.start}-{band.stop - 1}"


PORTS = Spelling(_read_ports, {"type": "string", "pattern": "^[0-9]{4,5}-[0-9]{4,5}$"}, format_ports)


# --- time and numbers -----------------------------------------------------------------------------------------

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PIECE = r"[0-9]{1,9}(?:ms|[dhms])"
_DURATION = re.compile(rf"{_PIECE}(?:\s?{_PIECE})*\Z")


def parse_duration(written: str) -> timedelta:
    """Read ``90d``, ``1h30m`` or ``500ms``; raises ``ValueError`` for anything else, a unit given twice included."""
    pieces = re.findall(r"([0-9]+)(ms|[dhms])", written) if _DURATION.match(written) else []
    units = [unit for _, unit in pieces]
    if not pieces or units != sorted(set(units), key=list(_UNITS).index):
        raise ValueError("expected a duration such as 90d, 24h, 1h30m, 5s or 500ms")
    try:
        return sum((int(number) * _UNITS[unit] for number, unit in pieces), timedelta())
    except OverflowError:
        raise ValueError("expected a duration of less than a million years") from None


def format_duration(length: timedelta) -> str:
    """The shortest way to write a duration: ``90d``, ``1h30m``. Parts of a millisecond are dropped."""
    pieces: list[str] = []
    for unit, size in _UNITS.items():
        number, length = divmod(length, size)
        if number:
            pieces.append(f"{number}{unit}")
    return "".join(pieces) or "0s"


def duration(low: str, high: str) -> Spelling:
    """A duration within bounds, both allowed."""
    lowest, highest = parse_duration(low), parse_duration(high)

    def read(value: object) -> timedelta:
        length = value if isinstance(value, timedelta) else None
        if isinstance(value, str):
            try:
                length = parse_duration(value)
            except ValueError:
                length = None
        if length is None:
            raise misfit("a duration", "a number and a unit: 90d, 24h, 1h30m, 5s or 500ms")
        if not lowest <= length <= highest:
            raise misfit(f"a duration from {low} to {high}", "choose one within these bounds")
        return length

    schema = {"type": "string", "pattern": rf"^{_PIECE}(?:\s?{_PIECE})*$"}
    return Spelling(read, schema, format_duration)


def share(low: float, high: float, *, open_ends: bool = False) -> Spelling:
    """A number within bounds; with ``open_ends`` strictly between them."""
    between = f"a number between {low:g} and {high:g}"

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise misfit(between, "it is a share of the lifetime: 0.5 is half of it")
        if not (low < value < high if open_ends else low <= value <= high):
            raise misfit(between, "it is a share of the lifetime: 0.5 is half of it")
        return float(value)

    bounds = ("exclusiveMinimum", "exclusiveMaximum") if open_ends else ("minimum", "maximum")
    return Spelling(read, {"type": "number", bounds[0]: low, bounds[1]: high}, None)


def ratio() -> Spelling:
    """A number from 0 to 1."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise misfit("a number from 0 to 1", "a ratio: 0.999 is 99.9 of 100")
        return float(value)

    return Spelling(read, {"type": "number", "minimum": 0, "maximum": 1}, None)


def _read_version(value: object) -> int:
    if type(value) is not int or value != 1:
        raise misfit("1, the version of the language", "this everyhop reads version 1; write everyhop: 1")
    return value


def _read_date(value: object) -> date:
    if isinstance(value, date):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise misfit("a day that exists", "write it as year-month-day, for example 2027-03-01") from None
    raise misfit("a date", "write it as year-month-day, for example 2027-03-01")


DATE = Spelling(_read_date, {"type": "string", "format": "date"}, date.isoformat)
VERSION = Spelling(_read_version, {"const": 1}, None)
