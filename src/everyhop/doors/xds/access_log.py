"""What Envoys write of connections: one line each, as JSON, for ``drivers/planes`` to read.

Rules: the serving end tells of every connection, the calling end of those that failed and of a sample of the others.
Only operators that Envoy 1.40 knows (there is no serial of an upstream's certificate); no header and no path: what is
in a request is nobody's business here.
"""

from __future__ import annotations

from typing import Any

from everyhop.doors.xds.messages import TYPE_URL_PREFIX

Json = dict[str, Any]  # protobuf JSON: any value of ours


def connection_log(path: str, listener: str) -> Json:
    """What the serving end saw of every connection, the refused ones too: they never get as far as a request."""
    return _file_log(
        path,
        {
            "end": "server",
            "listener": listener,
            "peer": "%DOWNSTREAM_REMOTE_ADDRESS%",
            "local": "%DOWNSTREAM_LOCAL_ADDRESS%",
            "version": "%DOWNSTREAM_TLS_VERSION%",
            "cipher": "%DOWNSTREAM_TLS_CIPHER%",
            "group": "%DOWNSTREAM_TLS_GROUP%",
            "peer_uri": "%DOWNSTREAM_PEER_URI_SAN%",
            "peer_serial": "%DOWNSTREAM_PEER_SERIAL%",
            "failure": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
            "upstream": "%UPSTREAM_HOST%",
            "sni": "%REQUESTED_SERVER_NAME%",
            # DOWNSTREAM_HANDSHAKE_DURATION is measured from the wrong moment, and was seen to be negative.
            "handshake_us": "%COMMON_DURATION(DS_CX_BEG:DS_HS_END:us)%",
        },
    )


def call_log(path: str, *, sample: bool) -> Json:
    """What the calling end saw. Requests are many on one connection: of those that went well, one in a hundred is
    told, which is enough to know whom this end has met; the failed ones all are."""
    log = _file_log(
        path,
        {
            "end": "client",
            "listener": "%UPSTREAM_CLUSTER%",
            "peer": "%UPSTREAM_REMOTE_ADDRESS%",
            "local": "%UPSTREAM_LOCAL_ADDRESS%",
            "version": "%UPSTREAM_TLS_VERSION%",
            "cipher": "%UPSTREAM_TLS_CIPHER%",
            "group": "%UPSTREAM_TLS_GROUP%",
            "peer_uri": "%UPSTREAM_PEER_URI_SAN%",
            "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
            "flags": "%RESPONSE_FLAGS%",
            "handshake_us": "%COMMON_DURATION(US_CX_BEG:US_HS_END:us)%",
            # A TCP tunnel has no time for its handshake, only for all that came before it was ready.
            **({} if sample else {"ready_ms": "%UPSTREAM_CONNECTION_POOL_READY_DURATION%"}),
        },
    )
    if sample:
        failed: Json = {"response_flag_filter": {"flags": list(_UPSTREAM_FAILED)}}
        some: Json = {
            "runtime_filter": {
                "runtime_key": "everyhop.calls_sampled",
                "percent_sampled": {"numerator": 1, "denominator": "HUNDRED"},
                "use_independent_randomness": True,
            }
        }
        log["filter"] = {"or_filter": {"filters": [failed, some]}}
    return log


_UPSTREAM_FAILED = ("UF", "UC", "UH", "UR", "UPE")
"""Response flags of calls that failed on the way to the callee: connection failure or end, no healthy host, reset,
protocol error."""


def _file_log(path: str, fields: Json) -> Json:
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": TYPE_URL_PREFIX + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": {"json_format": {"at": "%START_TIME(%Y-%m-%dT%H:%M:%S.%6fZ)%", **fields}},
        },
    }
