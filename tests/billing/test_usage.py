"""The ledger: what a finished job used, exactly once, adding up to its audio."""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import soundfile
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from billing.models import UsageEvent
from billing.usage import record_usage
from speakers.models import Speaker
from synthesis.models import Job
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
    def record(quantity: int, **changed: str) -> None:
        fields = {"source": "job:1", "speaker_id": "spk_1", "api_key_id": "key_1", "project": ""}
        record_usage(
            alder.tenant, "audio_ms", quantity, **fields | changed, occurred_at=timezone.now()
        )

    record(1000)
    with pytest.raises(IntegrityError), transaction.atomic():
        record(2000)
    record(3000, speaker_id="spk_2")
    assert sorted(UsageEvent.objects.values_list("quantity", flat=True)) == [1000, 3000]
