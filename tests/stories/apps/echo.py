"""A small honest app: it answers with what reached it, and can ask the service behind it.

``GET /anything`` and ``POST`` answer JSON: the app's name, the request's path, headers and body. Below ``/ask/`` it
asks its callee first, on a new connection, and shows the callee's answer too.

Environment: ``NAME``, ``LISTEN`` (host:port), and optionally ``CALLEE`` (host:port).
"""

from __future__ import annotations

import http.client
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        said: dict[str, object] = {
            "name": os.environ["NAME"],
            "path": self.path,
            "headers": {name.lower(): self.headers.get_all(name) for name in self.headers},
            "body": body,
        }
        status = 200
        if self.path.startswith("/ask/"):
            status, said["callee"] = self.ask(body)
        answer = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815  # http.server's name

    def ask(self, body: str) -> tuple[int, object]:
        """Ask the callee, with the headers that the client named ``x-pass-<name>``; its answer, or why none."""
        passed = {
            name.lower().removeprefix("x-pass-"): value
            for name, value in self.headers.items()
            if name.lower().startswith("x-pass-")
        }
        connection = http.client.HTTPConnection(os.environ["CALLEE"], timeout=30)
        try:
            connection.request("POST", self.path.removeprefix("/ask"), body, passed)
            answer = connection.getresponse()
            text = answer.read().decode()
            return (200, json.loads(text)) if answer.status == 200 else (502, text)
        except (OSError, http.client.HTTPException) as error:
            return 502, f"{type(error).__name__}: {error}"
        finally:
            connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: the answers say it all."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    host, _, port = os.environ["LISTEN"].rpartition(":")
    Server((host, int(port)), Echo).serve_forever()
