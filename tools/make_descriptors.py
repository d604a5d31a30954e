"""Build the xDS descriptor set that everyhop ships.

Run in an environment that holds xds-protos and nothing else of ours, because that package overwrites files of
others (docs/decisions/0004):

    uv run --isolated --only-group xds python tools/make_descriptors.py

It writes the transitive closure of the messages below, compressed, so that everyhop needs no generated code.
"""

import importlib
import pathlib
import zlib

from google.protobuf import descriptor_pb2

MODULES = """
envoy.config.bootstrap.v3.bootstrap_pb2
envoy.config.cluster.v3.cluster_pb2
envoy.config.endpoint.v3.endpoint_pb2
envoy.config.listener.v3.listener_pb2
envoy.config.route.v3.route_pb2
envoy.extensions.access_loggers.file.v3.file_pb2
envoy.extensions.filters.http.router.v3.router_pb2
envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2
envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2
envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2
envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2
envoy.extensions.transport_sockets.tls.v3.secret_pb2
envoy.extensions.transport_sockets.tls.v3.tls_pb2
envoy.extensions.upstreams.http.v3.http_protocol_options_pb2
envoy.service.discovery.v3.ads_pb2
envoy.service.discovery.v3.discovery_pb2
""".split()

TARGET = pathlib.Path(__file__).parent.parent / "src/everyhop/doors/xds/envoy-1.40.descriptors.z"


def main() -> None:
    """Write the descriptor set and say how large it is."""
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(descriptor: object) -> None:
        if descriptor.name in found:
            return
        for dependency in descriptor.dependencies:
            add(dependency)
        proto = descriptor_pb2.FileDescriptorProto()
        descriptor.CopyToProto(proto)
        found[descriptor.name] = proto  # a dict keeps the order: dependencies first

    for name in MODULES:
        add(importlib.import_module(name).DESCRIPTOR)
    raw = descriptor_pb2.FileDescriptorSet(file=list(found.values())).SerializeToString(deterministic=True)
    TARGET.write_bytes(zlib.compress(raw, 9))
    print(f"{len(found)} files, {len(raw) // 1024} KiB, {TARGET.stat().st_size // 1024} KiB compressed")


if __name__ == "__main__":
    main()
