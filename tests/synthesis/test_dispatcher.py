"""Which job is handed to a worker next, and what a job's owner is told of it."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import limits
from accounts.models import Tenant
from accounts.suspension import restore, suspend
from speakers.models import Speaker
from synthesis import backlog, dispatcher, submission
from synthesis.dispatcher import Dispatcher
from synthesis.models import Backlog, Job
from tests.conftest import Api

Submit = Callable[..., dict[str, Any]]


class Worker:
    """The broker's queue, and a worker that takes messages out of it."""

    def __init__(self) -> None:
        self.queue: list[str] = []
        self.taken: list[str] = []
        self.origins: list[Mapping[str, str]] = []

    def publish(self, task: str, tenant_id: str, subject: str, origin: Mapping[str, str]) -> None:
        self.queue.append(subject)
        self.origins.append(origin)

    def finish(self, count: int) -> None:
        done, self.queue = self.queue[:count], self.queue[count:]
        self.taken += done
        Job.objects.filter(pk__in=done).update(status=Job.Status.SUCCEEDED)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    one = Worker()
    monkeypatch.setattr(dispatcher, "publish_task", one.publish)
    monkeypatch.setattr(dispatcher, "queue_length", lambda queue: len(one.queue))
    monkeypatch.setattr(dispatcher, "LOOK_EVERY_S", 0.0)
    backlog.last_seen.forget()
    return one


def fill(api: Api, speaker: Speaker, jobs: int, *, lines: int = 1, bulk: bool = True) -> list[str]:
    rows = [
        Job(
            tenant=api.tenant,
            api_key_id=api.key.pk,
            output={},
            captions=[],
            seed=1,
            lines_total=lines,
            priority=Job.Priority.BULK if bulk else Job.Priority.INTERACTIVE,
        )
        for _ in range(jobs)
    ]
    for row, made in zip(rows, sorted(row.pk for row in rows), strict=True):
        row.pk = made
    Job.objects.bulk_create(rows)
    return [row.pk for row in rows]


def test_one_job_does_not_wait_behind_anothers_thousand(
    alder: Api, birch: Api, make_speaker: Callable[..., Speaker], worker: Worker
) -> None:
    fill(alder, make_speaker(alder), 1_000)
    one = Dispatcher()
    for _ in range(20):
        one.round()
        worker.finish(1)
    [late] = fill(birch, make_speaker(birch), 1)
    one.round()
    before = len(worker.taken) + len(worker.queue)
    worker.finish(1)
    one.round()
    assert late in worker.queue
    assert before <= 22  # no more than what waited in the broker is before it


def test_plans_get_their_weights_share_of_the_lines(
    alder: Api, birch: Api, make_speaker: Callable[..., Speaker], worker: Worker
) -> None:
    Tenant.objects.filter(pk=birch.tenant.pk).update(plan="enterprise")
    whose = {
        **dict.fromkeys(fill(alder, make_speaker(alder), 300, lines=7), 7),
        **dict.fromkeys(fill(birch, make_speaker(birch), 300, lines=20), 20),
    }
    one = Dispatcher()
    while len(worker.taken) < 200:
        one.round()
        worker.finish(1)
    lines = {7: 0, 20: 0}
    for job_id in worker.taken:
        lines[whose[job_id]] += whose[job_id]
    assert lines[20] / lines[7] == pytest.approx(4, rel=0.1)


def test_a_tenant_has_no_more_in_hand_than_its_plan_says(
    alder: Api, make_speaker: Callable[..., Speaker], worker: Worker
) -> None:
    ids = fill(alder, make_speaker(alder), 10)
    one = Dispatcher()
    for _ in range(10):
        one.round()
        worker.taken += worker.queue
        worker.queue.clear()  # taken up by workers, and not finished
    assert worker.taken == ids[:3]
    Job.objects.filter(pk=ids[0]).update(status=Job.Status.SUCCEEDED)
    one.round()
    assert worker.queue == [ids[3]]


def test_short_scripts_go_before_a_tenants_long_ones_and_do_not_keep_them_out(
    alder: Api, make_speaker: Callable[..., Speaker], worker: Worker
) -> None:
    speaker = make_speaker(alder)
    bulk = fill(alder, speaker, 10)
    short = fill(alder, speaker, 10, bulk=False)
    one = Dispatcher()
    for _ in range(8):
        one.round()
        worker.finish(1)
    assert worker.taken == [*short[:3], bulk[0], *short[3:6], bulk[1]]


def test_a_script_that_somebody_may_wait_for_is_short(alder: Api, submit: Submit) -> None:
    most = submission.INTERACTIVE_CHARACTERS
    ids = [
        submit(alder, "a" * (most // 2), "b" * (most // 2))["id"],
        submit(alder, "a" * (most + 1))["id"],
    ]
    assert [Job.objects.get(pk=pk).priority for pk in ids] == [0, 1]


def test_who_waits_is_handed_over_once(
    alder: Api, make_speaker: Callable[..., Speaker], worker: Worker
) -> None:
    [job_id] = fill(alder, make_speaker(alder), 1)
    first, second = Dispatcher(), Dispatcher()
    first.round()
    second.round()
    assert worker.queue == [job_id]
    assert Job.objects.get().handed_at is not None


def test_a_job_canceled_while_it_is_chosen_is_not_sent(
    alder: Api,
    make_speaker: Callable[..., Speaker],
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    canceled, other = fill(alder, make_speaker(alder), 2)
    choose = dispatcher.Lane._choose

    def choose_too_early(lane: dispatcher.Lane, room: int) -> Any:
        jobs = list(choose(lane, room))
        Job.objects.filter(pk=canceled).update(status=Job.Status.CANCELED)
        return jobs

    monkeypatch.setattr(dispatcher.Lane, "_choose", choose_too_early)
    Dispatcher().round()
    assert worker.queue == [other]


def test_what_the_broker_did_not_take_waits_again(
    alder: Api,
    make_speaker: Callable[..., Speaker],
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = fill(alder, make_speaker(alder), 2)
    sent: list[str] = []

    def publish(task: str, tenant_id: str, subject: str, origin: Mapping[str, str]) -> None:
        if sent:
            raise ConnectionError
        sent.append(subject)

    monkeypatch.setattr(dispatcher, "publish_task", publish)
    with pytest.raises(ConnectionError):
        Dispatcher().round()
    assert sent == ids[:1]
    assert [job.pk for job in Job.objects.waiting()] == ids[1:]


def test_the_message_carries_the_requests_id(alder: Api, submit: Submit, worker: Worker) -> None:
    job = submit(alder)
    Dispatcher().round()
    [carried] = worker.origins
    assert carried == Job.objects.get(pk=job["id"]).origin
    assert carried["request_id"].startswith("req_")


def shown(api: Api, job_id: str) -> tuple[int | None, datetime | None]:
    backlog.last_seen.forget()
    body = api.get(f"/v1/jobs/{job_id}").json()
    at = body["estimated_start_at"]
    return body["queue_position"], at and datetime.fromisoformat(at)


def test_a_job_before_which_nothing_waits_begins_now(
    alder: Api, submit: Submit, worker: Worker, render: Callable[[str], None]
) -> None:
    backlog.measure(backlog.Pace())
    backlog.last_seen.forget()
    job = submit(alder)
    position, at = shown(alder, job["id"])
    assert position == 0
    assert at is not None
    assert abs(at - timezone.now()) < timedelta(seconds=1)
    render(job["id"])
    assert shown(alder, job["id"]) == (None, None)


def test_a_queued_job_says_how_many_are_before_it_and_when_it_will_begin(
    alder: Api, birch: Api, make_speaker: Callable[..., Speaker], worker: Worker
) -> None:
    ids = fill(alder, make_speaker(alder), 10, lines=5)
    fill(birch, make_speaker(birch), 2, lines=30)
    backlog.measure(backlog.Pace())
    assert shown(alder, ids[4]) == (4 + 1, None)  # nobody knows yet how fast it goes
    Backlog.objects.update(lines_per_s=2.0)
    position, at = shown(alder, ids[4])
    # Its own four jobs of 5 lines, and the one of 30 that Birch, with the same weight, begins before it.
    assert position == 5
    assert at is not None
    assert (at - timezone.now()).total_seconds() == pytest.approx((4 * 5 + 30) / 2, abs=2)


def test_what_is_too_far_off_is_not_foreseen(
    alder: Api, make_speaker: Callable[..., Speaker], worker: Worker
) -> None:
    ids = fill(alder, make_speaker(alder), 3, lines=2_000)
    backlog.measure(backlog.Pace())
    for rate in (1e-3, 1e-12, 5e-324):
        Backlog.objects.update(lines_per_s=rate)
        assert shown(alder, ids[2]) == (2, None)


def test_the_pace_is_that_of_lines_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long jobs are handed over all at once and take their time: what counts is what is done of them."""
    now = 0.0
    monkeypatch.setattr("synthesis.backlog.time.monotonic", lambda: now)
    pace = backlog.Pace()
    left = 0
    for second in range(300):
        now += 1
        if left < 100:
            pace.note(1, 2_000, saturated=True)
            left += 2_000
        else:
            pace.note(0, 0, saturated=True)
        if second:
            left -= 5
        pace.count(left)
    assert pace.lines_per_s == pytest.approx(5, rel=0.05)
    # Nothing waits: nothing is learnt.
    before = pace.lines_per_s
    for _ in range(100):
        now += 1
        pace.note(0, 0, saturated=False)
        pace.count(0)
    assert pace.lines_per_s == before


def test_nobody_is_told_whose_the_others_are(
    alder: Api, make_speaker: Callable[..., Speaker], worker: Worker
) -> None:
    fill(alder, make_speaker(alder), 1)
    backlog.measure(backlog.Pace())
    [name] = Backlog.objects.get().shares
    assert name not in alder.tenant.pk
    assert alder.tenant.pk not in name


def test_the_estimate_is_what_happens(
    alder: Api, birch: Api, make_speaker: Callable[..., Speaker], worker: Worker
) -> None:
    """One line a step: each job's place in the order is as foreseen, give or take two jobs."""
    ids = fill(alder, make_speaker(alder), 40) + fill(birch, make_speaker(birch), 10)
    backlog.measure(backlog.Pace())
    foreseen = {}
    for job_id in ids:
        api = alder if Job.objects.get(pk=job_id).tenant_id == alder.tenant.pk else birch
        foreseen[job_id] = shown(api, job_id)[0]
    one = Dispatcher()
    while len(worker.taken) < len(ids):
        one.round()
        worker.finish(1)
    for place, job_id in enumerate(worker.taken):
        assert abs(place - (foreseen[job_id] or 0)) <= 2, job_id


def test_jobs_of_a_suspended_tenant_wait_and_are_in_nobodys_way(
    alder: Api, make_speaker: Callable[..., Speaker], worker: Worker
) -> None:
    [job] = fill(alder, make_speaker(alder), 1, lines=7)
    suspend(alder.tenant, "They owe us a year of money.")
    one = Dispatcher()
    one.round()
    assert worker.queue == []
    assert Backlog.objects.get().lines == 0
    restore(alder.tenant)
    one.round()
    assert worker.queue == [job]


def test_a_tenant_may_have_fewer_jobs_in_hand_than_its_plan(
    alder: Api, make_speaker: Callable[..., Speaker], worker: Worker
) -> None:
    fill(alder, make_speaker(alder), 5)
    limits.set_own_limits(alder.tenant, {"in_hand": 1})
    one = Dispatcher()
    one.round()
    assert len(worker.queue) == 1
    one.round()
    assert len(worker.queue) == 1
    limits.set_own_limits(alder.tenant, {})
    one.round()
    assert len(worker.queue) > 1
