"""Web processes and workers are replaced one after another while customers go on: nobody notices."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from benchmarks.customers import Customer
from tests.operations.conftest import MakeSite, ready_speaker
from tests.operations.servers import wait_until
from voicereel_site.local_nginx import LocalNginx
from voicereel_site.local_stack import ROOT, free_port, kill_group

pytestmark = pytest.mark.services

RATE, SECONDS = 200, 50


def test_a_rolling_restart_under_load_fails_no_request_and_loses_no_job(
    make_site: MakeSite, tmp_path: Path
) -> None:
    from benchmarks.api import requests_of  # needs nothing that only benchmarks install

    site = make_site("production")
    stack = site.stack
    speakers = [ready_speaker(site.client()).id for _ in range(2)]
    jobs = [
        site.client().synthesize([{"speaker_id": speakers[0], "text": "Hello."}]).id
        for _ in range(20)
    ]
    [(tenant_id,)] = site.rows("SELECT id FROM accounts_tenant")
    stack.manage("set_plan", tenant_id, "enterprise")
    customer = Customer(tenant_id, site.key, speakers, jobs)
    other_port = free_port()
    other = stack.start_web(port=other_port)
    nginx = LocalNginx(tmp_path / "nginx", free_port(), stack.port, other_port)
    assert site.redis is not None
    control = Celery(broker=site.redis.url).control

    def workers() -> int:
        """How many are ready."""
        return len(control.ping(timeout=1))

    def more_workers(than: int) -> bool:
        return workers() > than

    def load(rate: float | None, seconds: float) -> dict[str, Any]:
        """Requests of the mix through nginx. rate: a second; None: as many as there are answers."""
        order = tmp_path / f"order-{rate}.json"
        order.write_text(
            json.dumps(
                {
                    "port": nginx.port,
                    "requests": requests_of([customer], nginx.port),
                    "seconds": seconds,
                    "connections": 32,
                    "rate": rate,
                }
            )
        )
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load", str(order)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    try:
        with nginx:
            # A machine that cannot take 200 a second with all in place can't with half of it either.
            most = load(None, 5)
            rate = min(RATE, sum(most["statuses"].values()) / most["elapsed_s"] / 3)
            unfinished = "SELECT count(*) FROM synthesis_job WHERE status <> 'succeeded'"
            wait_until(lambda: site.rows(unfinished) == [(0,)], "the first jobs to succeed", 240)
            [(before_load,)] = site.rows("SELECT count(*) FROM synthesis_job")
            with ThreadPoolExecutor(1) as pool:
                loading = pool.submit(load, rate, SECONDS)
                time.sleep(3)
                rounds = 0
                while not loading.done():
                    # The web processes, one after the other.
                    assert stack.web is not None
                    for process in (stack.web, other):
                        process.terminate()
                        assert process.wait(timeout=30) == 0
                        if process is stack.web:
                            stack.start_web()
                        else:
                            other = stack.start_web(port=other_port)
                    # The worker: the next one is there before it goes, and ends what it has in hand.
                    before = stack.worker
                    assert before is not None
                    there = workers()
                    stack.start_worker()
                    wait_until(partial(more_workers, there), "the next worker", 60)
                    before.terminate()
                    assert before.wait(timeout=30) == 0
                    rounds += 1
                found = loading.result()
            print(f"{rounds} rounds at {rate:.0f} requests a second")
            assert rounds >= 1
            assert found["unanswered"] == 0
            assert set(found["statuses"]) <= {"200", "202"}, found["statuses"]
            assert sum(found["statuses"].values()) > 0.9 * rate * SECONDS
            wait_until(lambda: site.rows(unfinished) == [(0,)], "all jobs to succeed", 240)
            twice = "SELECT source, meter, speaker_id FROM billing_usageevent GROUP BY 1, 2, 3 HAVING count(*) > 1"
            assert site.rows(twice) == []
            made = found["statuses"]["202"] + before_load
            assert site.rows("SELECT count(*) FROM synthesis_job") == [(made,)]
    finally:
        kill_group(other)
