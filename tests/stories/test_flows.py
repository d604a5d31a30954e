"""A service that talks to another past both proxies is seen, on the real socket table, also if it hangs up at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import date

import pytest
from tests.fakes.store import MemoryStore

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.flow import Flow, FlowClass
from everyhop.core.hop import Address
from everyhop.core.validation import read
from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.host.sockets import KernelSockets
from everyhop.drivers.probes.endpoint import EndpointLooks
from everyhop.services.apply import plan_of
from everyhop.services.flows import FLOWS, LISTENERS, FlowWatcher
from everyhop.services.observe import PROBE_SOURCE

TOPOLOGY = """\
everyhop: 1
trust_domain: shop.internal
environment: test
owners: {{me: {{contact: me@example.org}}, you: {{contact: you@example.org}}}}
services:
  web: {{owner: me, listen: "127.0.0.1:{web}", calls: [api]}}
  api: {{owner: you, listen: "127.0.0.1:{api}"}}
"""
APP = """
import socket, sys, threading, time

def serve():
    while True:
        one, _ = listener.accept()
        threading.Thread(target=answer, args=(one,)).start()

def answer(one):
    with one:
        while one.recv(4096):
            time.sleep(0.01)  # as if it had something to do
            one.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
threading.Thread(target=serve, daemon=True).start()
port, keeps = sys.stdin.readline().split()
callee = None
while int(port):
    callee = callee or socket.create_connection(("127.0.0.1", int(port)))
    callee.sendall(b"GET / HTTP/1.1\\r\\nHost: api\\r\\n\\r\\n")
    callee.recv(4096)
    if keeps == "no":
        callee.close()
        callee = None
    time.sleep(0.1)
time.sleep(600)
"""


@contextmanager
def app() -> Generator[tuple[subprocess.Popen[str], int]]:
    """An app that waits to be told whom to call: the process, and where it listens."""
    child = subprocess.Popen([sys.executable, "-c", APP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout
        yield child, int(child.stdout.readline())
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("keeps", ["yes", "no"])
def test_plaintext_between_two_services_is_seen(keeps: str) -> None:
    with ExitStack() as stack:
        (web, web_port), (api, api_port) = stack.enter_context(app()), stack.enter_context(app())
        assert web.stdin
        assert api.stdin
        web.stdin.write(f"{api_port} {keeps}\n")
        web.stdin.flush()
        marks = {web.pid: "web", api.pid: "api"}
        topology = read(TOPOLOGY.format(web=web_port, api=api_port), file="t", today=date(2026, 11, 22))
        plan = plan_of(topology, {"mesh/api": Address("127.0.0.1", 1)}, data="/data", file_dir="/shop")
        clock, store = SystemClock(), MemoryStore()
        sockets = KernelSockets(lambda pid: marks.get(pid, ""))
        looks = EndpointLooks(clock, source=PROBE_SOURCE)
        watcher = FlowWatcher(store, sockets, looks, clock, lambda _: None, catch=sockets.catch)
        key = f"web -> 127.0.0.1:{api_port}"

        async def watch() -> dict[str, Flow]:
            async with asyncio.timeout(60):
                while True:
                    await watcher.tick(plan, topology, None)
                    found = {one.value.key: one.value for one in await FLOWS.all(store)}
                    if key in found and found[key].encryption is FlowClass.PLAINTEXT:
                        return found
                    await asyncio.sleep(0.2)

        flow = asyncio.run(watch())[key]
        assert (flow.caller, flow.callee, flow.owner) == ("web", "api", "you")
        assert flow.counts
        assert flow.last_at <= clock.now()
        listeners = {one.value.address: one.value for one in asyncio.run(LISTENERS.all(store))}
        assert listeners[f"127.0.0.1:{api_port}"].encryption is Encryption.PLAINTEXT
        assert listeners[f"127.0.0.1:{api_port}"].service == "api"
