#!/usr/bin/env python3
"""The one door to this repository, for people and for CI. It needs Python 3.11 to 3.13 with pip, and nothing else.

  python3 run.py demo [--check]             start the shop, encrypted on every hop; --check proves it and ends
  python3 run.py test [PYTEST ARGUMENTS]    run the tests
  python3 run.py bench [NAME [--json FILE]] run a benchmark; without a name: list them
  python3 run.py check [STAGE ...]          lock, lint, format, types, import contracts, reference, docs
  python3 run.py docs                       write docs/reference, then build the docs into build/docs
  python3 run.py fmt                        sort the imports and format the code

The first run fetches a pinned uv with pip into .boot/ and builds .venv/ from uv.lock: exact versions, hashes checked.
Later runs only look whether all is in place. Commands run in the repository's root and their exit status is passed
on; 2 means wrong usage, 3 that the environment could not be set up.
"""

# Rules: standard library only, and nothing that an older Python 3 cannot parse: it has to live until it can say so.

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

OLDEST, NEWEST = (3, 11), (3, 13)
UV_VERSION = "0.13.9"
USAGE, UNAVAILABLE = 2, 3


def fail(message: str, hint: str, status: int = UNAVAILABLE) -> NoReturn:
    """Say in one sentence what went wrong and what to do about it, and end."""
    print(f"run.py: {message}\n  hint: {hint}", file=sys.stderr)
    sys.exit(status)


if not OLDEST <= sys.version_info[:2] <= NEWEST:
    _present = [name for name in ("python3.13", "python3.12", "python3.11") if shutil.which(name)]
    fail(
        "expected Python 3.11 to 3.13, got {}.{}".format(*sys.version_info[:2]),
        f"`{_present[0]} run.py` should do" if _present else "install Python 3.11, 3.12 or 3.13",
    )

ROOT = Path(__file__).resolve().parent
UV_HOME = ROOT / ".boot" / f"uv-{UV_VERSION}"
UV = UV_HOME / "bin" / "uv"
VENV = Path(os.environ.get("UV_PROJECT_ENVIRONMENT", ROOT / ".venv"))
BIN = VENV / "bin"
PYTHON = str(BIN / "python")

PARALLEL = ["-n", "2", "--dist", "loadfile"]
"""All tests: two files at a time, each file in its order."""
SPHINX = [PYTHON, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", "build/doctrees", "docs", "build/docs"]
STAGES = {
    "lock": [str(UV), "lock", "--check", "--quiet", "--no-python-downloads", "--python", PYTHON],
    "lint": ["ruff", "check", "--quiet"],
    "format": ["ruff", "format", "--check", "--quiet"],
    "types": ["pyright", "--pythonpath", PYTHON],
    "imports": ["lint-imports", "--no-logo"],
    "reference": [PYTHON, "tools/make_reference.py", "--check"],
    "docs": SPHINX,
}


# --- the environment ------------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """The environment of what is started: as if .venv were activated, and no other one."""
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONHOME")}
    return {**kept, "VIRTUAL_ENV": str(VENV), "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def interpreter() -> str:
    """The Python that runs this file; if that belongs to a virtual environment, the one it was made from."""
    base = Path(sys.base_prefix, "bin", "python{}.{}".format(*sys.version_info[:2]))
    return str(base) if sys.prefix != sys.base_prefix and base.exists() else sys.executable


def fetch_uv() -> None:
    """Put the pinned uv under .boot, whole or not at all.

    ``pip install --target`` works where the system's Python is marked as externally managed (PEP 668) and where the
    venv module is missing. pip's own configuration (index, proxy, certificates) is honoured.
    """
    if UV.exists():
        return
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        fail("expected pip in this Python, found none", "install it (Debian: `apt install python3-pip`)")
    print(f"run.py: fetching uv {UV_VERSION} into .boot (once)", file=sys.stderr)
    UV_HOME.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UV_HOME.parent) as staging:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-user"]
        pip += ["--root-user-action=ignore", "--only-binary=:all:", "--target", f"{staging}/uv", f"uv=={UV_VERSION}"]
        if subprocess.run(pip, check=False).returncode:
            fail(
                f"expected pip to fetch uv {UV_VERSION}, it could not (its own words stand above)",
                "is a package index reachable? `python3 -m pip config list` shows what pip uses",
            )
        try:
            Path(staging, "uv").rename(UV_HOME)
        except OSError:
            if not UV.exists():  # otherwise another run.py was faster
                raise


def prepare(*groups: str) -> None:
    """Make .venv hold everyhop and these dependency groups as uv.lock has them; what else it holds stays."""
    fetch_uv()
    sync = [str(UV), "sync", "--frozen", "--inexact", "--no-python-downloads", "--python", interpreter()]
    for group in groups:
        sync += ["--group", group]
    outside = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    looked = subprocess.run([*sync, "--check"], cwd=ROOT, env=outside, capture_output=True, check=False)
    if looked.returncode == 0:
        return
    print(f"run.py: preparing {VENV.name} ({', '.join(groups)})", file=sys.stderr)
    if subprocess.run(sync, cwd=ROOT, env=outside, check=False).returncode:
        fail(
            "expected uv to build the environment, it could not (its own words stand above)",
            "is a package index reachable? set UV_DEFAULT_INDEX for one of your own; removing .venv starts afresh",
        )


def install_servers() -> None:
    """Install the Debian packages of tests/servers/packages.txt that are missing. None of them is started."""
    wanted = (ROOT / "tests" / "servers" / "packages.txt").read_text(encoding="utf-8").split()
    query = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    missing = sorted(
        set(wanted) - {line.split()[0] for line in query.stdout.splitlines() if line.endswith(" installed")}
    )
    if not missing:
        return
    print(f"run.py: installing {', '.join(missing)}", file=sys.stderr)
    outside = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with tempfile.TemporaryDirectory() as folder:
        # Debian asks this file whether a service may be started; 101: no (invoke-rc.d(8)).
        policy = Path("/usr/sbin/policy-rc.d")
        made = not policy.exists()
        if made:
            policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
            policy.chmod(0o755)
        try:
            log = Path(folder, "log")
            for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
                with log.open("ab") as output:
                    done = subprocess.run(
                        ["apt-get", "-q", *command], env=outside, stdout=output, stderr=output, check=False
                    )
                if done.returncode:
                    print(log.read_text(errors="replace")[-4000:], file=sys.stderr)
                    fail(
                        f"expected apt-get {command[0]} to work, its exit status is {done.returncode}", "are you root?"
                    )
        finally:
            if made:
                policy.unlink()


def become(*command: str) -> NoReturn:
    """Go on as this command, in the repository's root: its exit status and signals are ours."""
    found = shutil.which(command[0], path=environment()["PATH"]) or command[0]
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execve(found, list(command), environment())


def run(*command: str) -> int:
    """Run a command in the repository's root; its exit status, 128 + n if signal n ended it."""
    found = shutil.which(command[0], path=environment()["PATH"]) or command[0]
    status = subprocess.run([found, *command[1:]], cwd=ROOT, env=environment(), check=False).returncode
    return status if status >= 0 else 128 - status


# --- the commands ---------------------------------------------------------------------------------------------


def demo(arguments: list[str]) -> int:
    """Start the shop."""
    prepare("shop")
    become("everyhop", "up", "examples/shop/everyhop.yaml", "--data", str(ROOT / ".everyhop" / "shop"), *arguments)


def test(arguments: list[str]) -> int:
    """Run the tests. On CI the real servers that some of them need are installed first; elsewhere those tests are
    skipped, each with the command that installs what it needs, unless it is there."""
    if os.environ.get("CI") == "true":
        install_servers()
    prepare("test")
    become(PYTHON, "-m", "pytest", *(arguments or PARALLEL))


def bench(arguments: list[str]) -> int:
    """Run a benchmark, or list them."""
    names = sorted(path.stem for path in ROOT.glob("benchmarks/*.py") if not path.stem.startswith("_"))
    if not arguments:
        for name in names:
            text = ast.get_docstring(ast.parse((ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")))
            print(f"{name:16} {(text or '').partition(chr(10))[0]}")
        return 0
    if arguments[0] not in names:
        fail(f"expected one of {', '.join(names)}, got {arguments[0]!r}", "`python3 run.py bench` lists them", USAGE)
    prepare("test")
    become(PYTHON, "-m", f"benchmarks.{arguments[0]}", *arguments[1:])


def check(arguments: list[str]) -> int:
    """Run every stage, or those named, whatever fails; then say which did."""
    unknown = [name for name in arguments if name not in STAGES]
    if unknown:
        fail(f"expected stages among {', '.join(STAGES)}, got {unknown[0]!r}", "without a name all are run", USAGE)
    prepare("lint", "docs")
    summary: list[str] = []
    status = 0
    for name in arguments or STAGES:
        print(f"--- {name}", flush=True)
        began = time.monotonic()
        failed = run(*STAGES[name])
        status = status or failed
        summary.append(f"{'FAILED' if failed else 'ok':7} {name:10} {time.monotonic() - began:6.1f} s")
    print("", *summary, sep="\n", flush=True)
    return status


def docs(arguments: list[str]) -> int:
    """Write the reference and build the docs."""
    if arguments:
        fail(f"expected no arguments, got {arguments[0]!r}", "`python3 run.py docs`", USAGE)
    prepare("docs")
    status = run(PYTHON, "tools/make_reference.py") or run(*SPHINX)
    if not status:
        print("build/docs/index.html")
    return status


def fmt(arguments: list[str]) -> int:
    """Sort the imports and format the code."""
    prepare("lint")
    paths = arguments or ["."]
    return run("ruff", "check", "--quiet", "--select", "I", "--fix", *paths) or run("ruff", "format", *paths)


COMMANDS = {"demo": demo, "test": test, "bench": bench, "check": check, "docs": docs, "fmt": fmt}


def main(arguments: list[str]) -> int:
    """Run a command; the exit status."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print((__doc__ or "").strip())
        return 0
    command = COMMANDS.get(arguments[0])
    if command is None:
        fail(f"expected one of {', '.join(COMMANDS)}, got {arguments[0]!r}", "`python3 run.py` shows them", USAGE)
    return command(arguments[1:])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
