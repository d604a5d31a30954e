"""xDS messages from the shipped descriptor set, in a pool of our own.

Rules: a pool of our own cannot clash with what other packages register. JSON in, message out: unknown fields and wrong
types are refused with their path, so that a mistake in a translation is an error here and not a refusal by Envoy.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message

TYPE_URL_PREFIX = "type.googleapis.com/"
CLUSTER = TYPE_URL_PREFIX + "envoy.config.cluster.v3.Cluster"
LISTENER = TYPE_URL_PREFIX + "envoy.config.listener.v3.Listener"
SECRET = TYPE_URL_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
BOOTSTRAP = TYPE_URL_PREFIX + "envoy.config.bootstrap.v3.Bootstrap"

JsonObject = Mapping[str, Any]
"""A message as JSON, in Envoy's own field names."""


class Node(Protocol):
    """core.v3.Node, as far as it is read here."""

    id: str


class Status(Protocol):
    """google.rpc.Status."""

    code: int
    message: str


class DeltaRequest(Protocol):
    """DeltaDiscoveryRequest."""

    node: Node
    type_url: str
    resource_names_subscribe: Sequence[str]
    resource_names_unsubscribe: Sequence[str]
    initial_resource_versions: Mapping[str, str]
    response_nonce: str
    error_detail: Status

    def HasField(self, name: str) -> bool:  # noqa: N802  # protobuf's name
        """True if an optional field is set."""
        ...


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    packed = files("everyhop.doors.xds").joinpath("envoy-1.40.descriptors.z").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(zlib.decompress(packed)).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@cache
def message_class(name: str) -> type[Message]:
    """The class of a message by its full name, with or without the type URL prefix."""
    descriptor = _pool().FindMessageTypeByName(name.removeprefix(TYPE_URL_PREFIX))
    return message_factory.GetMessageClass(descriptor)


def parse(type_url: str, value: JsonObject) -> Message:
    """A message from JSON; raises ``json_format.ParseError`` that names the field which is wrong."""
    return json_format.ParseDict(dict(value), message_class(type_url)(), descriptor_pool=_pool())


def encode(type_url: str, value: JsonObject) -> bytes:
    """A message from JSON, serialised; the same JSON always gives the same bytes."""
    return parse(type_url, value).SerializeToString(deterministic=True)
