"""The kernel's list of TCP sockets by netlink: quick, exact, and open to every user.

Rules: what the kernel sends is read as bytes from a stranger: nothing is indexed before its length was checked, and
how many sockets are taken is bounded. Only sockets of our own network namespace can be seen. No byte of any connection
is read. Source: sock_diag(7), netlink(7), linux/inet_diag.h.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator

from everyhop.core.hop import Address
from everyhop.ports import Socket

LIMIT = 200_000
"""Sockets: more than any machine of the size that this program is for; a list without end stops here."""

STATES = (
    "",
    "established",
    "syn-sent",
    "syn-recv",
    "fin-wait-1",
    "fin-wait-2",
    "time-wait",
    "close",
    "close-wait",
    "last-ack",
    "listen",
    "closing",
    "new-syn-recv",
)
"""The kernel's states by number (net/tcp_states.h)."""
LISTEN = STATES.index("listen")

# Constants of Linux that Python's socket module does not name.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x0301
_ERROR, _DONE = 2, 3
_EVERY_STATE = (1 << len(STATES)) - 2
_CONNECTED = 1 << STATES.index("established") | 1 << STATES.index("close-wait")

_HEADER = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port."""
_REQUEST = struct.Struct("=BBBxI2x2s44x")
"""inet_diag_req_v2: family, protocol, extensions, states; and of the socket only the other end's port, or zero."""
_MESSAGE = struct.Struct("=BBxx2s2s16s16s12xIIIII")
"""inet_diag_msg: family, state, ports, addresses; then expires, queues, uid and inode."""

_BLOCK = 1 << 18
_SECONDS = 2.0


def dump() -> list[Socket]:
    """Every TCP socket over IPv4 and IPv6, without its process. Blocks, for milliseconds. Raises ``OSError``."""
    return [one for family in (socket.AF_INET, socket.AF_INET6) for one in _ask(family)]


def calling(port: int) -> list[Socket]:
    """The sockets that are connected to a port, and still held by somebody. Blocks, for less than a millisecond."""
    families = (socket.AF_INET, socket.AF_INET6)
    return [one for family in families for one in _ask(family, port=port, states=_CONNECTED) if one.inode]


def _ask(family: socket.AddressFamily, *, port: int = 0, states: int = _EVERY_STATE) -> list[Socket]:
    found: list[Socket] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as asking:
        asking.settimeout(_SECONDS)
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, states, port.to_bytes(2, "big"))
        asking.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + request)
        while True:
            datagram, _, flags, sender = asking.recvmsg(_BLOCK)
            if sender[0] != 0:  # not the kernel
                continue
            if flags & socket.MSG_TRUNC:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            sockets, ended = parse(datagram)
            found += sockets
            if ended or len(found) >= LIMIT:
                return found[:LIMIT]


def parse(datagram: bytes) -> tuple[list[Socket], bool]:
    """The sockets in one datagram of the answer, and whether the answer ends with it; what is malformed or of another
    kind is left out. Raises ``OSError`` if the kernel refuses."""
    found: list[Socket] = []
    for kind, body in _messages(datagram):
        if kind == _ERROR:
            code = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else errno.EPROTO
            raise OSError(code, os.strerror(code) if 0 < code < 4096 else "an unknown fault")
        if kind == _DONE:
            return found, True
        one = _socket(body) if kind == _SOCK_DIAG_BY_FAMILY else None
        if one is not None:
            found.append(one)
    return found, False


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, *_ = _HEADER.unpack_from(datagram, at)
        if length < _HEADER.size or at + length > len(datagram):
            return
        yield kind, datagram[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _socket(body: bytes) -> Socket | None:
    if len(body) < _MESSAGE.size:
        return None
    family, state, port, remote_port, host, remote_host, _, _, _, uid, inode = _MESSAGE.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6) or not 0 < state < len(STATES):
        return None
    size = 4 if family == socket.AF_INET else 16
    return entry(host[:size], port, remote_host[:size], remote_port, state, uid, inode)


def entry(host: bytes, port: bytes, remote_host: bytes, remote_port: bytes, state: int, uid: int, inode: int) -> Socket:
    """One socket as the kernel lists it: addresses in network order, ``state`` a place in :data:`STATES`."""
    remote = None if state == LISTEN else _address(remote_host, remote_port)
    return Socket(_address(host, port), remote, STATES[state], uid, inode=inode)


def _address(host: bytes, port: bytes) -> Address:
    """An IPv4 connection that an IPv6 socket took is one over IPv4 (RFC 4291, 2.5.5.2)."""
    ip = ipaddress.ip_address(host)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return Address(str(mapped or ip), int.from_bytes(port, "big"))
