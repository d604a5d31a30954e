"""A small mesh for stories that need many starts: client -> edge -> web -> api, and a proxy that can be paused.

``web`` speaks HTTP, so its hop has few long connections; ``api`` is carried as TCP, so that every request makes a new
mTLS connection on it. ``spare`` has a proxy and no traffic: a story can stop it to hold up a rotation.
"""

from __future__ import annotations

from tests.stories.client import Answer, request
from tests.stories.harness import Everyhop, filled
from tests.stories.ports import free_port

from everyhop.core.hop import Address

HOST = "small.localhost"

SMALL = """\
everyhop: 1
trust_domain: $domain
environment: test
owners:
  us: {contact: us@small.example}
services:
  web:
    owner: us
    listen: 127.0.0.1:$web
    max_connection_age: 1s
    calls: [api]
    run:
      command: ["$python", "$apps/echo.py"]
      environment: {NAME: web, LISTEN: "{listen}", CALLEE: "{calls.api}"}
      health: {http: /healthz}
  api:
    owner: us
    listen: 127.0.0.1:$api
    protocol: tcp
    run:
      command: ["$python", "$apps/echo.py"]
      environment: {NAME: api, LISTEN: "{listen}"}
$spare
edge:
  https: 127.0.0.1:$https
  hosts:
    small.localhost: {to: web}
policy:
  heartbeat: 200ms
  rotation_overlap: 1s
$policy
"""

SPARE = """\
  spare:
    owner: us
    listen: 127.0.0.1:$spare_app
    calls: [api]
"""


class Small(Everyhop):
    """``with Small() as mesh: mesh.up().ready()``."""

    def __init__(self, *, spare: bool = False, policy: str = "", domain: str = "small.internal") -> None:
        """``policy`` holds more lines of the topology's policy, as ``name: value, name: value``."""
        self.https = free_port()
        lines = "".join(f"  {line.strip()}\n" for line in policy.split(",") if line)
        text = SMALL.replace("$spare\n", SPARE if spare else "").replace("$policy\n", lines)
        super().__init__(filled(text, https=self.https, domain=domain))

    def change(self, before: str, after: str) -> None:
        """Apply the topology with a piece of its text replaced."""
        text = self.file.read_text()
        assert before in text
        self.file.write_text(filled(text.replace(before, after)))
        self.run("apply", str(self.file))

    def get(self, path: str = "/ask/hello") -> Answer:
        """A request through every hop, on new connections, with the roots that are published now."""
        return request(self.https, HOST, path, roots=self.roots)

    def send(self) -> None:
        """One request of a load; raises unless every hop answered."""
        answer = self.get()
        if answer.status != 200 or answer.json["callee"]["name"] != "api":
            raise RuntimeError(f"{answer.status} {answer.body[:200]!r}")

    @property
    def edge(self) -> Address:
        return Address("127.0.0.1", self.https)
