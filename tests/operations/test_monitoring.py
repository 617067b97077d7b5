"""A real Prometheus looks at the running service, and a real Alertmanager tells when a worker dies."""

import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from synthesis.engines.fish.random_checkpoint import write_random_checkpoint
from tests.accounts.test_monitoring import MONITORING, expressions, metrics_in
from tests.operations.conftest import MakeSite, Site
from tests.operations.servers import Server, wait_until
from tests.operations.test_fish_workers import cloned_speaker, fish_settings
from voicereel_site.local_stack import free_port

pytestmark = pytest.mark.services

PROMETHEUS = MONITORING / "prometheus"
REQUESTS = 1_000
RESPONSES = (
    "sum(django_http_responses_total_by_status_view_method_total"
    '{view="speakers.api.SpeakerListView", method="GET", status="200"})'
)


class Prometheus(Server):
    """With our configuration and rules; targets are ports of this machine, and it looks each second."""

    def __init__(self, folder: Path, ports: Mapping[str, int], alertmanager: int) -> None:
        super().__init__(folder, free_port())
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        jobs = [job["job_name"] for job in config["scrape_configs"]]
        assert set(ports) <= set(jobs)
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(PROMETHEUS / "rules.yml")]
        config["alerting"]["alertmanagers"] = [
            {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}
        ]
        config["scrape_configs"] = [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for name, port in ports.items()
        ]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def command(self) -> Sequence[str]:
        return [
            *("prometheus", f"--config.file={self.folder}/prometheus.yml"),
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, query: str) -> list[float]:
        """The values of an instant query."""
        reply = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/query", params={"query": query})
        assert reply.status_code == 200, reply.text
        return [float(one["value"][1]) for one in reply.json()["data"]["result"]]


class Alertmanager(Server):
    """With our routes; whoever they tell is one receiver of ours."""

    def __init__(self, folder: Path, receiver: int) -> None:
        super().__init__(folder, free_port())
        config = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())
        config["route"]["group_wait"] = "1s"
        config["receivers"] = [
            {
                "name": one["name"],
                "webhook_configs": [{"url": f"http://127.0.0.1:{receiver}/{one['name']}"}],
            }
            for one in config["receivers"]
        ]
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))

    def command(self) -> Sequence[str]:
        return [
            *("prometheus-alertmanager", f"--config.file={self.folder}/alertmanager.yml"),
            f"--storage.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/-/ready").status_code == 200
        except httpx.TransportError:
            return False


class Pager:
    """Who is woken: what Alertmanager posts, by the receiver's name."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        told = self.told

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.append((self.path.strip("/"), body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def pages(self, status: str) -> list[dict[str, Any]]:
        return [
            alert
            for receiver, body in self.told
            if receiver == "page"
            for alert in body["alerts"]
            if alert["status"] == status
        ]


@pytest.fixture
def pager() -> Iterator[Pager]:
    one = Pager()
    yield one
    one.close()


def test_rules_are_what_promtool_takes_and_each_alert_fires_when_it_should() -> None:
    for command in (
        ["promtool", "check", "config", "prometheus.yml"],
        ["promtool", "test", "rules", "tests.yml", "tests-of-days.yml"],
        ["amtool", "check-config", "alertmanager.yml"],
    ):
        done = subprocess.run(
            command, cwd=PROMETHEUS, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "FAILED" not in done.stdout + done.stderr


def test_prometheus_sees_everything_and_somebody_is_woken(
    make_site: MakeSite, tmp_path: Path, pager: Pager
) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    write_random_checkpoint(checkpoint)
    site = make_site("production", metrics=True, **fish_settings(checkpoint))
    with (
        Alertmanager(tmp_path / "alertmanager", pager.port) as alertmanager,
        Prometheus(
            tmp_path / "prometheus", site.stack.metrics_ports, alertmanager.port
        ) as prometheus,
    ):
        assert_counted_exactly(site, prometheus)
        do_a_bit_of_everything(site)
        asked = {name for expression in expressions() for name in metrics_in(expression)}

        def missing() -> set[str]:
            return {name for name in asked if not prometheus.ask(f"count({name})")}

        try:
            wait_until(lambda: not missing(), "all metrics", 90, every_s=2)
        finally:
            print("missing:", missing())
        # What is well wakes nobody.
        assert prometheus.ask("count(up == 0)") == []
        assert pager.told == []
        worker = site.stack.worker
        assert worker is not None
        os.killpg(worker.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        wait_until(lambda: bool(pager.pages("firing")), "somebody is woken", 120)
        print(f"woken {time.monotonic() - killed_at:.0f} s after the worker was killed")
        (alert,) = pager.pages("firing")
        assert (alert["labels"]["alertname"], alert["labels"]["job"]) == ("ProcessDown", "worker")
        assert alert["annotations"]["runbook"] == "templates/docs/runbooks/process-down.md"
        worker.wait()
        site.stack.worker = None


def assert_counted_exactly(site: Site, prometheus: Prometheus) -> None:
    """1,000 requests are 1,000, in two processes, one of which is killed in between."""
    assert site.stack.web is not None
    port = site.stack.metrics_ports["web"]
    path, headers = f"{site.stack.url}/v1/speakers", {"Authorization": f"Bearer {site.key}"}
    [(tenant_id,)] = site.rows("SELECT id FROM accounts_tenant")
    site.stack.manage("set_plan", tenant_id, "enterprise")

    def ask(count: int) -> None:
        def one(_: int) -> int:
            # A connection each, so that the processes take turns.
            return httpx.get(path, headers=headers, timeout=30).status_code

        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(one, range(count))) == {200}

    ask(REQUESTS // 2)
    master = psutil.Process(site.stack.web.pid)
    workers = processes_of(master)
    assert len(workers) == 2
    os.kill(min(workers), signal.SIGKILL)

    wait_until(lambda: len(processes_of(master) - {min(workers)}) == 2, "another process", 30)
    ask(REQUESTS // 2)
    # Whichever process answers says the same.
    for _ in range(10):
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        counts = re.findall(
            r'^django_http_responses_total_by_status_view_method_total\{method="GET",status="200",'
            r'view="speakers.api.SpeakerListView"\} (.+)$',
            text,
            re.MULTILINE,
        )
        assert [float(count) for count in counts] == [REQUESTS]
    wait_until(lambda: prometheus.ask(RESPONSES) == [REQUESTS], "as many in Prometheus", 20)


def processes_of(master: psutil.Process) -> set[int]:
    """Those that answer requests."""
    found = set()
    for child in master.children():
        with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            if not any("resource_tracker" in part for part in child.cmdline()):
                found.add(child.pid)
    return found


def do_a_bit_of_everything(site: Site) -> None:
    """So much that every metric has something to tell."""
    client = site.client()
    speaker = cloned_speaker(client)
    job = client.synthesize([{"speaker_id": speaker.id, "text": "Hello there."}])
    client.wait_for_job(job.id, timeout_s=120)
    httpx.get(f"{site.stack.url}/v1/jobs", headers={"Authorization": "Bearer vr_live_nobody"})
