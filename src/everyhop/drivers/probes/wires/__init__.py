"""Wire protocols, one file each: how a server is recognised, and whether it serves whoever comes without TLS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.wires.amqp import AMQP
from everyhop.drivers.probes.wires.base import Words
from everyhop.drivers.probes.wires.cassandra import CASSANDRA
from everyhop.drivers.probes.wires.ftp import FTP
from everyhop.drivers.probes.wires.h2c import H2C
from everyhop.drivers.probes.wires.http import HTTP
from everyhop.drivers.probes.wires.imap import IMAP
from everyhop.drivers.probes.wires.kafka import KAFKA
from everyhop.drivers.probes.wires.ldap import LDAP
from everyhop.drivers.probes.wires.memcached import MEMCACHED
from everyhop.drivers.probes.wires.mongodb import MONGODB
from everyhop.drivers.probes.wires.mqtt import MQTT
from everyhop.drivers.probes.wires.mysql import MYSQL
from everyhop.drivers.probes.wires.nats import NATS
from everyhop.drivers.probes.wires.pop3 import POP3
from everyhop.drivers.probes.wires.postgresql import POSTGRESQL
from everyhop.drivers.probes.wires.redis import REDIS
from everyhop.drivers.probes.wires.smtp import SMTP
from everyhop.drivers.probes.wires.ssh import SSH
from everyhop.drivers.probes.wires.xmpp import XMPP

ALL: Sequence[Words] = (
    *(MONGODB, HTTP, H2C, REDIS, MEMCACHED, MYSQL, SSH, SMTP, FTP, IMAP, POP3, NATS, POSTGRESQL, XMPP, AMQP),
    *(LDAP, CASSANDRA, MQTT, KAFKA),
)
"""In the order in which a banner is shown to them: the particular before the general."""

WIRES: Mapping[Wire, Sequence[Words]] = {wire: tuple(words for words in ALL if words.wire is wire) for wire in Wire}
"""Whom to ask for a protocol. HTTP has two: most servers answer to the words of version 1, some to those of 2 only."""

UNKNOWN: Sequence[Words] = (MQTT, POSTGRESQL, LDAP, AMQP, KAFKA, MONGODB, CASSANDRA, H2C, XMPP)
"""Whom to try on a port of which nothing is known and that neither spoke first nor answered to TLS or to a line of
text, likely ones first. All others would have shown themselves by then."""
