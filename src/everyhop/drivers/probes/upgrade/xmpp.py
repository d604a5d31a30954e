"""XMPP: a stream, its features, <starttls/>, <proceed/> (RFC 6120, 5).

Strangers' XML is searched for the few elements that matter and never parsed: no entity of theirs is expanded.
"""

from __future__ import annotations

import re
from html import escape

from everyhop.core.endpoint.target import Target
from everyhop.drivers.probes.dialogue import Channel, Dialogue, Garbled, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused

_TLS = b"urn:ietf:params:xml:ns:xmpp-tls"
_LONGEST = 16 << 10
_SERVERS_PORT = 5269

STARTTLS = re.compile(rb"<starttls\b[^>]*(?:/>|>(.*?)</starttls\s*>)", re.DOTALL)
"""The feature; its content says whether it is required."""
_FEATURES = re.compile(rb"<(?:\w+:)?features\s*/>|</(?:\w+:)?features\s*>")
_ERROR = re.compile(rb"</(?:\w+:)?error\s*>|</(?:\w+:)?stream\s*>")
_ANSWER = re.compile(rb"<(proceed|failure)\b[^>]*>")


class XmppUpgrade:
    """The dialogue for one domain: a server answers to the names that it serves."""

    def __init__(self, target: Target) -> None:
        """Ask for the target's name; port 5269 is where servers talk to servers."""
        self._target = target

    async def __call__(self, channel: Channel, /) -> None:
        """Ask for TLS. Raises ``UpgradeRefused`` if the server does not offer it or says no."""
        dialogue = Dialogue(channel)
        if not STARTTLS.search(await features(dialogue, self._target)):
            raise UpgradeRefused("stream features without starttls")
        await dialogue.say(b"<starttls xmlns='" + _TLS + b"'/>")
        answer = await until(dialogue, _ANSWER)
        found = _ANSWER.search(answer)
        if found is None or found[1] != b"proceed":
            raise UpgradeRefused(shown(answer))
        # The element may be <proceed></proceed>; TLS records begin with no '<'.
        if answer[found.end() :].strip() not in (b"", b"</proceed>"):
            raise Garbled("nothing behind the go-ahead for TLS", answer[found.end() :])


async def features(dialogue: Dialogue, target: Target) -> bytes:
    """Open a stream and read up to the end of its features. Raises ``UpgradeRefused`` with the stream's error,
    :class:`Garbled` if it is no XMPP server."""
    kind = b"server" if target.port == _SERVERS_PORT else b"client"
    name = escape(target.name or target.host).encode("utf-8", "replace")
    await dialogue.say(
        b"<?xml version='1.0'?><stream:stream to='" + name + b"' version='1.0' xmlns='jabber:" + kind + b"' "
        b"xmlns:stream='http://etherx.jabber.org/streams'>"
    )
    answer = await until(dialogue, _FEATURES)
    if not _FEATURES.search(answer):
        raise UpgradeRefused(shown(answer[answer.find(b"error") - 8 :]))
    return answer


async def until(dialogue: Dialogue, wanted: re.Pattern[bytes]) -> bytes:
    """Read until a pattern, or the end of a stream, is in what came."""
    answer = b""
    while not wanted.search(answer) and not _ERROR.search(answer):
        answer += await dialogue.some()
        if not b"<stream:".startswith(answer.lstrip()[:8]) and not answer.lstrip().startswith(b"<"):
            raise Garbled("an XMPP stream", answer)
        if len(answer) > _LONGEST:
            raise Garbled(f"an answer of at most {_LONGEST} bytes")
    return answer
