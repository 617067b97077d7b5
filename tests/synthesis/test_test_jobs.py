"""Jobs of test keys: the same path in tones, on any machine, for nothing."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.keys import issue_key
from billing.models import UsageEvent
from speakers.models import Speaker
from synthesis import dispatcher, tasks
from synthesis.models import Job, Line
from tests.conftest import Api


@pytest.fixture
def tester(alder: Api) -> Api:
    """Alder with a test key."""
    row, key, _ = issue_key(alder.tenant, live=False)
    return Api(alder.tenant, row, key)


def test_a_test_job_is_spoken_in_tones_and_costs_nothing(
    alder: Api, tester: Api, make_speaker: Callable[..., Speaker], render: Callable[[str], None]
) -> None:
    # A voice of another engine, which a live job cannot use here.
    speaker = make_speaker(alder, voice_engine="fish", voice_data={"codes": "..."})
    script = {"script": [{"speaker_id": speaker.pk, "text": "안녕하세요, hello."}]}
    assert alder.post("/v1/synthesize", script).json()["code"] == "speaker_not_ready"
    reply = tester.post("/v1/synthesize", script)
    assert reply.status_code == 202
    assert reply.json()["mode"] == "test"
    assert not Job.objects.get(pk=reply.json()["id"]).live

    render(reply.json()["id"])
    job = tester.get(f"/v1/jobs/{reply.json()['id']}").json()
    assert job["status"] == "succeeded"
    assert set(job["captions"]) == {"json", "vtt", "srt"}
    # Its length is the tone engine's: 60 ms a character, without spaces.
    line = Line.objects.get(job=job["id"])
    assert line.sample_count == 24 * 60 * len("안녕하세요,hello.")
    assert not UsageEvent.objects.exists()
    # The job can be seen with a live key too.
    assert alder.get(f"/v1/jobs/{job['id']}").json()["mode"] == "test"


def test_a_live_job_is_billed(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    job = submit(alder)
    assert job["mode"] == "live"
    render(job["id"])
    assert UsageEvent.objects.count() == 2


def test_a_line_can_be_asked_to_fail(
    tester: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    job_id = submit(tester, "Fine.", "[unspeakable]")["id"]
    render(job_id)
    job = tester.get(f"/v1/jobs/{job_id}").json()
    assert (job["status"], job["error"]["code"], job["error"]["line_id"]) == (
        "failed",
        "line_failed",
        "2",
    )


def test_each_kind_of_job_goes_to_its_own_workers(
    alder: Api, tester: Api, submit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {submit(api)["id"]: api for api in (alder, tester)}
    sent: dict[str, str] = {}

    def publish(task: str, tenant_id: str, subject: str, origin: dict[str, str]) -> None:
        sent[subject] = task

    monkeypatch.setattr(dispatcher, "publish_task", publish)
    monkeypatch.setattr(dispatcher, "queue_length", lambda queue: 0)
    dispatcher.Dispatcher().round()
    expected = {
        pk: "synthesis.render_job" if api is alder else "synthesis.render_test_job"
        for pk, api in ids.items()
    }
    assert sent == expected
    # Only the queue of the test jobs is empty: the live one's message may be far back in its own.
    Job.objects.update(handed_at=timezone.now() - timedelta(minutes=1))
    monkeypatch.setattr(dispatcher, "queue_length", lambda queue: int(queue != "test-jobs"))
    tasks.sweep_jobs()
    [lost] = Job.objects.waiting()
    assert ids[lost.pk] is tester
