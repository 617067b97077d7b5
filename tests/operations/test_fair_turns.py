"""Tenants take turns at real workers: nobody waits behind another's thousand jobs."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import voicereel

from tests.operations.conftest import MakeSite, Site, ready_speaker
from tests.operations.servers import wait_until
from voicereel_site.local_stack import kill_group

pytestmark = pytest.mark.services

SLOW = "tests.operations.slow_worker"


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A worker that takes 50 ms a line."""
    made = make_site("production", SLOW_LINE_MS="50")
    assert made.stack.worker is not None
    kill_group(made.stack.worker)
    made.stack.start_worker(SLOW)
    return made


def customer(site: Site, name: str, plan: str) -> tuple[voicereel.Client, voicereel.Speaker]:
    client = voicereel.Client(
        site.stack.manage("create_tenant", name, "--plan", plan), site.stack.url
    )
    return client, ready_speaker(client)


def submitter(client: voicereel.Client, speaker: voicereel.Speaker) -> Callable[[int], str]:
    script = [{"speaker_id": speaker.id, "text": f"Line {n}."} for n in range(10)]
    output = {"format": "wav", "sample_rate": 8_000}
    return lambda _: client.synthesize(script, output=output).id


def seconds_of_one(client: voicereel.Client, speaker: voicereel.Speaker) -> float:
    """From POST to succeeded."""
    started = time.monotonic()
    client.wait_for_job(submitter(client, speaker)(0), timeout_s=120, poll_s=0.02)
    return time.monotonic() - started


def jobs_waiting(site: Site) -> int:
    """How many have not been handed to a worker."""
    query = "SELECT count(*) FROM synthesis_job WHERE status = 'queued' AND handed_at IS NULL"
    return int(site.rows(query)[0][0])


def test_one_job_does_not_wait_behind_anothers_thousand(site: Site) -> None:
    big, small = customer(site, "Alder", "enterprise"), customer(site, "Birch", "standard")
    seconds_of_one(*small)  # loads what loads at first use
    alone = min(seconds_of_one(*small) for _ in range(3))
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(submitter(*big), range(1_000)))
    wait_until(lambda: big[0].get_job(ids[3]).status != "queued", "Alder's work to go on", 30)
    beside = [seconds_of_one(*small) for _ in range(3)]
    waiting = jobs_waiting(site)
    last = big[0].get_job(ids[-1])
    assert last.status == "queued"
    print(f"alone {alone:.2f} s, beside a thousand {[f'{s:.2f}' for s in beside]}")
    assert max(beside) <= 3 * alone
    # And the thousand know where they stand.
    assert last.queue_position is not None
    assert jobs_waiting(site) - 5 <= last.queue_position <= waiting
    assert last.estimated_start_at is not None


def lines_spoken(site: Site, tenants: Sequence[str]) -> dict[str, int]:
    rows: list[tuple[Any, ...]] = site.rows(
        "SELECT t.name, coalesce(sum(j.lines_done), 0) FROM accounts_tenant t "
        "JOIN synthesis_job j ON j.tenant_id = t.id GROUP BY t.name"
    )
    found = {name: int(lines) for name, lines in rows}
    return {name: found[name] for name in tenants}


def test_weighted_plans_get_their_shares(site: Site) -> None:
    weights = {"standard": 1, "business": 2, "enterprise": 4}
    customers = {plan: customer(site, plan, plan) for plan in weights}
    worker = site.stack.worker
    assert worker is not None
    kill_group(worker)
    with ThreadPoolExecutor(8) as pool:
        for plan, count in (("standard", 95), ("business", 190), ("enterprise", 380)):
            list(pool.map(submitter(*customers[plan]), range(count)))
    before = lines_spoken(site, list(weights))
    site.stack.start_worker(SLOW)

    def spoken() -> dict[str, int]:
        now = lines_spoken(site, list(weights))
        return {plan: now[plan] - before[plan] for plan in weights}

    wait_until(lambda: sum(spoken().values()) >= 2_100, "two thousand lines", 180, every_s=0.05)
    found = spoken()
    total = sum(found.values())
    print(f"lines: {found}")
    for plan, weight in weights.items():
        assert found[plan] / total == pytest.approx(weight / 7, rel=0.1)
