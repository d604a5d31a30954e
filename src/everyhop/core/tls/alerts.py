"""TLS alerts: what a server says when it refuses (IANA TLS Alerts registry; RFC 8446, 6 and RFC 5246, 7.2)."""

from __future__ import annotations

WARNING, FATAL = 1, 2
"""Levels. Since TLS 1.3 the level means nothing: every alert but two ends the connection."""

CLOSE_NOTIFY = 0
HANDSHAKE_FAILURE = 40
PROTOCOL_VERSION = 70

NAMES = {
    0: "close notify",
    10: "unexpected message",
    20: "bad record mac",
    21: "decryption failed",
    22: "record overflow",
    30: "decompression failure",
    40: "handshake failure",
    41: "no certificate",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "certificate revoked",
    45: "certificate expired",
    46: "certificate unknown",
    47: "illegal parameter",
    48: "unknown ca",
    49: "access denied",
    50: "decode error",
    51: "decrypt error",
    52: "too many cids requested",
    60: "export restriction",
    70: "protocol version",
    71: "insufficient security",
    80: "internal error",
    86: "inappropriate fallback",
    90: "user canceled",
    100: "no renegotiation",
    109: "missing extension",
    110: "unsupported extension",
    111: "certificate unobtainable",
    112: "unrecognized name",
    113: "bad certificate status response",
    114: "bad certificate hash value",
    115: "unknown psk identity",
    116: "certificate required",
    117: "general error",
    120: "no application protocol",
    121: "ech required",
}
"""Alert descriptions, as registered, with spaces."""


def alert_name(code: int) -> str:
    """``handshake failure`` for 40; an unknown alert as its number."""
    return NAMES.get(code, str(code))
