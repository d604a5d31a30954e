"""The kernel's list of TCP sockets as text, where netlink is not to be had (some sandboxes).

Rules: a line that is not as proc_pid_net(5) describes it is left out, never guessed; the same sockets as
:mod:`.sock_diag` gives, ten times slower.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from everyhop.drivers.host.sock_diag import LIMIT, STATES, entry
from everyhop.ports import Socket

_LINE = re.compile(
    r"\s*\d+: "
    r"(?P<host>[0-9A-F]{8}|[0-9A-F]{32}):(?P<port>[0-9A-F]{4}) "
    r"(?P<remote_host>[0-9A-F]{8}|[0-9A-F]{32}):(?P<remote_port>[0-9A-F]{4}) "
    r"(?P<state>[0-9A-F]{2}) "
    r"\S+ \S+ \S+ +(?P<uid>\d{1,10}) +\d+ (?P<inode>\d{1,20})\s"
)


def dump() -> list[Socket]:
    """Every TCP socket over IPv4 and IPv6, without its process. Blocks. Raises ``OSError`` if neither can be read."""
    with Path("/proc/net/tcp").open(encoding="ascii", errors="replace") as file:
        found = list(islice(parse(file), LIMIT))
    try:
        with Path("/proc/net/tcp6").open(encoding="ascii", errors="replace") as file:
            found += islice(parse(file), LIMIT - len(found))
    except FileNotFoundError:  # a kernel without IPv6
        pass
    return found


def parse(lines: Iterable[str]) -> Iterator[Socket]:
    """The sockets in these lines."""
    for line in lines:
        read = _LINE.match(line)
        if read is None or not 0 < int(read["state"], 16) < len(STATES):
            continue
        if len(read["host"]) != len(read["remote_host"]):
            continue
        yield entry(
            _network_order(read["host"]),
            bytes.fromhex(read["port"]),
            _network_order(read["remote_host"]),
            bytes.fromhex(read["remote_port"]),
            int(read["state"], 16),
            int(read["uid"]),
            int(read["inode"]),
        )


def _network_order(words: str) -> bytes:
    """The kernel prints addresses as words of 32 bits, each in the machine's own order."""
    each = (int(words[at : at + 8], 16) for at in range(0, len(words), 8))
    return b"".join(word.to_bytes(4, sys.byteorder) for word in each)
