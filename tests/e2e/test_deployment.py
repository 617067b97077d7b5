"""A deployment as a customer meets it, from outside: ``make e2e URL=https://... KEY=...``

It registers a speaker, speaks with it, and leaves nothing behind. With a live key it is billed for a few
seconds of audio; a test key is billed nothing and gets tones.
"""

import hashlib
import json
import os
import ssl
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pysubs2
import pytest
import soundfile
import voicereel
import webvtt

from tests.e2e.human_speech import OPENING, two_cities
from tests.operations.servers import wait_until

pytestmark = pytest.mark.deployment

_READY_S = 600.0  # a GPU worker may have to be started first
_COUNTED_S = 15.0

SCRIPT = ["Is this thing on?", "It is. We have been on the air for a minute.", "Then good evening."]


@pytest.fixture(scope="module")
def url() -> str:
    url = os.environ.get("E2E_URL", "").rstrip("/")
    if not url.startswith("https://") or not os.environ.get("E2E_KEY"):
        pytest.exit("Say which deployment: make e2e URL=https://... KEY=...", returncode=2)
    return url


@pytest.fixture(scope="module")
def client(url: str) -> voicereel.Client:
    return voicereel.Client(os.environ["E2E_KEY"], url)


@pytest.fixture(scope="module")
def name() -> str:
    """Of this run alone."""
    return f"e2e {uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def speaker(client: voicereel.Client, name: str) -> Iterator[voicereel.Speaker]:
    made = client.register_speaker(
        name, two_cities(), language="en", transcript=OPENING, consent=True
    )
    try:
        yield client.wait_for_speaker(made.id, _READY_S)
    finally:
        client.delete_speaker(made.id)


@pytest.fixture(scope="module")
def job(client: voicereel.Client, speaker: voicereel.Speaker, name: str) -> Iterator[voicereel.Job]:
    made = client.synthesize(
        [{"speaker_id": speaker.id, "text": text} for text in SCRIPT],
        title=name,
        output={"format": "wav"},
        captions=["json", "vtt", "srt"],
        metadata={"project": name},
    )
    try:
        yield client.wait_for_job(made.id, _READY_S)
    finally:
        client.delete_job(made.id)


def test_it_speaks_tls_1_3_alone_and_says_for_how_long(url: str) -> None:
    old = ssl.create_default_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", verify=old, timeout=10)
    answer = httpx.get(f"{url}/healthz", timeout=10)
    assert answer.status_code == 200
    assert "max-age=" in answer.headers["Strict-Transport-Security"]


def test_its_document_is_there_and_a_stranger_gets_nothing_else(url: str) -> None:
    assert httpx.get(f"{url}/v1/openapi.json", timeout=30).json()["openapi"].startswith("3.")
    refused = httpx.get(f"{url}/v1/jobs", timeout=10)
    assert refused.status_code == 401
    assert refused.json()["code"] == "invalid_api_key"
    # What is for the orchestrator alone.
    for inner in ("/readyz", "/metrics"):
        assert httpx.get(f"{url}{inner}", timeout=10).status_code == 404


def test_a_speaker_was_measured(speaker: voicereel.Speaker) -> None:
    assert speaker.status == "ready"
    assert speaker.voice_mode in ("cloned", "adapted", "nearest_preset")


def test_audio_is_what_the_job_says(
    client: voicereel.Client, job: voicereel.Job, tmp_path: Path
) -> None:
    audio = client.download_audio(job, tmp_path / "a.wav")
    info = soundfile.info(audio)
    assert job.audio is not None
    assert hashlib.sha256(audio.read_bytes()).hexdigest() == job.audio.sha256
    assert abs(info.frames * 1000 / info.samplerate - job.audio.duration_ms) <= 1
    # Somebody reads aloud there; it is not a beep, and not for ever.
    assert 2 < info.frames / info.samplerate < 60


def test_captions_match_the_audio_to_the_sample(
    client: voicereel.Client, job: voicereel.Job, tmp_path: Path
) -> None:
    info = soundfile.info(client.download_audio(job, tmp_path / "a.wav"))
    captions = json.loads(client.download_captions(job, "json", tmp_path / "a.json").read_text())
    cues = captions["cues"]
    assert [cue["text"] for cue in cues] == SCRIPT
    assert cues[-1]["end_sample"] <= info.frames
    assert all(one["end_sample"] <= two["start_sample"] for one, two in pairwise(cues))
    starts = [cue["start_sample"] * 1000 // info.samplerate for cue in cues]
    vtt = webvtt.read(client.download_captions(job, "vtt", tmp_path / "a.vtt"))
    srt = pysubs2.load(str(client.download_captions(job, "srt", tmp_path / "a.srt")))
    assert [" ".join(caption.text.split(">")[-1].split()) for caption in vtt] == SCRIPT
    assert all(abs(one.start - start) <= 1 for one, start in zip(srt, starts, strict=True))


def test_links_need_no_key_and_bear_no_change(job: voicereel.Job) -> None:
    assert job.audio is not None
    link = job.audio.url
    assert httpx.get(link, timeout=30, follow_redirects=True).status_code == 200
    assert job.links_expire_at is not None
    assert 0 < job.links_expire_at.timestamp() - time.time() <= 15 * 60 + 5
    # /v1/files/what.until.signature/name
    signature = link.rpartition("/")[0].rpartition(".")[2]
    forged = link.replace(signature, ("b" if signature[0] == "a" else "a") + signature[1:])
    assert httpx.get(forged, timeout=30).status_code == 403


def test_usage_counts_what_was_spoken(
    client: voicereel.Client, job: voicereel.Job, name: str
) -> None:
    assert job.audio is not None
    expected = job.audio.duration_ms if job.mode == "live" else 0

    def counted() -> int:
        rows = client.usage(group_by=["project"]).rows
        return sum(row.audio_ms for row in rows if row.project == name)

    wait_until(lambda: counted() == expected, f"{expected} ms of {name}", _COUNTED_S, every_s=1)


def test_what_is_deleted_is_gone(client: voicereel.Client, speaker: voicereel.Speaker) -> None:
    made = client.synthesize([{"speaker_id": speaker.id, "text": "Good night."}])
    done = client.wait_for_job(made.id, _READY_S)
    assert done.audio is not None
    client.delete_job(made.id)
    with pytest.raises(voicereel.ApiError) as gone:
        client.get_job(made.id)
    assert gone.value.status == 404
    assert httpx.get(done.audio.url, timeout=30).status_code == 404
