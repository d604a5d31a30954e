"""Words: how numbers, times and verdicts read on a page.

Rules: a duration is said in the unit a person would choose, a share is never rounded up to a whole, and what is not
known is said so. All times are UTC and say it. Pure: the moment is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from urllib.parse import urlsplit

from everyhop.core.hop import Posture
from everyhop.core.observation import Observation, Plain
from everyhop.core.sli.value import SliValue
from everyhop.core.verdict import Verdict
from everyhop.services.overview import Beside, HopView, Overview, Protection, Share

NONE = "–"


def span(time: timedelta) -> str:
    """A duration in one or two units: ``12 s``, ``4 min``, ``3 h 20 min``, ``26 days``."""
    seconds = int(abs(time.total_seconds()))
    if seconds < 100:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 100:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 12:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    if hours < 72:
        return f"{hours} h"
    days = hours // 24
    return f"{days} days" if days < 730 else f"{days // 365} years"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago, or in how long."""
    if moment is None:
        return "never"
    if abs(now - moment) < timedelta(seconds=1):
        return "just now"
    return f"{span(now - moment)} ago" if moment <= now else f"in {span(moment - now)}"


def clock(moment: datetime | None) -> str:
    """A moment to the second, in UTC."""
    return moment.strftime("%Y-%m-%d %H:%M:%S") if moment else NONE


def day(moment: date | None) -> str:
    """A day."""
    return f"{moment:%Y-%m-%d}" if moment else NONE


def percent(ratio: float | None) -> str:
    """A share in per cent, cut and never rounded up: 99.97 stays below 100. Near the whole it is told more finely."""
    if ratio is None:
        return NONE
    fine = 100 if abs(ratio) > 0.99 else 10
    return f"{math.floor(ratio * 100 * fine + 1e-6) / fine:g} %"


def share(of: Share) -> str:
    """A share as counts."""
    return f"{of.good} of {of.total}"


def measured(value: float | None, unit: str) -> str:
    """An indicator's value with its unit."""
    if value is None:
        return NONE
    if unit == "ratio":
        return percent(value)
    if unit == "seconds":
        return span(timedelta(seconds=value)) if value >= 10 else f"{value * 1000:.1f} ms"
    return f"{value:g}"


def indicator(value: SliValue) -> str:
    """An indicator's value."""
    return measured(value.value, value.unit)


def many(count: int, one: str, more: str = "") -> str:
    """A count with its noun: ``1 hop``, ``3 hops``."""
    return f"{count:,} {one if count == 1 else more or one + 's'}".replace(",", "\u202f")


def short_version(version: str) -> str:
    """``TLSv1.3`` as people write it."""
    return version.replace("TLSv", "TLS ")


def short_group(group: str) -> str:
    """A key exchange on little room: a hybrid by the part that makes it one."""
    return "ML-KEM" if "MLKEM" in group.upper() else group


def short_identity(identity: str) -> str:
    """An identity without its scheme."""
    return identity.removeprefix("spiffe://")


def sentence(found: Overview) -> str:
    """The whole in one sentence: what somebody reads aloud."""
    total, counts = len(found.hops), found.counts
    if not total:
        return "The topology has no hop yet."
    encrypted = counts[Protection.ENCRYPTED]
    parts = [f"All {total} hops are encrypted" if encrypted == total else f"{encrypted} of {total} hops are encrypted"]
    for protection, one, more in (
        (Protection.PLAINTEXT, "is not", "are not"),
        (Protection.WEAK, "is weaker than wanted", "are weaker than wanted"),
        (Protection.UNKNOWN, "is unknown", "are unknown"),
        (Protection.EXEMPT, "is exempt", "are exempt"),
        (Protection.CARRIED, "is carried unopened", "are carried unopened"),
    ):
        if counts[protection]:
            parts.append(f"{counts[protection]}\u00a0{one if counts[protection] == 1 else more}")
    text = ", ".join(parts)
    flows = len(found.plaintext_flows)
    if flows:
        return f"{text}. {many(flows, 'flow goes', 'flows go')} past the mesh in the clear."
    if found.blind:
        return f"{text}. Whether anything flows past the mesh is not known."
    unsure = len(found.unknown_flows)
    if unsure:
        return f"{text}. Of {many(unsure, 'flow')} past the mesh nobody can tell."
    return f"{text}. Nothing is seen to flow past the mesh in the clear."


def title(found: Overview) -> str:
    """What a browser's tab says first."""
    bad = found.counts[Protection.PLAINTEXT] + found.counts[Protection.WEAK] + len(found.plaintext_flows)
    if bad:
        return f"{bad} not encrypted"
    if found.firing:
        return many(len(found.firing), "alert")
    unsure = found.counts[Protection.UNKNOWN] + len(found.unknown_flows)
    if unsure:
        return f"{unsure} unknown"
    return {Verdict.PASS: "all well", Verdict.FAIL: "a fault"}.get(found.verdict, "not known")


def hop_words(hop: HopView) -> str:
    """Everything about a hop in one sentence."""
    seen = hop.status
    parts = [f"{hop.caller} to {hop.callee}: {hop.protection}"]
    if hop.protection in (Protection.ENCRYPTED, Protection.WEAK):
        parts.append(", ".join(one for one in (short_version(seen.version), seen.group, seen.cipher) if one))
        parts.append(f"the caller proved {seen.peer}" if seen.peer else "the caller proved no identity")
    if seen.note:
        parts.append(seen.note)
    return "; ".join(parts)


def flow_words(one: Beside, now: datetime) -> str:
    """Everything about a flow beside the mesh in one sentence."""
    flow = one.flow
    who = f"{flow.caller} ({flow.caller_process})" if flow.caller_process else flow.caller
    parts = [f"beside the mesh, {who} to {flow.callee or flow.server}: {one.protection}"]
    parts.append(f"{many(flow.connections, 'connection')}, the last {ago(flow.last_at, now)}")
    if flow.evidence:
        parts.append(flow.evidence)
    return "; ".join(parts)


def wanted(posture: Posture) -> str:
    """A wanted posture."""
    return {Posture.MTLS: "mTLS", Posture.TLS: "TLS"}.get(posture, str(posture))


def arrows(text: str) -> str:
    """A hop's name as people read it."""
    return text.replace(" -> ", " → ")


def passages(text: str) -> list[tuple[bool, str]]:
    """A sentence of ours in parts: what stands between backticks is code (True). It begins with a capital."""
    parts = [(at % 2 == 1, part) for at, part in enumerate(text.split("`")) if part]
    if parts and not parts[0][0]:
        parts[0] = (False, parts[0][1][:1].upper() + parts[0][1][1:])
    return parts


def facts(observation: Observation) -> list[tuple[str, str]]:
    """An observation's body as names and values, flat, without what is empty."""
    return _flat(observation.body, "")


def _flat(body: Mapping[str, Plain], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in body.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{name} ")
        elif value not in (None, "", []):
            text = ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)
            found.append((f"{prefix}{name}", text))
    return found


def web_link(target: str) -> str:
    """A target that is safe as a link: http, https or mailto; an e-mail address becomes one; empty otherwise."""
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in target):
        return ""
    try:
        parts = urlsplit(target)
    except ValueError:
        return ""
    if parts.scheme in ("http", "https") and parts.netloc:
        return target
    if parts.scheme == "mailto" and parts.path:
        return target
    user, at, host = target.partition("@")
    plain = user and at and "." in host and not parts.scheme and not set(target) & set("<>\"'()[],;:\\/?#&%")
    return f"mailto:{target}" if plain and "@" not in host else ""
