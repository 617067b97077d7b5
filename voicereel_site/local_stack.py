"""Web, worker, relay and dispatcher as processes of this machine: what ``make run``, the demo, the tests and the
benchmarks start.

    python -m voicereel_site.local_stack --port 8000
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

ROOT = Path(__file__).resolve().parent.parent
_READY_S = 60.0
# A worker ends its lines in hand on SIGTERM; what it has not finished by then another takes up.
_STOP_S = 15.0
NICE = 19  # to those who wait for an answer


class StackFailed(Exception):
    """A process did not start, or ended by itself."""


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_busy(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class LocalStack:
    """Migrates, then runs a web server, a Celery worker, the relay and the dispatcher until the block ends.

    environment: on top of this process's own; log: where they write, default this terminal.
    owner, operators: on top of that, the DATABASE_URL of whoever migrates, and of operators' processes,
    where these have database roles of their own (docker/postgres/roles.sql); the worker that looks at
    all tenants' rows is a second one then. niceness: of workers and what serves them; speaking takes all the
    processor that it gets, and where both run on one machine requests had better go first. metrics: each process answers on
    an inner port, ``metrics_ports`` by its name. migrate: unless the database is as this version has it.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        log: IO[bytes] | None = None,
        owner: Mapping[str, str] | None = None,
        operators: Mapping[str, str] | None = None,
        niceness: int = 0,
        metrics: bool = False,
        migrate: bool = True,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | (environment or {})
        self._has_roles = bool(operators)
        self._owner = {**self.environment, **(owner or {})}
        self.operators = {**self.environment, **(operators or {})}
        self._niceness = niceness
        self._has_metrics = metrics
        self._migrates = migrate
        self.metrics_ports: dict[str, int] = {}
        self._log = log
        self.log_name = "" if log is None else str(log.name)
        self.web: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None
        self.relay: subprocess.Popen[bytes] | None = None
        self.dispatcher: subprocess.Popen[bytes] | None = None
        self.engine: subprocess.Popen[bytes] | None = None  # where it has a worker of its own
        self.operations: subprocess.Popen[bytes] | None = None  # likewise
        self.console: subprocess.Popen[bytes] | None = None  # likewise

    def manage(self, *arguments: str) -> str:
        """Run an operator's command. Returns what it printed."""
        return self._manage(arguments, self.operators)

    def _manage(self, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackFailed(f"manage.py {arguments[0]} failed:\n{done.stderr.strip()}")
        return done.stdout.strip()

    def start_web(
        self,
        application: str = "voicereel_site.wsgi:application",
        *,
        port: int | None = None,
        workers: int = 2,
    ) -> subprocess.Popen[bytes]:
        """Two processes of two threads, as the API's speed was measured.

        port: of one beside the stack's own, which whoever asks for it ends.
        """
        process = self._start(
            "web",
            *("-m", "voicereel_site.web_server", application),
            *("--port", str(port or self.port), "--workers", str(workers)),
        )
        if port is None:
            self.web = process
        self._wait_until_answers(process, f"http://127.0.0.1:{port or self.port}")
        return process

    def start_console(self) -> int:
        """The operators' web process, where it is one of its own. Returns its port."""
        port = free_port()
        self.console = self._start(
            "console",
            *("-m", "voicereel_site.web_server", "--port", str(port), "--workers", "1"),
            environment={**self.operators, "VOICEREEL_CONSOLE": "true"},
        )
        self._wait_until_answers(self.console, f"http://127.0.0.1:{port}")
        return port

    def start_worker(self, application: str = "voicereel_site") -> None:
        """One process: tasks are threads, because the engine's model is loaded once. For fish-speech
        there is a second one, as for each GPU in production.
        """
        queues = ["default", "render", "test-jobs", "webhooks"]
        if self.environment.get("VOICEREEL_ENGINE") == "fish":
            queues = ["default", "test-jobs", "webhooks"]
            self.start_engine(application)
        beat = [] if self._has_roles else ["-B"]
        if not self._has_roles:
            queues.append("operations")
        elif self.operations is None:
            self.operations = self._celery(
                "operations",
                "voicereel_site",
                *("-B", "--concurrency", "2", "--queues", "operations"),
                environment=self.operators,
            )
        self.worker = self._celery(
            "worker", application, *beat, "--concurrency", "4", "--queues", ",".join(queues)
        )

    def start_engine(self, application: str = "voicereel_site") -> None:
        """The worker of a GPU: so many jobs share its batch."""
        self.engine = self._celery(
            "engine", application, "--concurrency", "32", "--queues", "gpu,voices"
        )

    def _celery(
        self,
        name: str,
        application: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        return self._start_behind(
            name,
            *("-m", "celery", "--quiet", "-A", application, "worker", "--pool", "threads"),
            *("--without-heartbeat", "--without-gossip", "--without-mingle"),
            *arguments,
            environment=environment,
        )

    def start_relay(self) -> None:
        """Publishes what the fast path did not, and deletes files."""
        self.relay = self._start_behind("relay", "manage.py", "relay", environment=self.operators)

    def start_dispatcher(self) -> None:
        """Hands jobs to workers, tenants in turn."""
        self.dispatcher = self._start_behind(
            "dispatcher", "manage.py", "dispatch", environment=self.operators
        )

    def _start_behind(
        self, name: str, *command: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """As _start, of one for whom nobody waits at the other end of a request."""
        process = self._start(name, *command, environment=environment)
        if self._niceness:
            os.setpriority(os.PRIO_PROCESS, process.pid, self._niceness)
            # Where Linux groups processes by session, niceness counts within a group alone, and this is
            # the group's own.
            with contextlib.suppress(OSError):
                Path(f"/proc/{process.pid}/autogroup").write_text(str(self._niceness))
        return process

    def _start(
        self, name: str, *command: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        environment = environment or self.environment
        if self._has_metrics:
            port = self.metrics_ports.setdefault(name, free_port())
            environment = {**environment, "VOICEREEL_METRICS_PORT": str(port)}
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            # A group of its own: Ctrl-C reaches only us, and we end its children with it.
            start_new_session=True,
        )

    def _wait_until_answers(self, process: subprocess.Popen[bytes], url: str) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(f"{url}/healthz", timeout=2):  # nosec B310
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise StackFailed("The web process did not start; its log says why.")

    def running(self) -> dict[str, subprocess.Popen[bytes]]:
        """The processes that were started, by name."""
        return {name: process for name, process in self._processes().items() if process is not None}

    def _processes(self) -> dict[str, subprocess.Popen[bytes] | None]:
        return {
            "web": self.web,
            "worker": self.worker,
            "relay": self.relay,
            "dispatcher": self.dispatcher,
            "engine": self.engine,
            "operations": self.operations,
            "console": self.console,
        }

    def ended(self) -> str | None:
        """The name of a process that ended by itself, if one did."""
        for name, process in self.running().items():
            if process.poll() is not None:
                return name
        return None

    def stop(self) -> None:
        """End all: politely, and after a while for good."""
        running = list(self.running().values())
        for process in running:
            if process.poll() is None:
                # The web processes have no proxy before them that must not notice.
                process.send_signal(
                    signal.SIGINT if process in (self.web, self.console) else signal.SIGTERM
                )
        deadline = time.monotonic() + _STOP_S
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            kill_group(process)
        self.web = self.worker = self.relay = self.dispatcher = None
        self.engine = self.operations = self.console = None

    def __enter__(self) -> Self:
        if self._migrates:
            self._manage(["migrate", "--verbosity", "0"], self._owner)
        try:
            self.start_worker()
            self.start_relay()
            self.start_dispatcher()
            self.start_web()
            if name := self.ended():
                raise StackFailed(f"The {name} process ended at once; its log says why.")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all its children at once, as a crash would."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def until_stopped(stack: LocalStack, stopping: threading.Event) -> int:
    """Wait for the end. Returns the exit status: 1 if a process ended by itself."""
    while not stopping.wait(0.5):
        if name := stack.ended():
            print(f"The {name} process ended; stopping.", file=sys.stderr)
            return 1
    return 0


def stopped_by_signals() -> threading.Event:
    """What Ctrl-C and SIGTERM set from here on."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return stopping


def main() -> int:
    parser = argparse.ArgumentParser(description="Run web, worker and relay until Ctrl-C.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    if port_is_busy(port):
        print(f"Port {port} is in use. Choose another: make run PORT=8001", file=sys.stderr)
        return 1
    stopping = stopped_by_signals()
    try:
        with LocalStack(port, niceness=NICE) as stack:
            print(
                f"VoiceReel runs on {stack.url} (Ctrl-C ends it). A key to its API:\n"
                "  .venv/bin/python manage.py create_tenant NAME",
                file=sys.stderr,
            )
            return until_stopped(stack, stopping)
    except StackFailed as exc:
        print(exc, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
