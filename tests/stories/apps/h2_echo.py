"""An app that speaks HTTP/2 without TLS and nothing else, as gRPC servers do: it sends back what it was sent.

The answer carries the caller that the proxy has proved, as header ``caller``, and ends with a trailer ``grpc-status``.

Environment: ``LISTEN`` (host:port).
"""

from __future__ import annotations

import os
import socketserver

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        self.request.sendall(connection.data_to_send())
        bodies: dict[int, bytes] = {}
        callers: dict[int, str] = {}
        while data := self.request.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    bodies[event.stream_id] = b""
                    headers = {str(name): str(value) for name, value in event.headers}
                    callers[event.stream_id] = headers.get("x-forwarded-client-cert", "")
                elif isinstance(event, DataReceived):
                    bodies[event.stream_id] += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    stream = event.stream_id
                    said = [(":status", "200"), ("content-type", "application/grpc"), ("caller", callers[stream])]
                    connection.send_headers(stream, said)
                    connection.send_data(stream, bodies[stream])
                    connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)
            self.request.sendall(connection.data_to_send())


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


if __name__ == "__main__":
    host, _, port = os.environ["LISTEN"].rpartition(":")
    Server((host, int(port)), Echo).serve_forever()
