"""The ledger: what a finished job used, exactly once, adding up to its audio."""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import soundfile
import time_machine
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from billing.models import UsageEvent
from billing.usage import Measurement, record_usage
from speakers.models import Speaker
from synthesis.models import Job
from synthesis.stored_bytes import measure_stored_bytes
from tests.conftest import Api


def test_usage_is_shared_among_the_speakers_and_adds_up_to_the_audio(
    alder: Api, make_speaker: Callable[..., Speaker], render: Callable[[str], None]
) -> None:
    anna, bo = make_speaker(alder, "Anna"), make_speaker(alder, "Bo")
    script = [
        {"speaker_id": anna.pk, "text": "One two three.", "speed": 1.3},
        {"speaker_id": bo.pk, "text": "안녕하세요.", "pause_after_ms": 333},
        {"speaker_id": anna.pk, "text": "Seven!", "speed": 0.7},
    ]
    body = {"script": script, "output": {"format": "wav"}, "metadata": {"project": "pilot"}}
    job_id = alder.post("/v1/synthesize", body).json()["id"]
    render(job_id)
    job = Job.objects.get(pk=job_id)
    with default_storage.open(job.audio_key) as file:
        info = soundfile.info(io.BytesIO(file.read()))
    assert job.audio_ms == round(info.frames * 1000 / info.samplerate)

    events = UsageEvent.objects.filter(tenant=alder.tenant, source=f"job:{job_id}")
    assert events.count() == 4
    of_audio = events.filter(meter="audio_ms")
    assert of_audio.aggregate(all=Sum("quantity"))["all"] == job.audio_ms
    assert all(event.quantity > 0 for event in of_audio)
    characters = dict(events.filter(meter="characters").values_list("speaker_id", "quantity"))
    assert characters == {anna.pk: len("One two three.Seven!"), bo.pk: len("안녕하세요.")}
    assert {event.project for event in events} == {"pilot"}
    assert {event.api_key_id for event in events} == {alder.key.pk}
    assert all(timezone.now() - event.occurred_at < timedelta(minutes=1) for event in events)


def test_a_job_that_fails_uses_nothing(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    render(submit(alder, "Good.", "[unspeakable]")["id"])
    assert not UsageEvent.objects.exists()


def test_usage_outlives_the_job(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    job = submit(alder)
    render(job["id"])
    before = list(UsageEvent.objects.order_by("pk").values())
    alder.delete(f"/v1/jobs/{job['id']}")
    assert len(before) == 2
    assert list(UsageEvent.objects.order_by("pk").values()) == before


def test_one_source_is_measured_once(alder: Api) -> None:
    def record(quantity: int, speaker_id: str = "spk_1") -> None:
        record_usage(
            alder.tenant,
            [Measurement("audio_ms", quantity, speaker_id)],
            source="job:1",
            api_key_id="key_1",
            project="",
            occurred_at=timezone.now(),
        )

    record(1000)
    with pytest.raises(IntegrityError), transaction.atomic():
        record(2000)
    record(3000, speaker_id="spk_2")
    assert sorted(UsageEvent.objects.values_list("quantity", flat=True)) == [1000, 3000]


def test_stored_bytes_are_measured_once_a_day_where_the_tenant_is_billed(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    assert alder.patch("/v1/billing", {"time_zone": "Asia/Seoul"}).status_code == 200
    render(submit(alder)["id"])
    [size] = Job.objects.values_list("audio_bytes", flat=True)
    measured = UsageEvent.objects.filter(meter="stored_bytes")
    assert measure_stored_bytes() == 0  # the account has no day behind it
    with time_machine.travel(tomorrow, tick=False):
        assert [measure_stored_bytes() for _ in range(2)] == [1, 0]
    [event] = measured
    assert event.quantity == size
    assert event.occurred_at.astimezone(ZoneInfo("Asia/Seoul")).strftime("%H:%M:%S") == "23:59:59"
