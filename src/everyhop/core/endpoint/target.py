"""What to look at: a host and port, the name to ask for, and what is registered to speak there.

Rules: a target that is written carelessly is refused with a sentence, never guessed. What a port speaks is taken from
what the user or the topology says, then from the port's registration (IANA), and is otherwise unknown: an unknown
port is asked politely and never sent an HTTP request first (Redis takes ``Host:`` for an attack).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum


class Wire(StrEnum):
    """What is spoken on a port, inside or before TLS."""

    HTTP = "http"
    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    SMTP = "smtp"
    IMAP = "imap"
    POP3 = "pop3"
    LDAP = "ldap"
    XMPP = "xmpp"
    FTP = "ftp"
    REDIS = "redis"
    MQTT = "mqtt"
    AMQP = "amqp"
    NATS = "nats"
    KAFKA = "kafka"
    MEMCACHED = "memcached"
    MONGODB = "mongodb"
    CASSANDRA = "cassandra"
    SSH = "ssh"
    TLS = "tls"
    """TLS from the first byte, and nothing is known of what is inside."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What IANA has registered for a port: what is spoken, and whether TLS comes first."""

    wire: Wire
    tls_first: bool = False


PORTS: dict[int, Registered] = {
    21: Registered(Wire.FTP),
    22: Registered(Wire.SSH),
    25: Registered(Wire.SMTP),
    80: Registered(Wire.HTTP),
    110: Registered(Wire.POP3),
    143: Registered(Wire.IMAP),
    389: Registered(Wire.LDAP),
    443: Registered(Wire.HTTP, tls_first=True),
    465: Registered(Wire.SMTP, tls_first=True),
    587: Registered(Wire.SMTP),
    636: Registered(Wire.LDAP, tls_first=True),
    990: Registered(Wire.FTP, tls_first=True),
    993: Registered(Wire.IMAP, tls_first=True),
    995: Registered(Wire.POP3, tls_first=True),
    1883: Registered(Wire.MQTT),
    3306: Registered(Wire.MYSQL),
    4222: Registered(Wire.NATS),
    5222: Registered(Wire.XMPP),
    5223: Registered(Wire.XMPP, tls_first=True),
    5269: Registered(Wire.XMPP),
    5432: Registered(Wire.POSTGRESQL),
    5671: Registered(Wire.AMQP, tls_first=True),
    5672: Registered(Wire.AMQP),
    6379: Registered(Wire.REDIS),
    8080: Registered(Wire.HTTP),
    8443: Registered(Wire.HTTP, tls_first=True),
    8883: Registered(Wire.MQTT, tls_first=True),
    9042: Registered(Wire.CASSANDRA),
    9092: Registered(Wire.KAFKA),
    11211: Registered(Wire.MEMCACHED),
    27017: Registered(Wire.MONGODB),
}
"""Registered ports (IANA Service Name and Transport Protocol Port Number Registry, and common practice)."""

_SCHEMES: dict[str, tuple[Wire, bool, int]] = {
    "https": (Wire.HTTP, True, 443),
    "http": (Wire.HTTP, False, 80),
    "postgres": (Wire.POSTGRESQL, False, 5432),
    "postgresql": (Wire.POSTGRESQL, False, 5432),
    "mysql": (Wire.MYSQL, False, 3306),
    "smtp": (Wire.SMTP, False, 25),
    "smtps": (Wire.SMTP, True, 465),
    "imap": (Wire.IMAP, False, 143),
    "imaps": (Wire.IMAP, True, 993),
    "pop3": (Wire.POP3, False, 110),
    "pop3s": (Wire.POP3, True, 995),
    "ldap": (Wire.LDAP, False, 389),
    "ldaps": (Wire.LDAP, True, 636),
    "xmpp": (Wire.XMPP, False, 5222),
    "ftp": (Wire.FTP, False, 21),
    "ftps": (Wire.FTP, True, 990),
    "redis": (Wire.REDIS, False, 6379),
    "rediss": (Wire.REDIS, True, 6379),
    "mqtt": (Wire.MQTT, False, 1883),
    "mqtts": (Wire.MQTT, True, 8883),
    "amqp": (Wire.AMQP, False, 5672),
    "amqps": (Wire.AMQP, True, 5671),
    "nats": (Wire.NATS, False, 4222),
    "kafka": (Wire.KAFKA, False, 9092),
    "memcached": (Wire.MEMCACHED, False, 11211),
    "mongodb": (Wire.MONGODB, False, 27017),
    "tls": (Wire.TLS, True, 443),
}


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint to look at."""

    host: str
    """A DNS name or an IP address (without brackets)."""
    port: int
    server_name: str = ""
    """What to ask for in SNI and to verify; empty: the host, if it is a name."""
    wire: Wire | None = None
    """What is spoken there, if anybody said so or the port is registered."""
    tls_first: bool | None = None
    """True: TLS from the first byte; False: the protocol's own upgrade, or none; None: find out."""
    service: str = ""
    """The service behind it, where the topology or a fleet file names it."""
    owner: str = ""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """The name to send and to verify: the server name, else the host if it is no IP address, else empty."""
        if self.server_name:
            return self.server_name
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.host
        return ""

    @classmethod
    def parse(cls, text: str, *, default_port: int = 443) -> Target:
        """Read ``host``, ``host:port``, ``[v6]:port`` or ``scheme://host[:port]`` (``postgres://db``, ``https://x``).

        Raises ``ValueError`` with a sentence saying what was expected.
        """
        if "@" in text:  # and it is not repeated: there may be a password before it
            raise ValueError("expected no user and no password in an endpoint, got an @")
        scheme, has_scheme, rest = text.strip().partition("://")
        if not has_scheme:
            scheme, rest = "", text.strip()
        known = _SCHEMES.get(scheme.lower())
        if scheme and known is None:
            raise ValueError(f"expected one of {', '.join(sorted(_SCHEMES))} before ://, got {scheme!r}")
        host, port_text = _split(rest.split("/", 1)[0] if known else rest, text)
        port = (known[2] if known else default_port) if port_text is None else _port(port_text, text)
        if known:
            return cls(host, port, wire=known[0], tls_first=known[1])
        registered = PORTS.get(port)
        if registered is None:
            return cls(host, port)
        return cls(host, port, wire=registered.wire, tls_first=registered.tls_first)


_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[^:]*))?\Z")
_LABEL = re.compile(r"(?!-)[\w-]{1,63}(?<!-)\Z")
"""A label of a name. Underscores are in use; letters of other alphabets are left to the resolver (IDNA)."""
_LONGEST_NAME = 253
"""Characters of a DNS name (RFC 1035, 2.3.4)."""


def _split(text: str, whole: str) -> tuple[str, str | None]:
    """Host and port, as they were written; no port is None."""
    if text.count(":") > 1 and _is_address(text, 6):  # a bare IPv6 address
        return text, None
    found = _ADDRESS.match(text)
    if found is None or not (_is_address(found["v6"], 6) if found["v6"] is not None else _is_host(found["host"])):
        raise ValueError(f"expected host, host:port, [IPv6]:port or scheme://host[:port], got {whole!r}")
    return found["v6"] or found["host"], found["port"]


def _is_host(text: str) -> bool:
    """True for an IPv4 address or a name. What ends in a number and is no address is neither: resolvers would make
    1.2.0.3 of 1.2.3."""
    labels = text.removesuffix(".").split(".")
    if labels[-1].isdigit():
        return _is_address(text, 4)
    return len(text) <= _LONGEST_NAME and all(map(_LABEL.match, labels))


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _port(text: str, whole: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not 1 <= int(text) <= 65535:
        raise ValueError(f"expected a port from 1 to 65535, got {text[:20]!r} in {whole!r}")
    return int(text)
