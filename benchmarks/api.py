"""How many requests a second the API takes, how fast, and beside what others would take.

    make bench-api

It starts PostgreSQL, Redis and all our processes on loopback, seeds 20 tenants with 1,000 speakers and
100,000 jobs, and offers 80 % GET /v1/jobs/{id}, 10 % GET /v1/speakers, 10 % POST /v1/synthesize (ten
lines of 120 ms in tones, WAV at 8 kHz), while a worker renders and finishes every job. Then it asks
three servers, one after another, for all they can give: ours and the peers (benchmarks/peers), which do
the same work on the same database.

Goals, on two cores: at 500 requests a second no error, p50 <= 5 ms, p99 <= 50 ms; at 1,000 no error,
p99 <= 100 ms; saturation at least 10 times the naive peer's and 0.8 times FastAPI's, its p99 no worse;
POST to the worker's start p95 <= 250 ms at 100 a second. Nothing is judged while something else burns
more than a tenth of a core.
"""

import base64
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.customers import Customer, add_jobs, make_customers
from benchmarks.installation import Installation
from benchmarks.processor import Burnt, Watch
from tests.operations.servers import wait_until
from voicereel_site.local_stack import ROOT, free_port, kill_group

TENANTS, SPEAKERS, JOBS, LINES = 20, 1_000, 100_000, 10
CONNECTIONS = 64
OPEN_S, SATURATION_S, WARM_UP_S = 30.0, 8.0, 4.0
_DRAIN_S = 300.0
_RUNS_OF_EACH = 4  # of those that are compared, in turn: a virtual machine is faster now and then

PEERS = {
    "naive DRF": [
        *("gunicorn", "--workers", "2", "--no-control-socket", "--log-level", "warning"),
        *("--bind", "127.0.0.1:{port}", "benchmarks.peers.naive_drf:application"),
    ],
    "bare FastAPI": [
        *("uvicorn", "benchmarks.peers.bare_fastapi:app", "--workers", "2", "--loop", "uvloop"),
        *("--http", "httptools", "--no-access-log", "--log-level", "warning", "--port", "{port}"),
    ],
}


@dataclass(frozen=True)
class Outcome:
    """What became of a load."""

    offered: float | None  # requests a second; None: as many as there are answers
    per_s: float
    latencies_ms: dict[str, list[float]]  # by kind, sorted; "all" too
    errors: dict[str, int]
    burnt: Burnt

    def at(self, percent: float, kind: str = "all") -> float:
        """A percentile of the latencies in ms."""
        values = self.latencies_ms[kind]
        return values[min(len(values) - 1, int(len(values) * percent / 100))]

    def __str__(self) -> str:
        shown = " ".join(f"p{p:g} {self.at(p):.1f}" for p in (50, 95, 99, 99.9))
        posts = f"POST p50 {self.at(50, 'post'):.1f} p99 {self.at(99, 'post'):.1f}"
        return f"{self.per_s:7.0f}/s  {shown} ms  ({posts})  errors {self.errors or 0}"


def requests_of(customers: Sequence[Customer], port: int) -> list[tuple[str, str]]:
    """Some thousands in the proportions of the mix, by customers and jobs at random."""
    chance = random.Random(7)
    made: list[tuple[str, str]] = []
    for _ in range(4_000):
        customer = chance.choice(customers)
        head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {customer.key}\r\n"
        body = b""
        match chance.choices(("job", "speakers", "post"), (80, 10, 10))[0]:
            case "job" as kind:
                line = f"GET /v1/jobs/{chance.choice(customer.jobs)} HTTP/1.1\r\n"
            case "speakers" as kind:
                line = "GET /v1/speakers HTTP/1.1\r\n"
            case kind:
                line = "POST /v1/synthesize HTTP/1.1\r\n"
                voices = chance.sample(list(customer.speakers), 2)
                script = [{"speaker_id": voices[n % 2], "text": "ab"} for n in range(LINES)]
                output = {"format": "wav", "sample_rate": 8_000}
                body = json.dumps({"script": script, "output": output}).encode()
                head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        raw = f"{line}{head}\r\n".encode() + body
        made.append((kind, base64.b64encode(raw).decode()))
    return made


def offer(
    site: Installation,
    customers: Sequence[Customer],
    port: int,
    *,
    rate: float | None,
    seconds: float,
    pids: dict[str, int],
) -> Outcome:
    """Load a server. rate: requests a second; None: as many as it takes."""
    order = {
        "port": port,
        "requests": requests_of(customers, port),
        "seconds": seconds,
        "connections": CONNECTIONS,
        "rate": rate,
        "seed": time.time_ns(),
    }
    path = site.folder / "order.json"
    path.write_text(json.dumps(order))
    with Watch(pids) as watch:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load", str(path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    latencies: dict[str, list[float]] = {"all": [], "job": [], "speakers": [], "post": []}
    for kind, latency_ms in found["latencies_ms"]:
        latencies["all"].append(latency_ms)
        latencies[kind].append(latency_ms)
    errors = {status: n for status, n in found["statuses"].items() if status[0] != "2"}
    if found["unanswered"]:
        errors["unanswered"] = found["unanswered"]
    return Outcome(
        rate,
        len(latencies["all"]) / found["elapsed_s"],
        {kind: sorted(values) for kind, values in latencies.items()},
        errors,
        watch.burnt,
    )


def open_loop(
    site: Installation, customers: Sequence[Customer], rate: float, seconds: float
) -> tuple[Outcome, float]:
    """Returns the outcome, and in ms the 95th percentile from POST to the worker's start."""
    since = site.rows("SELECT now()")[0][0]
    print(f"\nOpen loop, {rate:.0f} requests a second for {seconds:.0f} s")
    outcome = offer(site, customers, site.stack.port, rate=rate, seconds=seconds, pids=site.pids)
    backlog = site.unfinished()
    started = time.monotonic()
    site.wait_until_drained(_DRAIN_S)
    drained_s = time.monotonic() - started
    made, succeeded, p50, p95 = site.rows(
        "SELECT count(*), count(*) FILTER (WHERE status = 'succeeded'), "
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY started_at - created_at), "
        "percentile_cont(0.95) WITHIN GROUP (ORDER BY started_at - created_at) "
        "FROM synthesis_job WHERE created_at >= %s",
        since,
    )[0]
    print(f"  {outcome}\n  {outcome.burnt}")
    print(
        f"  {made} jobs, {succeeded} succeeded; {backlog} were left at the end, and done "
        f"{drained_s:.1f} s later; POST to start p50 {p50.total_seconds() * 1000:.0f} ms, "
        f"p95 {p95.total_seconds() * 1000:.0f} ms"
    )
    if made != succeeded:
        outcome.errors["jobs not succeeded"] = made - succeeded
    return outcome, p95.total_seconds() * 1000


@contextmanager
def peer(site: Installation, name: str) -> Iterator[tuple[int, int]]:
    """A peer that runs on the installation's servers. Yields its port and its process's id."""
    port = free_port()
    program, *arguments = [part.format(port=port) for part in PEERS[name]]
    with (site.folder / "peer.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            cwd=ROOT,
            env=dict(site.as_superuser),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: _answers(port), name, 60)
        yield port, process.pid
    finally:
        kill_group(process)


def _answers(port: int) -> bool:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):  # nosec B310
            return True
    except (urllib.error.URLError, OSError):
        return False


def saturate(site: Installation, customers: Sequence[Customer], name: str) -> Outcome:
    """All that a server can give, without a worker: what is made is taken away afterwards."""
    servers = {name: pid for name, pid in site.pids.items() if name in ("postgresql", "redis")}
    if name == "ours":
        site.stack.start_web()
        outcome = _saturated(site, customers, site.stack.port, servers | {"web": site.pids["web"]})
        site.stack.stop()
    else:
        with peer(site, name) as (port, pid):
            outcome = _saturated(site, customers, port, servers | {"web": pid})
    site.forget_requests()
    print(f"  {name:13} {outcome}\n  {'':13} {outcome.burnt}")
    return outcome


def _saturated(
    site: Installation, customers: Sequence[Customer], port: int, pids: dict[str, int]
) -> Outcome:
    for seconds in (WARM_UP_S, SATURATION_S):
        outcome = offer(site, customers, port, rate=None, seconds=seconds, pids=pids)
    return outcome


def judge(what: str, met: bool, outcomes: Sequence[Outcome]) -> None:
    """Print whether a goal was met, or that nobody can tell."""
    if foreign := [one.burnt.foreign for one in outcomes if not one.burnt.can_be_judged]:
        verdict = f"NOT JUDGED: something else burnt {max(foreign):.2f} cores"
    else:
        verdict = "met" if met else "MISSED"
    print(f"  {verdict:8} {what}")


def main() -> None:
    with Installation() as site:
        print(f"Seeding {TENANTS} tenants, {SPEAKERS:,} speakers, {JOBS:,} jobs")
        customers = make_customers(site.as_superuser, TENANTS, SPEAKERS)
        add_jobs(site.postgres.url, customers, JOBS, LINES)
        offer(site, customers, site.stack.port, rate=100, seconds=WARM_UP_S, pids=site.pids)
        site.wait_until_drained(_DRAIN_S)
        calm, start_ms = open_loop(site, customers, 100, OPEN_S)
        busy, _ = open_loop(site, customers, 500, OPEN_S)
        rush, _ = open_loop(site, customers, 1_000, OPEN_S)
        site.stack.stop()
        print("\nSaturation, 64 connections, in turn")
        names = ["ours", *PEERS]
        runs: dict[str, list[Outcome]] = {name: [] for name in names}
        for _ in range(_RUNS_OF_EACH):
            for name in names:
                runs[name].append(saturate(site, customers, name))
    per_s = {name: statistics.mean(one.per_s for one in runs[name]) for name in names}
    p99 = {name: statistics.mean(one.at(99) for one in runs[name]) for name in names}
    naive, fastapi = per_s["ours"] / per_s["naive DRF"], per_s["ours"] / per_s["bare FastAPI"]
    compared = [one for name in names for one in runs[name]]
    print("\nGoals")
    judge("500/s: no error, p50 <= 5 ms", not busy.errors and busy.at(50) <= 5, [busy])
    judge("500/s: p99 <= 50 ms", busy.at(99) <= 50, [busy])
    judge("1,000/s: no error, p99 <= 100 ms", not rush.errors and rush.at(99) <= 100, [rush])
    judge(f"{naive:.1f} times naive DRF (10)", naive >= 10, compared)
    judge(f"{fastapi:.2f} times bare FastAPI (0.8)", fastapi >= 0.8, compared)
    judge(
        f"p99 {p99['ours']:.0f} ms, FastAPI's {p99['bare FastAPI']:.0f} ms",
        p99["ours"] <= p99["bare FastAPI"],
        compared,
    )
    judge(f"POST to start p95 {start_ms:.0f} ms at 100/s (250)", start_ms <= 250, [calm])


if __name__ == "__main__":
    main()
