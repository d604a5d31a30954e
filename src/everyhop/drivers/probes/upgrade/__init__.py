"""How a plain connection becomes TLS: one file per protocol, each a short dialogue.

Rules: an upgrade says no more than it must, identifies itself as everyhop where there is a place for a name, and never
sends a credential. It reads the go-ahead and nothing behind it: whatever came along in the clear would be taken for
protected (CVE-2011-0411), so it ends the dialogue as garbled. A server that does not want to is quoted
(``UpgradeRefused``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from everyhop.core.endpoint.target import Target, Wire
from everyhop.drivers.probes.hello.ask import Upgrade
from everyhop.drivers.probes.upgrade import ftp, imap, ldap, mysql, nats, pop3, postgresql, smtp, xmpp

UPGRADES: Mapping[Wire, Callable[[Target], Upgrade]] = {
    Wire.FTP: lambda _: ftp.upgrade,
    Wire.IMAP: lambda _: imap.upgrade,
    Wire.LDAP: lambda _: ldap.upgrade,
    Wire.MYSQL: lambda _: mysql.upgrade,
    Wire.NATS: lambda _: nats.upgrade,
    Wire.POP3: lambda _: pop3.upgrade,
    Wire.POSTGRESQL: lambda _: postgresql.upgrade,
    Wire.SMTP: lambda _: smtp.upgrade,
    Wire.XMPP: xmpp.XmppUpgrade,
}
"""Protocols that begin in the clear and can turn to TLS. Every other one has TLS from its first byte, or none."""


def upgrade_for(target: Target) -> Upgrade | None:
    """What has to be said to this target before TLS; None: nothing, TLS comes first there or nobody knows better."""
    if target.tls_first or target.wire is None:
        return None
    upgrade = UPGRADES.get(target.wire)
    return upgrade(target) if upgrade else None
