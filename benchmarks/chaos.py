"""Everything is killed at random, and every job is done once.

    make chaos

Five hundred jobs of five tenants, lines of 50 to 2,000 ms, at four workers, while these kill themselves
at five stages of jobs' lives, and web processes, the relay, the dispatcher and Redis (with its data gone)
are killed with -9, and PostgreSQL once. Fifty more jobs are deleted on the way. Then everything is left
alone, and two minutes later:

- all 500 have succeeded; their files have the hashes that their rows name;
- no line that was kept was spoken again;
- each job was billed once, for each speaker and meter;
- of the deleted jobs there is neither row nor file.

It ends with status 1 if one of these does not hold, or a stage was hit less than ten times.
"""

import contextlib
import hashlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import voicereel

from benchmarks.chaos_worker import STAGES
from benchmarks.customers import Customer, make_customers
from benchmarks.installation import Installation
from tests.operations.servers import ServerFailed, wait_until
from voicereel_site.local_stack import kill_group

TENANTS, JOBS, DELETED, KILLS_OF_EACH = 5, 500, 50, 12
WORKERS = 4
WORKER = "benchmarks.chaos_worker"
_LONGEST_S = 420.0  # of killing
_CALM_S = 120.0  # for what is left
_FEW = {str(count) for count in range(100)}  # jobs that may be unfinished when the killing ends
_EVERY_S = (6.0, 14.0)  # between two kills by hand


class Chaos:
    """Kills, and starts again what was killed."""

    def __init__(self, site: Installation) -> None:
        self.site = site
        self.workers: list[subprocess.Popen[bytes]] = []
        self.killed: Counter[str] = Counter()

    def keep_workers(self) -> None:
        """As a supervisor does."""
        alive = []
        for worker in self.workers:
            if worker.poll() is None:
                alive.append(worker)
            else:
                kill_group(worker)
        self.workers = alive
        while len(self.workers) < WORKERS:
            self.site.stack.start_worker(WORKER)
            assert self.site.stack.worker is not None
            self.workers.append(self.site.stack.worker)

    def kill_something(self) -> None:
        """One process or server, at once, and start it again."""
        stack = self.site.stack
        what: dict[str, Callable[[], None]] = {
            "web": lambda: self._again(stack.web, stack.start_web),
            "relay": lambda: self._again(stack.relay, stack.start_relay),
            "dispatcher": lambda: self._again(stack.dispatcher, stack.start_dispatcher),
            "redis": self._redis,
        }
        name = random.choice(sorted(what))
        what[name]()
        self.killed[name] += 1

    def restart_postgresql(self) -> None:
        self.site.postgres.kill()
        self.site.postgres.start()
        self.killed["postgresql"] += 1

    def _again(self, process: subprocess.Popen[bytes] | None, start: Callable[[], Any]) -> None:
        assert process is not None
        kill_group(process)
        start()

    def _redis(self) -> None:
        self.site.redis.kill()
        time.sleep(1)
        self.site.redis.start()


def submit_all(site: Installation, customers: list[Customer]) -> list[str]:
    """The ids of all jobs, in the order in which they were taken."""

    def submit(number: int) -> str:
        customer = customers[number % len(customers)]
        chance = random.Random(number)
        script = [
            {"speaker_id": chance.choice(customer.speakers), "text": f"Line {n} of {number}."}
            for n in range(chance.randint(1, 4))
        ]
        with voicereel.Client(customer.key, site.stack.url, max_retries=8) as client:
            made = client.synthesize(
                script,
                output={"format": "wav", "sample_rate": 8_000},
                idempotency_key=f"chaos-{number}",
            )
        return str(made.id)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(submit, range(JOBS + DELETED)))


def delete(site: Installation, customers: list[Customer], number: int, job_id: str) -> None:
    key = customers[number % len(customers)].key
    with (
        voicereel.Client(key, site.stack.url, max_retries=8) as client,
        contextlib.suppress(voicereel.NotFound),
    ):
        client.delete_job(job_id)


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def verdicts(site: Installation, log: Path, ids: list[str], deleted: set[str]) -> dict[str, str]:
    """What does not hold, by what it is; empty values: it holds."""
    kept_ids = [job_id for job_id in ids if job_id not in deleted]
    statuses = Counter(status for (status,) in site.rows("SELECT status FROM synthesis_job"))
    wrong_hashes = [
        job_id
        for job_id, key, sha256 in site.rows(
            "SELECT id, audio_key, audio_sha256 FROM synthesis_job WHERE status = 'succeeded'"
        )
        if hashlib.sha256((_audio(site) / key).read_bytes()).hexdigest() != sha256
    ]
    kept: set[tuple[str, int]] = set()
    again = []
    for one in events(log):
        if one["event"] == "kept":
            kept.add((one["job"], one["position"]))
        elif one["event"] == "spoken" and (one["job"], one["position"]) in kept:
            again.append((one["job"], one["position"]))
    billed = site.rows(
        "SELECT j.id FROM synthesis_job j WHERE (SELECT count(*) FROM billing_usageevent u "
        "WHERE u.source = 'job:' || j.id) <> 2 * (SELECT count(DISTINCT l.speaker_id) "
        "FROM synthesis_line l WHERE l.job_id = j.id)"
    )
    left = [job_id for job_id in deleted if list(_audio(site).rglob(f"*{job_id}*/**/*.*"))]
    deaths = Counter(one["stage"] for one in events(log) if one["event"] == "death")
    rare = {stage: deaths[stage] for stage in STAGES if deaths[stage] < 10}
    return {
        f"{JOBS} jobs succeeded": "" if statuses == {"succeeded": len(kept_ids)} else f"{statuses}",
        "every file has its hash": f"{wrong_hashes}" if wrong_hashes else "",
        "no kept line was spoken again": f"{again}" if again else "",
        "each job was billed once": f"{billed}" if billed else "",
        "nothing is left of deleted jobs": f"{left}" if left else "",
        f"ten deaths in each stage ({dict(deaths)})": f"{rare}" if rare else "",
    }


def _audio(site: Installation) -> Path:
    return site.folder / "var" / "audio"


def run(site: Installation, log: Path) -> int:
    customers = make_customers(site.as_superuser, TENANTS, 15)
    chaos = Chaos(site)
    assert site.stack.worker is not None
    kill_group(site.stack.worker)
    started = time.monotonic()
    print(f"{JOBS + DELETED} jobs of {TENANTS} tenants; every line takes 50 to 2,000 ms")
    ids = submit_all(site, customers)
    chance = random.Random(1)
    deleted = set(chance.sample(ids, DELETED))
    to_delete = [(number, job_id) for number, job_id in enumerate(ids) if job_id in deleted]
    begun = time.monotonic()
    next_kill = begun + 5
    postgresql_at = begun + 60
    while time.monotonic() - begun < _LONGEST_S:
        chaos.keep_workers()
        if time.monotonic() > next_kill:
            chaos.kill_something()
            next_kill = time.monotonic() + random.uniform(*_EVERY_S)
        if time.monotonic() > postgresql_at:
            chaos.restart_postgresql()
            postgresql_at = float("inf")
        if to_delete and random.random() < 0.5:
            delete(site, customers, *to_delete.pop())
        time.sleep(0.25)
        deaths = Counter(one["stage"] for one in events(log) if one["event"] == "death")
        done = min(deaths[stage] for stage in STAGES) >= KILLS_OF_EACH
        few = _unfinished(site)
        if done and not to_delete and postgresql_at == float("inf") and few in _FEW:
            break
        print(
            f"\r{time.monotonic() - started:4.0f} s, deaths {dict(deaths)}, unfinished {few} ",
            end="",
            flush=True,
        )
    print(f"\nKilled by hand: {dict(chaos.killed)}. Now it is left alone.")
    for number, job_id in to_delete:
        delete(site, customers, number, job_id)
    site.stack.environment["CHAOS_KILLS"] = "0"
    for worker in chaos.workers:
        kill_group(worker)
    calm = time.monotonic()
    chaos.keep_workers()
    with contextlib.suppress(ServerFailed):
        wait_until(lambda: not site.unfinished(), "all jobs to finish", _CALM_S)
    print(f"{site.unfinished()} were unfinished {time.monotonic() - calm:.0f} s later.")
    for row in site.rows(_LEFT):
        print("  left:", *row)
    # A killed worker's half-written file goes with the second round of deleting.
    with contextlib.suppress(ServerFailed):
        wait_until(lambda: not site.rows("SELECT 1 FROM accounts_outboxmessage"), "files to go", 90)
    found = verdicts(site, log, ids, deleted)
    for what, wrong in found.items():
        print(f"  {'FAILED' if wrong else 'holds '}  {what}  {wrong[:400]}")
    for worker in chaos.workers:
        kill_group(worker)
    print(f"In {time.monotonic() - started:.0f} s.")
    return 1 if any(found.values()) else 0


_LEFT = """
SELECT id, status, lines_done, lines_total, attempt, 'handed s ago', extract(epoch FROM now() - handed_at)::int,
'lease s left', extract(epoch FROM lease_expires_at - now())::int, 'due s', extract(epoch FROM due_at - now())::int
FROM synthesis_job WHERE status IN ('queued', 'processing') ORDER BY id LIMIT 20
"""


def _unfinished(site: Installation) -> str:
    try:
        return str(site.unfinished())
    except Exception:
        return "?"


def main() -> int:
    installation = Installation(SLOW_LINE_MS="50-2000", CHAOS_KILLS=str(KILLS_OF_EACH))
    log = installation.folder / "chaos.log"
    log.touch()
    installation.stack.environment["CHAOS_LOG"] = str(log)
    with installation as site:
        return run(site, log)


if __name__ == "__main__":
    sys.exit(main())
