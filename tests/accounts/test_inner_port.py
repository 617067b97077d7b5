"""The port for whoever looks after a process; and metrics that several processes add up."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured

from voicereel_site import inner_port, outages
from voicereel_site.local_stack import free_port


@pytest.fixture
def port(settings: Any) -> int:
    settings.METRICS_PORT = free_port()
    return int(settings.METRICS_PORT)


@pytest.mark.django_db(transaction=True)
def test_it_answers_what_is_asked_of_it(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inner_port.begin()
    url = f"http://127.0.0.1:{port}"
    reply = httpx.get(f"{url}/metrics")
    assert reply.status_code == 200
    assert "\nvoicereel_lines_total " in reply.text
    assert httpx.get(f"{url}/healthz").json()["status"] == "ok"
    reply = httpx.get(f"{url}/readyz")
    assert (reply.status_code, set(reply.json()["checks"].values())) == (200, {"ok"})
    monkeypatch.setitem(outages._CHECKS, "disk", lambda: 1 / 0)
    reply = httpx.get(f"{url}/readyz")
    assert (reply.status_code, reply.json()["status"]) == (503, "unavailable")
    assert reply.json()["checks"]["disk"] == "ZeroDivisionError"
    assert httpx.get(f"{url}/v1/jobs").status_code == 404


def test_a_port_that_is_taken_is_said(port: int) -> None:
    with socket.socket() as busy:
        busy.bind(("", port))
        busy.listen()
        with pytest.raises(ImproperlyConfigured, match=f"VOICEREEL_METRICS_PORT={port}: "):
            inner_port.begin()


def test_no_port_is_no_port(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.METRICS_PORT = 0
    monkeypatch.setattr(inner_port, "make_server", lambda *_: 1 / 0)
    inner_port.begin()


def test_counts_outlive_a_process_and_not_the_service(
    port: int, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.VAR_DIR = tmp_path
    # To be put back: share_metrics sets it for the rest of the process.
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    folder = tmp_path / "metrics" / str(port)
    folder.mkdir(parents=True)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    of_ended, of_running = folder / f"counter_{ended.pid}.db", folder / f"counter_{os.getpid()}.db"
    of_ended.touch()
    of_running.touch()
    inner_port.share_metrics()
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(folder)
    assert of_ended.exists()
    of_running.unlink()
    inner_port.share_metrics()
    assert not of_ended.exists()
