"""What operators see at first: how the service is now."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import RequestCount, User
from accounts.suspension import suspend
from accounts.traffic import Traffic, forget_traffic
from billing.accounts import account_of
from billing.models import BillingAccount
from billing.usage import Measurement, record_usage
from synthesis.models import Job, Worker
from synthesis.overview import overview
from synthesis.workers import Presence, forget_workers
from tests.conftest import Api, log_in

Submit = Callable[..., dict[str, Any]]


def test_the_queue_and_the_work_are_counted(alder: Api, birch: Api, submit: Submit) -> None:
    nothing = overview()
    assert (nothing.waiting_jobs, nothing.oldest_s, nothing.failed_share) == (0, None, None)
    first = submit(alder, "One.", "Two.")["id"]
    Job.objects.filter(pk=first).update(created_at=timezone.now() - timedelta(seconds=90))
    working = submit(alder, "One.", "Two.", "Three.")["id"]
    Job.objects.filter(pk=working).update(
        status="processing", handed_at=timezone.now(), lines_done=1
    )
    submit(birch, "One.")
    now = overview()
    assert (now.waiting_jobs, now.waiting_lines) == (2, 3)
    assert now.oldest_s is not None
    assert 90 <= now.oldest_s <= 100
    assert (now.working_jobs, now.working_lines) == (1, 2)
    suspend(alder.tenant, "They owe us a year of money.")
    assert overview().waiting_jobs == 1  # what may not be spoken is in nobody's way


def test_what_ended_in_an_hour_and_who_is_in_trouble(
    alder: Api, birch: Api, submit: Submit
) -> None:
    now = timezone.now()
    for status, ended in (
        *(("succeeded", now), ("failed", now), ("failed", now), ("canceled", now)),
        ("failed", now - timedelta(hours=2)),
    ):
        Job.objects.filter(pk=submit(alder)["id"]).update(status=status, finished_at=ended)
    account_of(birch.tenant, now)
    BillingAccount.objects.filter(tenant=birch.tenant).update(standing="restricted")
    seen = overview()
    assert (seen.ended, seen.failed) == (3, 2)
    assert seen.failed_share == pytest.approx(2 / 3)
    what = {one.tenant.pk: list(one.what) for one in seen.troubles}
    assert what == {
        alder.tenant.pk: ["2 jobs failed"],
        birch.tenant.pk: ["payment: restricted"],
    }


def test_revenue_is_of_today(alder: Api, submit: Submit, render: Callable[[str], None]) -> None:
    render(submit(alder, "Good morning.")["id"])
    job = Job.objects.get()
    assert overview().revenue == [("USD", round(job.cost))]
    Job.objects.update(finished_at=timezone.now() - timedelta(days=1))
    assert overview().revenue == []


def test_the_gpus_factor_is_its_time_by_the_length_of_audio(alder: Api) -> None:
    assert overview().gpu_factor is None
    measured = [Measurement("audio_ms", 60_000), Measurement("gpu_ms", 3_000)]
    record_usage(alder.tenant, measured, source="job:1", occurred_at=timezone.now())
    assert overview().gpu_factor == pytest.approx(0.05)


@pytest.mark.django_db
def test_requests_are_counted_by_all_processes() -> None:
    one, other = Traffic(), Traffic()
    for status in (200, 404, 503):
        one.count(status)
    other.count(500)
    one.add()
    other.add()
    one.add()  # there is nothing left to add
    seen = overview()
    assert (seen.requests, seen.failures) == (4, 2)
    assert seen.failures_share == pytest.approx(0.5)
    RequestCount.objects.update(minute=timezone.now() - timedelta(days=3))
    assert overview().requests == 0
    assert forget_traffic() == 0
    # What was promised is shown for a year.
    RequestCount.objects.update(minute=timezone.now() - timedelta(days=401))
    assert forget_traffic() == 1


@pytest.mark.django_db
def test_workers_say_that_they_are_there() -> None:
    Presence(["render", "default"]).say()
    assert (overview().workers, overview().silent) == (1, 0)
    assert Worker.objects.get().queues == ["default", "render"]
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    assert (overview().workers, overview().silent) == (0, 1)
    Worker.objects.update(seen_at=timezone.now() - timedelta(days=2))
    forget_workers()
    assert not Worker.objects.exists()


def test_the_front_page_shows_it(alder: Api, submit: Submit, operator: User) -> None:
    browser = log_in(operator, second_factor=True)
    assert b'hx-get="/admin/synthesis/job/overview"' in browser.get("/admin/").content
    path = "/admin/synthesis/job/overview"
    assert b'data-figure="waiting">0<' in browser.get(path).content
    submit(alder)
    assert b'data-figure="waiting">1<' in browser.get(path).content
