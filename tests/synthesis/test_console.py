"""Jobs and dead letters in the operators' console."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEvent, OutboxMessage, User
from synthesis.models import Job
from tests.conftest import Api, log_in

JOBS = "/admin/synthesis/job/"
LETTERS = "/admin/accounts/outboxmessage/"
WORDS = "The merger closes on Friday."
TITLE = "Quarterly secret"
REASON = "They hear a word twice."

Submit = Callable[..., dict[str, Any]]


@pytest.fixture
def job(alder: Api, submit: Submit) -> Job:
    made = submit(alder, WORDS, title=TITLE, metadata={"deal": "Project Heron"})
    Job.objects.filter(pk=made["id"]).update(
        status="failed", error_code="engine_error", error_detail="Line 1 could not be spoken."
    )
    return Job.objects.get(pk=made["id"])


def test_a_failed_job_is_found_with_why_and_without_its_content(
    alder: Api, birch: Api, submit: Submit, operator: User, job: Job
) -> None:
    other = submit(birch)["id"]
    browser = log_in(operator, second_factor=True)
    failed = browser.get(f"{JOBS}?status__exact=failed").content.decode()
    assert job.pk in failed
    assert other not in failed
    by_tenant = browser.get(f"{JOBS}?q={birch.tenant.pk}").content.decode()
    assert other in by_tenant
    assert job.pk not in by_tenant
    shown = browser.get(f"{JOBS}{job.pk}/change/").content.decode()
    assert "Line 1 could not be spoken." in shown
    for page in (failed, shown):
        for secret in (WORDS, TITLE, "Heron"):
            assert secret not in page


def test_content_opens_for_a_reason_that_the_customer_reads(
    alder: Api, operator: User, job: Job
) -> None:
    browser = log_in(operator, second_factor=True)
    path = f"{JOBS}{job.pk}/content"
    for refused in (
        browser.get(path),
        browser.get(f"{path}?reason={REASON}"),
        browser.send(path),
        browser.send(path, reason="   because   "),
    ):
        assert refused.status_code == 200
        assert WORDS not in refused.content.decode()
        assert TITLE not in refused.content.decode()
    assert not AuditEvent.objects.filter(action="content.opened").exists()

    opened = browser.send(path, reason=REASON).content.decode()
    for content in (WORDS, TITLE, "Heron"):
        assert content in opened
    [event] = alder.get("/v1/audit-events?action=content.opened").json()["data"]
    assert event["target"] == job.pk
    assert event["details"] == {"reason": REASON}
    assert event["actor"]["name"] == operator.email
    # Once: the next look needs a reason of its own.
    assert WORDS not in browser.get(path).content.decode()


def test_nobody_else_opens_content(alder: Api, operator: User, job: Job) -> None:
    path = f"{JOBS}{job.pk}/content"
    assert alder.post(path, {"reason": REASON}).status_code in {302, 403}
    assert log_in(operator).send(path, reason=REASON).status_code == 302
    assert not AuditEvent.objects.filter(action="content.opened").exists()


def test_a_failed_job_is_requeued_and_another_is_left(
    alder: Api, submit: Submit, operator: User, job: Job
) -> None:
    going = submit(alder)["id"]
    browser = log_in(operator, second_factor=True)
    for asked in (job.pk, going):
        assert browser.send(JOBS, action="requeue", _selected_action=asked).status_code == 302
    job.refresh_from_db()
    assert (job.status, job.error_code, job.error_detail) == ("queued", "", "")
    shown = browser.get(JOBS).content.decode()
    assert f"{job.pk} is queued again." in shown
    assert f"{going}: Only failed and canceled jobs can be retried" in shown
    [event] = alder.get("/v1/audit-events?action=job.requeued").json()["data"]
    assert (event["target"], event["actor"]["name"]) == (job.pk, operator.email)


def dead_letter(subject: str, **fields: Any) -> OutboxMessage:
    long_ago = timezone.now() - timedelta(days=2)
    values = {"kind": "task", "payload": {"task": "synthesis.render_job"}} | fields
    return OutboxMessage.objects.create(
        subject=subject,
        due_at=long_ago,
        given_up_at=long_ago,
        attempts=40,
        last_error="Connection refused",
        **values,
    )


@pytest.mark.django_db
def test_dead_letters_are_shown_and_requeued(operator: User) -> None:
    first, second = dead_letter("job_first"), dead_letter("job_second")
    dead_letter("mina@example.com", kind="mail", payload={"text": "Your code is 123456"})
    OutboxMessage.objects.create(kind="task", subject="job_alive", due_at=timezone.now())
    browser = log_in(operator, second_factor=True)
    shown = browser.get(LETTERS).content.decode()
    for expected in ("job_first", "job_second", "synthesis.render_job", "Connection refused"):
        assert expected in shown
    assert "job_alive" not in shown
    for letter in OutboxMessage.objects.exclude(given_up_at=None):
        assert "123456" not in browser.get(f"{LETTERS}{letter.pk}/change/").content.decode()

    reply = browser.send(LETTERS, action="requeue", _selected_action=str(first.pk))
    assert reply.status_code == 302
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.given_up_at is None
    assert first.attempts == 0
    assert second.given_up_at is not None
    [event] = AuditEvent.objects.filter(action="dead_letter.requeued")
    assert (event.tenant_id, event.target) == (None, "job_first")
    assert event.actor_name == operator.email


def test_lists_ask_as_much_for_many_rows_as_for_few(
    alder: Api, submit: Submit, operator: User
) -> None:
    browser = log_in(operator, second_factor=True)

    def queries(path: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert browser.get(path).status_code == 200
        return len(asked)

    submit(alder)
    dead_letter("job_0")
    browser.get(JOBS)
    few = [queries(path) for path in (JOBS, LETTERS)]
    for number in range(8):
        submit(alder)
        dead_letter(f"job_{number}")
    assert [queries(path) for path in (JOBS, LETTERS)] == few
