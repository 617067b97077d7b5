"""The worker's side of a job: never lost, never spoken twice, never billed twice."""

import errno
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from celery import current_app
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from accounts.models import OutboxMessage
from accounts.outbox import relay
from billing.models import UsageEvent
from speakers.enrollment import retire_speaker
from speakers.models import Speaker
from synthesis import quarantine, rendering, storage
from synthesis.dispatcher import Dispatcher
from synthesis.engines.base import FailedLine, LineToSpeak, SpokenLine
from synthesis.engines.tone import ToneEngine
from synthesis.models import Job, Line, Quarantine
from synthesis.rendering import JobLost
from synthesis.submission import delete_job
from synthesis.tasks import erase_expired_jobs, render_job, sweep_jobs, wake_next_suspect
from tests.accounts.disk import files_below
from tests.conftest import Api

Submit = Callable[..., dict[str, Any]]
Render = Callable[[str], None]


class WatchedEngine(ToneEngine):
    """The tone engine, telling which lines it spoke, and letting things happen between lines."""

    def __init__(self) -> None:
        self.spoken: list[str] = []
        self.after_a_line: Callable[[], object] = lambda: None

    def speak(
        self, lines: Sequence[LineToSpeak], stopping: threading.Event
    ) -> Iterator[SpokenLine | FailedLine]:
        texts = {line.position: line.text for line in lines}
        for result in super().speak(lines, stopping):
            self.spoken.append(texts[result.position])
            yield result
            self.after_a_line()


@pytest.fixture(autouse=True)
def _keep_each_line_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As lines are that take a second and more to speak."""
    monkeypatch.setattr(rendering, "KEPT_EVERY_S", 0.0)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> WatchedEngine:
    watched = WatchedEngine()
    monkeypatch.setattr(rendering, "engine_for", lambda live: watched)
    return watched


def abandon(job_id: str) -> None:
    """Let the leases run out, as if the worker had died."""
    past = timezone.now() - timedelta(seconds=1)
    Job.objects.filter(pk=job_id).update(lease_expires_at=past)
    Quarantine.objects.filter(holder__startswith=job_id).update(until=past)


def claim_job(job_id: str) -> Job | None:
    """A worker's first step, with what its message names."""
    return rendering.claim_job(Job.objects.get(pk=job_id).tenant_id, job_id)


def claimed(job_id: str) -> Job:
    job = claim_job(job_id)
    assert job is not None
    return job


def keys_of(job_id: str) -> dict[str, str]:
    return dict(Line.objects.filter(job=job_id).values_list("line_id", "audio_key"))


def hand_over() -> list[str]:
    """A dispatcher's round. Returns the jobs that a worker was told of, by the messages in its queue."""
    drain_the_queue()
    Dispatcher().round()
    told = []
    with current_app.connection_for_read() as broker:
        while message := broker.default_channel.basic_get("render", no_ack=True):
            told.append(message.decode()[0][1])  # of the task's arguments, the tenant's id and this
    return told


def drain_the_queue() -> None:
    """Other tests leave messages, which nobody takes up here."""
    with current_app.connection_for_write() as broker:
        broker.default_channel.queue_purge("render")


def usage_of(api: Api) -> list[tuple[str, str, int]]:
    events = UsageEvent.objects.filter(tenant=api.tenant)
    return sorted(events.values_list("meter", "speaker_id", "quantity"))


def test_a_job_can_be_claimed_once(alder: Api, submit: Submit) -> None:
    job = submit(alder)
    first = claimed(job["id"])
    assert (first.status, first.attempt) == ("processing", 1)
    assert claim_job(job["id"]) is None
    assert Job.objects.get().attempt == 1


def test_a_lease_lasts_longer_than_its_heartbeat(alder: Api, submit: Submit) -> None:
    job = claimed(submit(alder)["id"])
    job.refresh_from_db()
    assert job.lease_expires_at is not None
    left = (job.lease_expires_at - timezone.now()).total_seconds()
    assert 25 < left <= 30


def test_a_job_whose_lease_ran_out_can_be_claimed_again(alder: Api, submit: Submit) -> None:
    job = submit(alder)
    claimed(job["id"])
    abandon(job["id"])
    assert claimed(job["id"]).attempt == 2
    assert claim_job(job["id"]) is None


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_a_job_that_is_over_cannot_be_claimed(alder: Api, submit: Submit, status: str) -> None:
    job = submit(alder)
    Job.objects.update(status=status)
    assert claim_job(job["id"]) is None
    assert Job.objects.get().status == status


def test_a_job_that_is_gone_cannot_be_claimed(alder: Api) -> None:
    assert rendering.claim_job(alder.tenant.pk, "job_gone") is None
    render_job(alder.tenant.pk, "job_gone")


def test_a_message_cannot_name_another_tenants_job(
    alder: Api, birch: Api, submit: Submit, engine: WatchedEngine
) -> None:
    job = submit(alder)
    render_job(birch.tenant.pk, job["id"])
    assert (Job.objects.get().status, engine.spoken) == ("queued", [])


def test_a_message_delivered_twice_speaks_a_job_once(
    alder: Api, submit: Submit, engine: WatchedEngine
) -> None:
    job = submit(alder, "One.", "Two.")
    render_job(alder.tenant.pk, job["id"])
    render_job(alder.tenant.pk, job["id"])
    assert sorted(engine.spoken) == ["One.", "Two."]
    assert Job.objects.get().attempt == 1


def test_a_line_that_fails_fails_the_job_and_names_itself_and_the_others_are_kept(
    alder: Api, make_speaker: Callable[..., Speaker], render: Render
) -> None:
    spk = make_speaker(alder).pk
    script = [
        {"id": "a", "speaker_id": spk, "text": "Good."},
        {"id": "b", "speaker_id": spk, "text": "[unspeakable] one"},
        {"id": "c", "speaker_id": spk, "text": "[unspeakable] two"},
        {"id": "d", "speaker_id": spk, "text": "Good too."},
    ]
    job = alder.post("/v1/synthesize", {"script": script}).json()
    render(job["id"])
    shown = alder.get(f"/v1/jobs/{job['id']}").json()
    assert shown["status"] == "failed"
    assert (shown["error"]["code"], shown["error"]["line_id"]) == ("line_failed", "b")
    assert "Line b" in shown["error"]["detail"]
    assert shown["progress"] == {"lines_done": 2, "lines_total": 4}
    assert shown["audio"] is None
    kept = keys_of(job["id"])
    assert [bool(kept[line]) for line in "abcd"] == [True, False, False, True]
    assert usage_of(alder) == []


def test_a_retry_speaks_only_what_is_missing(
    alder: Api, submit: Submit, engine: WatchedEngine, render: Render
) -> None:
    job = submit(alder, "One.", "[unspeakable]", "Three.")
    render(job["id"])
    before = keys_of(job["id"])
    Line.objects.filter(line_id="2").update(text="Two, mended.")
    engine.spoken.clear()
    assert alder.post(f"/v1/jobs/{job['id']}/retry").status_code == 202
    render(job["id"])
    assert engine.spoken == ["Two, mended."]
    after = keys_of(job["id"])
    assert (after["1"], after["3"]) == (before["1"], before["3"])
    shown = alder.get(f"/v1/jobs/{job['id']}").json()
    assert (shown["status"], shown["error"]) == ("succeeded", None)
    assert shown["progress"] == {"lines_done": 3, "lines_total": 3}


def test_a_worker_that_takes_over_goes_on_where_the_dead_one_stopped(
    alder: Api, submit: Submit, engine: WatchedEngine, render: Render
) -> None:
    class Death(BaseException):
        pass

    def die() -> None:
        raise Death

    job = submit(alder, "One.", "Two.", "Three.")
    engine.after_a_line = die
    with pytest.raises(Death):
        rendering.render(claimed(job["id"]))
    assert Job.objects.get().status == "processing"
    before = keys_of(job["id"])
    engine.after_a_line = lambda: None
    abandon(job["id"])
    render(job["id"])
    assert engine.spoken == ["One.", "Two.", "Three."]
    assert keys_of(job["id"])["1"] == before["1"] != ""
    assert Job.objects.get().status == "succeeded"


def test_a_job_canceled_between_two_lines_stops_and_a_retry_goes_on(
    alder: Api, submit: Submit, engine: WatchedEngine, render: Render
) -> None:
    job = submit(alder, "One.", "Two.", "Three.")
    path = f"/v1/jobs/{job['id']}"
    engine.after_a_line = lambda: alder.post(f"{path}/cancel")
    render(job["id"])
    shown = alder.get(path).json()
    assert (shown["status"], shown["progress"]["lines_done"]) == ("canceled", 1)
    assert "Three." not in engine.spoken
    assert usage_of(alder) == []
    before = keys_of(job["id"])

    engine.after_a_line = lambda: None
    engine.spoken.clear()
    assert alder.post(f"{path}/retry").status_code == 202
    render(job["id"])
    assert engine.spoken == ["Two.", "Three."]
    assert keys_of(job["id"])["1"] == before["1"]
    assert alder.get(path).json()["status"] == "succeeded"


def test_a_canceled_job_is_not_finished_by_the_worker_that_held_it(
    alder: Api, submit: Submit
) -> None:
    job = submit(alder)
    held = claimed(job["id"])
    assert alder.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "canceled"
    rendering.render(held)
    assert Job.objects.get().status == "canceled"
    assert usage_of(alder) == []


def test_a_worker_that_lost_its_lease_neither_finishes_nor_bills_nor_overwrites(
    alder: Api, submit: Submit
) -> None:
    job = submit(alder, "One.", "Two.")
    slow = claimed(job["id"])
    abandon(job["id"])
    fast = claimed(job["id"])
    rendering.render(fast)
    finished, billed = Job.objects.values().get(), usage_of(alder)
    assert finished["status"] == "succeeded"
    rendering.render(slow)
    rendering.fail_job(slow, "worker_lost", "Late.")
    assert Job.objects.values().get() == finished
    assert usage_of(alder) == billed


def test_a_lease_lost_between_two_lines_leaves_the_work_to_the_other_worker(
    alder: Api, submit: Submit, engine: WatchedEngine
) -> None:
    job = submit(alder, "One.", "Two.")
    first = claimed(job["id"])

    def take_over() -> None:
        engine.after_a_line = lambda: None
        abandon(job["id"])
        rendering.render(claimed(job["id"]))

    engine.after_a_line = take_over
    rendering.render(first)
    kept = Job.objects.get()
    assert (kept.status, kept.attempt, kept.lines_done) == ("succeeded", 2, 2)
    assert len(usage_of(alder)) == 2


def test_a_job_is_finished_and_billed_once(alder: Api, submit: Submit) -> None:
    job = claimed(submit(alder)["id"])
    rendering.render(job)
    billed = usage_of(alder)
    lines = list(Line.objects.filter(job=job))
    timeline = rendering.place_lines([], 44_100)
    with pytest.raises(JobLost):
        rendering.finish_job(
            job,
            timeline,
            lines,
            audio_key="x",
            audio_bytes=1,
            audio_sha256="",
            caption_keys={},
        )
    assert len(billed) == 2
    assert usage_of(alder) == billed
    assert Job.objects.get().audio_key != "x"


def test_three_attempts_that_finish_nothing_end_a_job(alder: Api, submit: Submit) -> None:
    job = submit(alder, "One.", "Two.")
    for attempt in (1, 2, 3):
        assert claimed(job["id"]).attempt == attempt
        abandon(job["id"])
    assert claim_job(job["id"]) is None
    shown = alder.get(f"/v1/jobs/{job['id']}").json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "worker_lost")


def test_an_attempt_that_finishes_a_line_earns_three_more(
    alder: Api, submit: Submit, engine: WatchedEngine
) -> None:
    class Death(BaseException):
        pass

    def die() -> None:
        raise Death

    job = submit(alder, "One.", "Two.", "Three.")
    for _ in range(2):
        claimed(job["id"])
        abandon(job["id"])
    engine.after_a_line = die
    with pytest.raises(Death):
        rendering.render(claimed(job["id"]))
    abandon(job["id"])
    for _ in range(3):
        claimed(job["id"])
        abandon(job["id"])
    assert claim_job(job["id"]) is None
    assert Job.objects.get().error_code == "worker_lost"


def test_a_job_that_a_customer_retries_has_three_attempts_again(alder: Api, submit: Submit) -> None:
    job = submit(alder)
    for _ in range(3):
        claimed(job["id"])
        abandon(job["id"])
    assert claim_job(job["id"]) is None
    assert alder.post(f"/v1/jobs/{job['id']}/retry").status_code == 202
    for _ in range(3):
        claimed(job["id"])
        abandon(job["id"])
    assert claim_job(job["id"]) is None
    assert Job.objects.get().error_code == "worker_lost"


def test_suspect_jobs_run_one_at_a_time_until_a_new_line_clears_them(
    alder: Api, submit: Submit, engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "KEPT_EVERY_S", 60.0)  # for a suspect's first line nobody waits
    ids = [submit(alder, "One.", "Two.")["id"] for _ in range(4)]
    for job_id in ids[:3]:  # three that ran beside each other when their worker died
        claimed(job_id)
        abandon(job_id)
    suspect = claimed(ids[0])
    assert suspect.fruitless_attempts == 1
    assert claim_job(ids[1]) is None
    assert claim_job(ids[2]) is None
    # Should nobody wake them, they come again by themselves.
    for job in Job.objects.filter(pk__in=ids[1:3]):
        assert job.handed_at is None
        assert 5 < (job.due_at - timezone.now()).total_seconds() <= 10
    assert claimed(ids[3]).fruitless_attempts == 0  # a fresh job is no suspect
    assert Job.objects.get(pk=ids[1]).fruitless_attempts == 0  # nor blamed for waiting

    OutboxMessage.objects.all().delete()

    def claim_the_next() -> None:
        if not claims:
            [left] = OutboxMessage.objects.filter(payload__task="synthesis.wake_next_suspect")
            wake_next_suspect(left.tenant_id, left.subject)
        claims.append(claim_job(ids[1]))

    engine.after_a_line = claim_the_next
    claims: list[Job | None] = []
    rendering.render(suspect)
    # Its first line let the next one in, and asked a worker to come for it.
    assert [claim and claim.pk for claim in claims] == [ids[1], None]
    assert Job.objects.get(pk=ids[1]).handed_at is None


def test_a_suspect_whose_worker_died_again_frees_the_quarantine(alder: Api, submit: Submit) -> None:
    ids = [submit(alder)["id"] for _ in range(2)]
    for job_id in ids:
        claimed(job_id)
        abandon(job_id)
    claimed(ids[0])
    assert claim_job(ids[1]) is None
    abandon(ids[0])
    assert claimed(ids[1]).fruitless_attempts == 1


def test_a_worker_that_lost_a_suspect_makes_no_room_while_another_has_it(
    alder: Api, submit: Submit
) -> None:
    ids = [submit(alder)["id"] for _ in range(2)]
    for job_id in ids:
        claimed(job_id)
        abandon(job_id)
    lost = claimed(ids[0])
    # Given back, and claimed by another worker before the first has left.
    Job.objects.filter(pk=ids[0]).update(status="queued", lease_expires_at=None)
    assert claimed(ids[0]).attempt == lost.attempt + 1
    quarantine.leave(lost)
    assert claim_job(ids[1]) is None


@pytest.mark.parametrize(
    "outage",
    [
        EndpointConnectionError(endpoint_url="http://s3"),
        ClientError({"Error": {"Code": "SlowDown"}}, "PutObject"),
        OSError(errno.ENOSPC, "No space left on device"),
        OperationalError("database is locked"),
    ],
)
@pytest.mark.django_db(transaction=True)  # a connection that failed is closed
def test_an_outage_gives_a_job_back_and_costs_no_attempt(
    alder: Api,
    submit: Submit,
    engine: WatchedEngine,
    monkeypatch: pytest.MonkeyPatch,
    outage: Exception,
) -> None:
    job = submit(alder, "One.", "Two.")
    put_lines = storage.put_lines

    def fail(*args: Any) -> str:
        raise outage

    for _ in range(5):  # more often than a job may fail
        monkeypatch.setattr(storage, "put_lines", fail)
        assert hand_over() == [job["id"]]
        rendering.render(claimed(job["id"]))
        row = Job.objects.get()
        assert (row.status, row.lease_expires_at, row.fruitless_attempts) == ("queued", None, 0)
        assert 5 < (row.due_at - timezone.now()).total_seconds() <= 10
        assert hand_over() == []
        Job.objects.update(due_at=timezone.now())
    monkeypatch.setattr(storage, "put_lines", put_lines)
    rendering.render(claimed(job["id"]))
    assert Job.objects.get().status == "succeeded"
    assert len(usage_of(alder)) == 2


def test_a_worker_that_is_asked_to_end_gives_its_job_back_between_two_lines(
    alder: Api, submit: Submit, engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = threading.Event()
    monkeypatch.setattr(rendering, "stopping", stopping)
    job = submit(alder, "One.", "Two.", "Three.")
    hand_over()
    engine.after_a_line = stopping.set
    rendering.render(claimed(job["id"]))
    row = Job.objects.get()
    assert (row.status, row.lines_done, row.fruitless_attempts) == ("queued", 1, 0)
    assert hand_over() == [job["id"]]
    engine.after_a_line = lambda: None
    stopping.clear()
    rendering.render(claimed(job["id"]))
    assert engine.spoken == ["One.", "Two.", "Three."]
    assert Job.objects.get().status == "succeeded"


def test_an_error_of_our_own_is_an_attempt(
    alder: Api, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(alder)

    def fail(*args: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(storage, "put_lines", fail)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            rendering.render(claimed(job["id"]))
    assert claim_job(job["id"]) is None
    assert Job.objects.get().error_code == "worker_lost"


def test_nothing_is_spoken_while_it_could_not_be_kept(
    alder: Api, submit: Submit, engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(alder)

    def away() -> None:
        raise EndpointConnectionError(endpoint_url="http://s3")

    monkeypatch.setattr(rendering, "require_storage", away)
    rendering.render(claimed(job["id"]))
    assert engine.spoken == []
    assert Job.objects.get().status == "queued"


def test_a_waiting_job_is_not_asked_for_again_while_its_message_may_be_in_the_queue(
    alder: Api, submit: Submit
) -> None:
    job = submit(alder)
    drain_the_queue()
    current_app.send_task("synthesis.render_job", args=["job_other"], queue="render")
    Job.objects.update(handed_at=timezone.now() - timedelta(seconds=100))
    sweep_jobs()
    assert Job.objects.get().handed_at is not None
    Job.objects.update(handed_at=timezone.now() - timedelta(seconds=140))
    sweep_jobs()
    assert hand_over() == [job["id"]]


def test_an_operator_sees_and_requeues_the_jobs_that_were_lost(alder: Api, submit: Submit) -> None:
    job = submit(alder)
    for _ in range(3):
        claimed(job["id"])
        abandon(job["id"])
    assert claim_job(job["id"]) is None
    out = io.StringIO()
    call_command("lost_jobs", stdout=out)
    assert job["id"] in out.getvalue()
    assert "Alder" in out.getvalue()
    assert "Hello there." not in out.getvalue()  # no content
    with pytest.raises(CommandError):
        call_command("lost_jobs", requeue=["job_none"])
    call_command("lost_jobs", requeue=[job["id"]], stdout=out)
    rendering.render(claimed(job["id"]))
    assert Job.objects.get().status == "succeeded"


def test_a_job_deleted_before_its_worker_begins_leaves_no_file(alder: Api, submit: Submit) -> None:
    job = submit(alder, "One.", "Two.")
    held = claimed(job["id"])
    assert alder.delete(f"/v1/jobs/{job['id']}").status_code == 204
    relay()
    rendering.render(held)
    relay()
    assert files_below(f"t/{alder.tenant.pk}") == []
    assert not Job.objects.exists()
    assert usage_of(alder) == []


def test_a_job_deleted_between_two_lines_leaves_no_file(
    alder: Api, submit: Submit, engine: WatchedEngine
) -> None:
    job = submit(alder, "One.", "Two.", "Three.")

    def erase() -> None:
        delete_job(Job(pk=job["id"], tenant=alder.tenant))
        relay()
        assert files_below(f"t/{alder.tenant.pk}") == []

    engine.after_a_line = erase
    rendering.render(claimed(job["id"]))
    relay()
    assert "Three." not in engine.spoken
    assert files_below(f"t/{alder.tenant.pk}") == []
    assert usage_of(alder) == []


def test_a_job_deleted_after_its_last_line_leaves_no_file(
    alder: Api, submit: Submit, engine: WatchedEngine
) -> None:
    job = submit(alder, "One.")

    def erase() -> None:
        delete_job(Job(pk=job["id"], tenant=alder.tenant))
        relay()

    engine.after_a_line = erase
    rendering.render(claimed(job["id"]))
    relay()
    assert files_below(f"t/{alder.tenant.pk}") == []
    assert usage_of(alder) == []


def test_a_speaker_deleted_before_a_job_begins_fails_it_and_is_named(
    alder: Api, submit: Submit, render: Render
) -> None:
    job = submit(alder, "One.")
    speaker = Speaker.objects.get()
    alder.delete(f"/v1/speakers/{speaker.pk}")
    render(job["id"])
    error = alder.get(f"/v1/jobs/{job['id']}").json()["error"]
    assert (error["code"], error["line_id"]) == ("speaker_not_found", "1")
    assert speaker.name in error["detail"]


def test_a_job_whose_lines_are_all_kept_finishes_without_its_deleted_speaker(
    alder: Api, submit: Submit, engine: WatchedEngine, render: Render
) -> None:
    job = submit(alder, "One.")
    path = f"/v1/jobs/{job['id']}"
    engine.after_a_line = lambda: alder.post(f"{path}/cancel")
    render(job["id"])
    alder.delete(f"/v1/speakers/{Speaker.objects.get().pk}")
    alder.post(f"{path}/retry")
    render(job["id"])
    assert alder.get(path).json()["status"] == "succeeded"


def test_lost_jobs_are_asked_for_again(alder: Api, submit: Submit) -> None:
    ids = {name: submit(alder)["id"] for name in ("fresh", "waiting", "held", "lost", "over")}
    Job.objects.update(handed_at=timezone.now() - timedelta(minutes=1))
    Job.objects.filter(pk=ids["fresh"]).update(handed_at=timezone.now())
    Job.objects.filter(pk=ids["over"]).update(status="canceled")
    claimed(ids["held"])
    claimed(ids["lost"])
    abandon(ids["lost"])
    drain_the_queue()
    sweep_jobs()
    assert {job.pk for job in Job.objects.waiting()} == {ids["waiting"], ids["lost"]}


def test_a_job_is_erased_when_its_time_is_over(alder: Api, submit: Submit, render: Render) -> None:
    job, other = submit(alder), submit(alder)
    render(job["id"])
    render(other["id"])
    erase_expired_jobs()
    assert Job.objects.count() == 2
    Job.objects.filter(pk=job["id"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    erase_expired_jobs()
    relay()
    assert Job.objects.get().pk == other["id"]
    assert files_below(f"t/{alder.tenant.pk}/j/{job['id']}") == []
    assert len(files_below(f"t/{alder.tenant.pk}/j/{other['id']}")) == 6
    assert len(usage_of(alder)) == 4  # what was used stays on the ledger


def test_a_line_finished_after_its_speaker_was_deleted_is_not_kept(
    alder: Api, submit: Submit, engine: WatchedEngine
) -> None:
    job = submit(alder, "One.", "Two.", "Three.")
    engine.after_a_line = lambda: retire_speaker(Speaker.objects.get())
    rendering.render(claimed(job["id"]))
    row = Job.objects.get()
    assert (row.status, row.error_code, row.lines_done) == ("failed", "speaker_not_found", 1)
    assert row.error_line_id == "2"
    kept = {line.audio_key for line in Line.objects.all()} - {""}
    assert len(kept) == 1
    assert set(files_below(row.folder)) == kept
