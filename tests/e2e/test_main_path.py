"""Register, synthesize, listen, delete: on both profiles, with real processes."""

import hashlib
import json
import os
import time
import uuid
from pathlib import Path

import httpx
import pytest
import soundfile
import voicereel

from tests.e2e.human_speech import two_cities
from voicereel_site.local_stack import LocalStack


@pytest.fixture(scope="module")
def key(tone_stack: LocalStack) -> str:
    return tone_stack.manage("create_tenant", "Alder")


@pytest.fixture(scope="module")
def client(tone_stack: LocalStack, key: str) -> voicereel.Client:
    return voicereel.Client(key, tone_stack.url)


@pytest.fixture(scope="module")
def speaker(client: voicereel.Client) -> voicereel.Speaker:
    made = client.register_speaker("지민", two_cities(), language="ko", consent=True)
    return client.wait_for_speaker(made.id, timeout_s=60)


def test_a_script_becomes_one_audio_file_with_captions(
    client: voicereel.Client, speaker: voicereel.Speaker, tmp_path: Path
) -> None:
    job = client.synthesize(
        [{"speaker_id": speaker.id, "text": f"대사 {number}번입니다."} for number in range(5)],
        title="밤 기차",
        output={"format": "wav", "sample_rate": 48_000},
        metadata={"project": "night-train"},
    )
    job = client.wait_for_job(job.id, timeout_s=60)
    audio = client.download_audio(job, tmp_path / "a.wav")
    info = soundfile.info(audio)
    assert info.samplerate == 48_000
    assert job.audio is not None
    assert round(info.frames / 48) == job.audio.duration_ms
    assert hashlib.sha256(audio.read_bytes()).hexdigest() == job.audio.sha256
    captions = json.loads(client.download_captions(job, "json", tmp_path / "a.json").read_text())
    assert [cue["line_id"] for cue in captions["cues"]] == ["1", "2", "3", "4", "5"]
    assert captions["cues"][-1]["end_sample"] <= info.frames
    srt = client.download_captions(job, "srt", tmp_path / "a.srt", bom=True).read_bytes()
    assert srt.startswith(b"\xef\xbb\xbf1\n")
    client.delete_job(job.id)
    assert httpx.get(job.audio.url).status_code == 404


def test_a_deleted_jobs_files_are_gone(
    client: voicereel.Client,
    speaker: voicereel.Speaker,
    tone_stack: LocalStack,
    profile: dict[str, str],
) -> None:
    job = client.synthesize([{"speaker_id": speaker.id, "text": "Hello."}])
    client.wait_for_job(job.id, timeout_s=60)
    folder = Path(profile["VOICEREEL_VAR"]) / "audio"

    def files_left() -> list[str]:
        return [name for path, _, files in os.walk(folder) if job.id in path for name in files]

    assert len(files_left()) == 6
    client.delete_job(job.id)
    deadline = time.monotonic() + 10
    while files_left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert files_left() == []


def test_logs_hold_neither_keys_nor_links_nor_text(
    client: voicereel.Client, speaker: voicereel.Speaker, tone_stack: LocalStack
) -> None:
    job = client.synthesize([{"speaker_id": speaker.id, "text": "Xylophone quartz."}])
    job = client.wait_for_job(job.id, timeout_s=60)
    assert job.audio is not None
    httpx.get(job.audio.url)
    log = Path(tone_stack.log_name).read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any(line.get("job_id") == job.id for line in lines)
    assert "vr_live_" not in log
    assert "Xylophone" not in log
    assert job.audio.url.split("/")[-2] not in log


def test_a_workers_log_carries_the_requests_id_and_trace(
    client: voicereel.Client, speaker: voicereel.Speaker, tone_stack: LocalStack, key: str
) -> None:
    request_id, trace_id = uuid.uuid4().hex, uuid.uuid4().hex
    reply = httpx.post(
        f"{tone_stack.url}/v1/synthesize",
        json={"script": [{"speaker_id": speaker.id, "text": "Hello."}]},
        headers={
            "Authorization": f"Bearer {key}",
            "X-Request-ID": request_id,
            "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01",
        },
    )
    assert reply.headers["X-Request-ID"] == request_id
    client.wait_for_job(reply.json()["id"], timeout_s=60)
    log = Path(tone_stack.log_name).read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    events = {line["event"]: line for line in lines if line.get("trace_id") == trace_id}
    assert {"request", "job.submitted", "job.started", "job.succeeded"} <= events.keys()
    assert {line["request_id"] for line in events.values()} == {request_id}
    # The next request's lines are its own.
    assert len([line for line in lines if line.get("request_id") == request_id]) == len(events)
