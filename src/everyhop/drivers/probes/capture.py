"""What really goes over the loopback interface: evidence from outside of every proxy and application.

Rules: only TCP of the given ports is taken, sorted out by a filter in the kernel; memory is bounded, and what was
lost or not kept is said (:attr:`Capture.complete`), because "the marker was not seen" is worth nothing otherwise.
Payloads stay in memory and are gone with the object. Needs CAP_NET_RAW. On ``lo`` the kernel shows every packet
twice, leaving and arriving; the filter drops the leaving one.

Source: packet(7), socket(7) SO_ATTACH_FILTER, the classic BPF of the kernel's networking/filter.rst.
"""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import TracebackType

from everyhop.drivers.probes.streams import Run, Stream
from everyhop.errors import EveryhopError

LIMIT = 64 << 20
"""Bytes of memory for what is kept: minutes of the traffic of a demonstration."""

_INTERFACE = "lo"
_LARGEST_PACKET = 1 << 19
_KERNEL_BUFFER = 16 << 20
_PACKETS_AT_ONCE = 500
_COST_OF_PIECE = 160
_COST_OF_STREAM = 1024

# Constants of Linux that Python's socket module does not name.
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_ETH_P_ALL = 0x0003
_ANCILLARY_PACKET_TYPE = 0xFFFFF000 + 4

_Step = tuple[int, int, int, int]
"""One step of a BPF program: operation, steps to skip if true, if false, operand."""

_GIVE = 0x06
_DROP: _Step = (_GIVE, 0, 0, 0)

_SYN = 0x02
_Ends = tuple[bytes, int, bytes, int]


@dataclass(frozen=True, slots=True)
class PortTraffic:
    """What was seen of one port: ``streams`` are directions of connections that carried bytes."""

    port: int
    bytes_seen: int
    streams: int
    tls_streams: int
    """How many of them were TLS records and nothing else."""

    @property
    def is_tls(self) -> bool:
        """True if bytes were seen and all of them were in TLS records."""
        return 0 < self.streams == self.tls_streams


class Capture:
    """``async with Capture(ports=[8443]) as capture:``, and afterwards ask it. Needs CAP_NET_RAW."""

    def __init__(self, *, ports: Collection[int], limit: int = LIMIT, ignored: Collection[str] = ()) -> None:
        """``limit`` bounds the memory for what is kept, in bytes; what comes from and goes to the addresses ``ignored``
        is not kept (our own probes speak plaintext to be refused). Raises ``ValueError`` unless there are between 1 and
        500 ports."""
        self._ignored = frozenset(ipaddress.ip_address(one).packed for one in ignored)
        self._ports = frozenset(ports)
        if not 1 <= len(self._ports) <= 500:
            raise ValueError(f"expected from 1 to 500 ports to capture, got {len(self._ports)}")
        self._left = limit
        self._bytes = dict.fromkeys(self._ports, 0)
        self._streams: list[tuple[_Ends, Stream]] = []
        self._open: dict[_Ends, Stream] = {}
        self._lost = 0
        self._kept_all = True
        self._socket: socket.socket | None = None
        self._buffer = bytearray(_LARGEST_PACKET)

    async def __aenter__(self) -> Capture:
        """Begin. Raises ``('probe-failed')`` if this process may not capture."""
        self._socket = _packet_socket(self._ports)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End: what has arrived by now is still taken."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        _attach(self._socket, [_DROP])  # or on a busy port the rest would never end
        while self._read():
            pass
        _, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._lost += dropped
        self._socket.close()
        self._socket = None

    @property
    def lost(self) -> int:
        """Packets that the kernel could not keep for us; known when the capture has ended."""
        return self._lost

    @property
    def complete(self) -> bool:
        """True if nothing of the ports' traffic was lost or left out: only then absence is evidence."""
        return self._kept_all and not self._lost

    def port(self, port: int) -> PortTraffic:
        """What was seen of a port."""
        verdicts = [
            all(run.is_tls for run in runs)
            for ends, stream in self._streams
            if port in (ends[1], ends[3]) and (runs := stream.runs())
        ]
        return PortTraffic(port, self._bytes.get(port, 0), len(verdicts), sum(verdicts))

    def contains(self, marker: bytes) -> bool:
        """True if these bytes were sent in the clear over any of the ports, also when split over packets."""
        return any(marker in run.data for _, stream in self._streams for run in stream.runs())

    def conversations(self) -> Iterator[tuple[_Ends, list[Run]]]:
        """Each direction of each connection that carried bytes: its ends (source and target), and what was seen."""
        return ((ends, runs) for ends, stream in self._streams if (runs := stream.runs()))

    def _read(self) -> bool:
        """Take what has arrived, but let others have their turn; True if there may be more."""
        if self._socket is None:
            return False
        view = memoryview(self._buffer)
        for _ in range(_PACKETS_AT_ONCE):
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                return False
            self._take(view[:size])
        return True

    def _take(self, packet: memoryview) -> None:
        """Sort a packet in. The filter has seen to it that it is TCP over IPv4 or IPv6 of one of our ports."""
        if packet[0] >> 4 == 4:
            start, addresses = (packet[0] & 0xF) * 4, packet[12:20]
            end = int.from_bytes(packet[2:4], "big") or len(packet)  # 0: a packet larger than its length field
        else:
            start, addresses = 40, packet[8:40]
            length = int.from_bytes(packet[4:6], "big")
            end = start + length if length else len(packet)
        tcp = packet[start:end]
        if len(tcp) < 20:
            return
        half = len(addresses) // 2
        source, target, sequence = struct.unpack_from("!HHI", tcp)
        ends = bytes(addresses[:half]), source, bytes(addresses[half:]), target
        if ends[0] in self._ignored or ends[2] in self._ignored:
            return
        self._keep(ends, sequence, bool(tcp[13] & _SYN), bytes(tcp[(tcp[12] >> 4) * 4 :]))

    def _keep(self, ends: _Ends, sequence: int, begins: bool, payload: bytes) -> None:
        for port in {ends[1], ends[3]} & self._ports:
            self._bytes[port] += len(payload)
        if begins:
            sequence = (sequence + 1) % (1 << 32)  # the SYN itself counts for one
        stream = self._open.get(ends)
        renewed = begins and stream is not None and stream.beginning != sequence
        if (stream is None or renewed) and (begins or payload):
            if not self._afford(_COST_OF_STREAM):
                return
            stream = self._open[ends] = Stream(sequence if begins else None)
            self._streams.append((ends, stream))
        if stream is not None and payload and self._afford(_COST_OF_PIECE + len(payload)):
            stream.add(sequence, payload)

    def _afford(self, cost: int) -> bool:
        """True if there is memory left for this; from the first time that there is not, the capture is incomplete."""
        self._kept_all = self._kept_all and cost <= self._left
        self._left -= cost if self._kept_all else 0
        return self._kept_all


def _packet_socket(ports: Collection[int]) -> socket.socket:
    """A non-blocking socket that hears the ports' packets, each from its IP header on."""
    try:
        hearing = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)  # protocol 0: deaf until it is bound
    except OSError as error:
        raise EveryhopError(
            "probe-failed",
            f"expected the right to capture on the loopback interface, got {(error.strerror or 'a refusal').lower()}",
            hint="run it as root or with CAP_NET_RAW; all else works without",
        ) from None
    try:
        hearing.setblocking(False)
        try:
            hearing.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _KERNEL_BUFFER)
        except PermissionError:  # needs CAP_NET_ADMIN: then as much as the system allows
            hearing.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER)
        _attach(hearing, _filter(ports))
        hearing.bind((_INTERFACE, _ETH_P_ALL))
    except OSError as error:
        hearing.close()
        raise EveryhopError(
            "probe-failed", f"expected to capture on the loopback interface, got {(error.strerror or '?').lower()}"
        ) from None
    return hearing


def _attach(hearing: socket.socket, program: list[_Step]) -> None:
    """Have the kernel run a BPF program on every packet from now on."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    attachment = struct.pack("HL", len(program), ctypes.addressof(code))
    hearing.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attachment)


def _filter(ports: Collection[int]) -> list[_Step]:
    """The program that takes TCP of these ports; it sees packets from their IP header on."""
    load_word, load_half, load_byte, load_half_at_x = 0x20, 0x28, 0x30, 0x48
    set_x, set_x_to_ipv4_header_length, mask = 0x01, 0xB1, 0x54
    equal, any_bit, skip = 0x15, 0x45, 0x05
    drop, take = _DROP, (_GIVE, 0, 0, 0xFFFFFFFF)
    tcp, more_than_first_fragment = socket.IPPROTO_TCP, 0x1FFF
    ipv6 = [(load_byte, 0, 0, 6), (equal, 1, 0, tcp), drop, (set_x, 0, 0, 40)]
    ipv4 = [
        *((equal, 1, 0, 0x40), drop),
        *((load_byte, 0, 0, 9), (equal, 1, 0, tcp), drop),
        *((load_half, 0, 0, 6), (any_bit, 0, 1, more_than_first_fragment), drop),
        (set_x_to_ipv4_header_length, 0, 0, 0),
    ]
    either = [step for port in sorted(ports) for step in ((equal, 0, 1, port), take)]
    return [
        *((load_word, 0, 0, _ANCILLARY_PACKET_TYPE), (equal, 0, 1, socket.PACKET_OUTGOING), drop),
        *((load_byte, 0, 0, 0), (mask, 0, 0, 0xF0)),
        (equal, 0, len(ipv6) + 1, 0x60),
        *(*ipv6, (skip, 0, 0, len(ipv4))),
        *ipv4,
        *((load_half_at_x, 0, 0, 0), *either),
        *((load_half_at_x, 0, 0, 2), *either),
        drop,
    ]
