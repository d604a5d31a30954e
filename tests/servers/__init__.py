"""Real servers for tests: one file each, a small class that starts one on free loopback ports and ends it.

Rules: a server runs in a directory of its own, as a child of the test, and is ended by its process id whatever happens.
Debian's packages are in ``packages.txt``; ``need`` says what is missing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parent / "packages.txt"
"""Debian packages that the tests' servers come from, one a line."""

_ELSEWHERE = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/lib/postfix/sbin"))


def need(binary: str, *, package: str = "") -> str:
    """The path of a program. Without it the test is skipped, or fails where ``CI=true`` promises it."""
    found = shutil.which(binary) or shutil.which(binary, path=_ELSEWHERE)
    if found:
        return found
    reason = f"needs {binary}: apt-get install {package or binary}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
