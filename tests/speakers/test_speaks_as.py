"""A speaker that speaks with the voice of another, and gets its own back."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from speakers.models import Speaker
from synthesis.models import Job, Line
from synthesis.rendering import fail_jobs_of_speaker
from tests.conftest import Api


@pytest.fixture
def anna(alder: Api, make_speaker: Callable[..., Speaker]) -> Speaker:
    return make_speaker(alder, "Anna", voice_data={"pitch_hz": 120, "level": 0.5})


@pytest.fixture
def ben(alder: Api, make_speaker: Callable[..., Speaker]) -> Speaker:
    return make_speaker(alder, "Ben", voice_data={"pitch_hz": 330, "level": 0.5})


def speak_as(api: Api, speaker: Speaker, voice_id: str | None) -> Any:
    return api.patch(f"/v1/speakers/{speaker.pk}", {"speaks_as": voice_id})


def submit(api: Api, speaker: Speaker) -> str:
    lines = [{"speaker_id": speaker.pk, "text": "Good morning."}]
    made = api.post("/v1/synthesize", {"script": lines, "seed": 1})
    assert made.status_code == 202, made.json()
    return str(made.json()["id"])


def sound_of(render: Callable[[str], None], job_id: str) -> str:
    render(job_id)
    job = Job.objects.get(pk=job_id)
    assert job.status == "succeeded"
    return job.audio_sha256


def test_it_sounds_like_the_other_under_its_own_name_until_it_has_its_own_voice_again(
    alder: Api, anna: Speaker, ben: Speaker, render: Callable[[str], None]
) -> None:
    own, other = (sound_of(render, submit(alder, one)) for one in (anna, ben))
    waiting = submit(alder, anna)
    assert speak_as(alder, anna, ben.pk).json()["speaks_as"] == ben.pk
    borrowed = submit(alder, anna)
    assert sound_of(render, borrowed) == other != own
    # What was submitted before is spoken as it was submitted.
    assert sound_of(render, waiting) == own
    captions = alder.get(f"/v1/jobs/{borrowed}").json()["captions"]["json"]
    assert '"Anna"' in Client().get(captions).getvalue().decode()
    assert speak_as(alder, anna, None).json()["speaks_as"] is None
    assert sound_of(render, submit(alder, anna)) == own


def test_a_voice_that_was_retired_speaks_for_nobody(
    alder: Api, anna: Speaker, ben: Speaker, render: Callable[[str], None]
) -> None:
    speak_as(alder, anna, ben.pk)
    waiting, begun = submit(alder, anna), submit(alder, anna)
    assert alder.delete(f"/v1/speakers/{ben.pk}").status_code == 204
    assert alder.get(f"/v1/speakers/{anna.pk}").json()["speaks_as"] is None
    render(begun)
    fail_jobs_of_speaker(Speaker.objects.get(pk=ben.pk))
    for job_id in (begun, waiting):
        error = alder.get(f"/v1/jobs/{job_id}").json()["error"]
        assert error["code"] == "speaker_not_found"
        assert "Ben" in error["detail"]
    render(submit(alder, anna))


def test_voices_are_not_passed_on(
    alder: Api, anna: Speaker, ben: Speaker, make_speaker: Callable[..., Speaker]
) -> None:
    cleo = make_speaker(alder, "Cleo")
    assert speak_as(alder, ben, anna.pk).json()["speaks_as"] == anna.pk
    speak_as(alder, cleo, ben.pk)
    line = Line.objects.get(job=submit(alder, cleo))
    assert line.spoken_by == ben
    assert speak_as(alder, cleo, cleo.pk).json()["speaks_as"] is None


def test_only_a_voice_of_ones_own_that_is_ready_is_taken(
    alder: Api, birch: Api, anna: Speaker, make_speaker: Callable[..., Speaker]
) -> None:
    foreign = make_speaker(birch, "Zoe").pk
    failed = make_speaker(alder, "Dan", status="failed").pk
    for voice_id, code, says in (
        (foreign, "speaker_not_found", "no such speaker"),
        ("nobody", "speaker_not_found", "no such speaker"),
        (failed, "speaker_not_ready", "The voice of Dan is not ready."),
    ):
        reply = speak_as(alder, anna, voice_id)
        assert reply.status_code == 422
        assert reply.json()["code"] == code
        [error] = reply.json()["errors"]
        assert error["pointer"] == "/speaks_as"
        assert says in error["detail"]
    assert Speaker.objects.get(pk=anna.pk).speaks_as_id is None
