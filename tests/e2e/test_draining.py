"""A web process that is asked to end serves whoever is connected, until they have gone."""

import http.client
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.operations.servers import wait_until
from voicereel_site.local_stack import ROOT, LocalStack, kill_group
from voicereel_site.web_server import DRAIN_S


@pytest.fixture
def stack(tmp_path: Path) -> LocalStack:
    """One that only its web process will be started of."""
    made = LocalStack(environment={"VOICEREEL_VAR": str(tmp_path)})
    made.start_web(workers=1)
    return made


def asked(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    """The status of a request, and what the answer says of the connection."""
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("Connection")


def test_connections_outlive_the_signal_and_are_told_to_close(stack: LocalStack) -> None:
    process = stack.web
    assert process is not None
    try:
        idle = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=5)
        assert asked(idle) == (200, None)
        began = time.monotonic()
        process.terminate()
        wait_until(lambda: asked(idle) == (200, "close"), "the signal to arrive", DRAIN_S / 2)
        # Somebody new is served like the others.
        assert asked(http.client.HTTPConnection("127.0.0.1", stack.port, timeout=5)) == (
            200,
            "close",
        )
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - began >= DRAIN_S
        with pytest.raises(ConnectionRefusedError):
            asked(http.client.HTTPConnection("127.0.0.1", stack.port, timeout=5))
    finally:
        stack.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such filter")
def test_what_is_connected_at_the_end_is_kept_and_nobody_else_gets_in() -> None:
    # In a process of its own, all of whose sockets it may close to others.
    script = """
import os, signal, socket
from voicereel_site import draining
draining.begin()
listening = socket.create_server(("127.0.0.1", 0))
waiting = socket.create_connection(listening.getsockname())
os.kill(os.getpid(), draining.REFUSE_CONNECTIONS)
try:
    socket.create_connection(listening.getsockname(), timeout=0.5)
except TimeoutError:
    print("nobody answers")
accepted, _ = listening.accept()
waiting.sendall(b"request")
print(accepted.recv(7).decode())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["nobody answers", "request"], done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_whose_workers_still_load_ends_too(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "loads.py").write_text("import time; time.sleep(120)")
    log = (tmp_path / "log").open("wb")
    stack = LocalStack(environment={"VOICEREEL_VAR": str(tmp_path)}, log=log)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "voicereel_site.web_server", "loads:application"),
            *("--port", str(stack.port)),
        ],
        cwd=ROOT,
        env={**stack.environment, "PYTHONPATH": str(tmp_path)},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(psutil.Process(process.pid).children()) >= 2, "the workers", 20)
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert "Unexpected exit" not in (tmp_path / "log").read_text()
    finally:
        kill_group(process)
        log.close()


def test_a_keyboard_interrupt_does_not_wait(stack: LocalStack) -> None:
    process = stack.web
    assert process is not None
    try:
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - began < DRAIN_S
    finally:
        stack.stop()
