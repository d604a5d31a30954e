"""Print a page to PDF with the browser that is installed, if one is.

Rules: no PDF library, and no browser is fetched: every browser prints. It runs without network and scripts, in a
profile of its own that is removed, and is ended if it takes too long.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from everyhop.errors import EveryhopError

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PATIENCE = 60.0


def print_pdf(page: Path, pdf: Path) -> None:
    """Print an HTML file to ``pdf``; raises ``process-failed`` if no browser is there, or it does not print."""
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise EveryhopError(
            "process-failed",
            f"expected a browser that prints to PDF ({', '.join(_BROWSERS)}), found none",
            hint=f"open {page} in any browser and print it to PDF",
        )
    with tempfile.TemporaryDirectory(prefix="everyhop-print-", ignore_cleanup_errors=True) as profile:
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--no-pdf-header-footer",
            f"--user-data-dir={profile}",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # it refuses to run as root otherwise
            f"--print-to-pdf={pdf}",
            page.absolute().as_uri(),
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            status = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its helpers are of its session
            process.wait()
    if status != 0 or not pdf.exists():
        raise EveryhopError(
            "process-failed",
            f"expected {browser} to print {page}, it {'took too long' if status is None else 'failed'}",
            hint="open the page in any browser and print it to PDF",
        )
