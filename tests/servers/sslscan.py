"""sslscan: no server but the oracle that says which suites one accepts; it writes them as XML."""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.servers import need
from tests.servers.certificates import NAME

from everyhop.core.tls.versions import version_code

PATIENCE = 60.0
"""Seconds: it makes a hundred connections."""


def by_sslscan(port: int, file: Path, *, starttls: str = "") -> dict[int, set[int]]:
    """The suites of every version, as Debian's sslscan sees them. ``starttls`` is its own word for what is spoken
    before TLS: ``psql``, ``mysql``, ``smtp``..."""
    command = [need("sslscan"), f"--sni-name={NAME}", f"--xml={file}", "--no-fallback", "--no-heartbleed"]
    command += [f"--starttls-{starttls}"] if starttls else []
    subprocess.run([*command, f"127.0.0.1:{port}"], check=True, capture_output=True, timeout=PATIENCE)
    found: dict[int, set[int]] = {}
    for cipher in ET.parse(file).getroot().iter("cipher"):
        version = version_code(cipher.attrib["sslversion"])
        assert version is not None, cipher.attrib
        found.setdefault(version, set()).add(int(cipher.attrib["id"], 16) & 0xFFFF)
    return found
