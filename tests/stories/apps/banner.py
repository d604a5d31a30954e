"""A server that speaks first, as mail servers and databases do: a banner, then every line comes back in capitals.

Environment: ``LISTEN`` (host:port).
"""

from __future__ import annotations

import os
import socketserver


class Banner(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 ready\n")
        for line in self.rfile:
            self.wfile.write(line.upper())


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


if __name__ == "__main__":
    host, _, port = os.environ["LISTEN"].rpartition(":")
    Server((host, int(port)), Banner).serve_forever()
