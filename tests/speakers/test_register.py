"""Registering a voice: which recordings are taken, and what is said of the others."""

import io
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from botocore.exceptions import EndpointConnectionError
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone

from accounts.models import OutboxMessage
from accounts.outbox import relay
from speakers.enrollment import claim_analysis
from speakers.models import ReferenceClip, Speaker
from synthesis import tasks, voices
from synthesis.audio import Encoder
from synthesis.formats import OutputChoice
from synthesis.models import Job
from synthesis.rendering import fail_jobs_of_speaker
from synthesis.voices import prepare_speaker
from tests.accounts.disk import files_below
from tests.conftest import Api

Recording = Callable[..., bytes]


def assert_refused(reply: Any, code: str, status: int = 422) -> str:
    """Returns the sentence that the customer reads."""
    body = reply.json()
    assert (reply.status_code, body["code"]) == (status, code), body
    assert not Speaker.objects.exists()
    detail: str = body["detail"]
    return detail


def wav_header(data_bytes: int, *, rate: int = 8_000, channels: int = 1) -> bytes:
    block = channels * 2 % 0x10000
    return (
        b"RIFF"
        + struct.pack("<I", min(data_bytes + 36, 0xFFFFFFFF))
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * block, block, 16)
        + b"data"
        + struct.pack("<I", data_bytes)
    )


def noise(seconds: float, rate: int = 8_000) -> bytes:
    """16-bit samples."""
    values = np.random.default_rng(1).integers(-3000, 3000, round(seconds * rate))
    return values.astype("<i2").tobytes()


def test_a_registered_speaker_is_shown_and_waits_for_its_analysis(
    alder: Api, recording: Recording
) -> None:
    reply = alder.register(
        recording(31.0, 8_000), name="안나", transcript="Once.", metadata='{"cast": "A"}'
    )
    assert reply.status_code == 201
    shown = reply.json()
    assert reply["Location"] == f"/v1/speakers/{shown['id']}"
    assert shown["id"].startswith("spk_")
    assert shown["name"] == "안나"
    assert shown["status"] == "processing"
    assert shown["reference_ms"] == 31_000
    assert shown["transcript"] == "Once."
    assert shown["metadata"] == {"cast": "A"}
    assert shown["consent_at"]
    assert alder.get(reply["Location"]).json() == shown
    message = OutboxMessage.objects.get()
    assert (message.subject, message.payload["task"]) == (shown["id"], "synthesis.prepare_speaker")


def test_thirty_seconds_are_enough_and_less_is_refused_naming_the_seconds(
    alder: Api, recording: Recording
) -> None:
    detail = assert_refused(alder.register(recording(29.9, 8_000)), "reference_too_short")
    assert "29.9 s" in detail
    assert "30 s" in detail
    relay()
    assert files_below(f"t/{alder.tenant.pk}") == []
    assert alder.register(recording(30.0, 8_000)).status_code == 201


def test_recordings_add_up(alder: Api, recording: Recording) -> None:
    reply = alder.register(
        [recording(16.0, 8_000), recording(15.5, 16_000)], transcript="Of the first."
    )
    assert reply.status_code == 201
    assert reply.json()["reference_ms"] == 31_500
    clips = list(ReferenceClip.objects.filter(speaker=reply.json()["id"]))
    assert [clip.duration_ms for clip in clips] == [16_000, 15_500]
    assert [clip.transcript for clip in clips] == ["Of the first.", ""]
    for clip in clips:
        with default_storage.open(clip.audio_key) as file:
            info = soundfile.info(file)
        assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 1)
        assert info.frames == clip.duration_ms * 44_100 // 1000


def test_more_than_ten_minutes_are_refused(alder: Api) -> None:
    audio = wav_header(601 * 16_000) + noise(601)
    assert_refused(alder.register(audio), "audio_too_long")


def test_recordings_of_more_than_ten_minutes_in_all_are_refused(alder: Api) -> None:
    audio = wav_header(301 * 16_000) + noise(301)
    detail = assert_refused(alder.register([audio, audio]), "audio_too_long")
    assert "reference-1.wav" in detail


def test_more_than_fifty_megabytes_are_refused_before_they_are_read(alder: Api) -> None:
    reply = Client().generic(
        "POST",
        "/v1/speakers",
        b"--x--",
        "multipart/form-data; boundary=x",
        headers={"Authorization": f"Bearer {alder.secret}"},
        CONTENT_LENGTH=str(60 * 1024**2),
    )
    assert "50 MB" in assert_refused(reply, "payload_too_large", 413)


def test_a_file_one_byte_over_fifty_megabytes_is_refused(alder: Api) -> None:
    reply = alder.register(b"\0" * (50 * 1024**2 + 1))
    assert_refused(reply, "payload_too_large", 413)


@pytest.mark.parametrize("consent", ["false", "", None])
def test_consent_is_required(alder: Api, recording: Recording, consent: str | None) -> None:
    form = {"name": "Anna", "language": "en", "consent": consent}
    with io.BytesIO(recording(1.0, 8_000)) as audio:
        reply = Client().post(
            "/v1/speakers",
            {name: value for name, value in form.items() if value is not None} | {"audio": audio},
            headers={"Authorization": f"Bearer {alder.secret}"},
        )
    if consent == "":
        assert reply.status_code == 422
        assert reply.json()["errors"][0]["pointer"] == "/consent"
        assert not Speaker.objects.exists()
    else:
        assert_refused(reply, "consent_required")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"language": "english!"}, "/language"),
        ({"metadata": "not json"}, "/metadata"),
        ({"metadata": "[1]"}, "/metadata"),
        ({"metadata": '{"a": {"b": "c"}}'}, "/metadata/a"),
        ({"metadata": "[" * 20_000}, "/metadata"),
        ({"metadata": '{"a": ' + "9" * 5_000 + "}"}, "/metadata"),
        ({"transcript": "x" * 20_001}, "/transcript"),
        ({"voice": "deep"}, "/voice"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    alder: Api, recording: Recording, fields: dict[str, str], pointer: str
) -> None:
    reply = alder.register(recording(1.0, 8_000), **fields)
    assert_refused(reply, "validation_error")
    assert [error["pointer"] for error in reply.json()["errors"]] == [pointer]


def test_a_registration_without_a_recording_is_refused(alder: Api) -> None:
    reply = alder.register([])
    assert_refused(reply, "validation_error")
    assert [error["pointer"] for error in reply.json()["errors"]] == ["/audio"]


def a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("voice.wav", wav_header(100) + bytes(100))
    return buffer.getvalue()


def a_cut_flac() -> bytes:
    buffer = io.BytesIO()
    samples = np.frombuffer(noise(70), "<i2")
    soundfile.write(buffer, samples, 8_000, format="FLAC")
    whole = buffer.getvalue()
    return whole[: len(whole) * 3 // 4]


def a_wav_of(subtype: str, *, bad: float | None = None) -> bytes:
    samples = np.frombuffer(noise(31), "<i2") / 32768
    if bad is not None:
        samples[1000] = bad
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 8_000, format="WAV", subtype=subtype)
    return buffer.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a zip archive": (a_zip, "audio_format_not_supported"),
    "no bytes": (lambda: b"", "audio_unreadable"),
    "one byte": (lambda: b"R", "audio_format_not_supported"),
    "zeroes": (lambda: bytes(100_000), "audio_format_not_supported"),
    "text": (lambda: b"Once upon a time. " * 100, "audio_format_not_supported"),
    "a FLAC file that was cut off": (a_cut_flac, "audio_unreadable"),
    "a FLAC file with nothing after its mark": (lambda: b"fLaC", "audio_unreadable"),
    "an MP3 frame mark and rubbish": (lambda: b"\xff\xfb" + noise(2), "audio_unreadable"),
    "an Ogg page of rubbish": (lambda: b"OggS" + noise(2), "audio_unreadable"),
    "an MP4 box of rubbish": (lambda: b"\0\0\0\x18ftypM4A " + noise(2), "audio_unreadable"),
    "NaN": (lambda: a_wav_of("FLOAT", bad=float("nan")), "audio_unreadable"),
    "infinity": (lambda: a_wav_of("DOUBLE", bad=float("inf")), "audio_unreadable"),
    "ADPCM": (lambda: a_wav_of("MS_ADPCM"), "audio_format_not_supported"),
    "an HLS playlist": (
        lambda: b"#EXTM3U\n#EXTINF:31,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "audio_format_not_supported",
    ),
    "a concat list": (
        lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
        "audio_format_not_supported",
    ),
    "a header that promises four gigabytes": (
        lambda: wav_header(0xFFFFFF00) + noise(2),
        "reference_too_short",
    ),
    "a header that promises 31 s and brings 2 s": (
        lambda: wav_header(31 * 16_000) + noise(2),
        "reference_too_short",
    ),
    "a header without samples": (lambda: wav_header(31 * 16_000), "reference_too_short"),
    "a sample rate of 0": (lambda: wav_header(32_000, rate=0) + noise(2), "audio_unreadable"),
    "a sample rate of 1 Hz": (lambda: wav_header(32_000, rate=1) + noise(2), "audio_too_long"),
    "60,000 channels": (
        lambda: wav_header(32_000, channels=60_000) + noise(2),
        "audio_unreadable",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_reference_is_refused_quickly(alder: Api, kind: str) -> None:
    make, code = HOSTILE[kind]
    started = time.monotonic()
    reply = alder.register(make())
    assert time.monotonic() - started < 5
    detail = assert_refused(reply, code)
    assert "/tmp" not in detail
    assert files_below(f"t/{alder.tenant.pk}") == []


def test_the_recording_that_is_wrong_is_named(alder: Api, recording: Recording) -> None:
    reply = alder.register([recording(31.0, 8_000), a_zip()])
    assert "reference-1.wav" in assert_refused(reply, "audio_format_not_supported")
    assert reply.json()["errors"][0]["pointer"] == "/audio/1"


@pytest.mark.parametrize(
    "output",
    [
        OutputChoice("wav", 16_000, None, 16),
        OutputChoice("wav", 48_000, None, 24),
        OutputChoice("flac", 24_000, None, 16),
        OutputChoice("mp3", 24_000, 64, None),
        OutputChoice("opus", 16_000, 32, None),
        OutputChoice("m4a", 44_100, 96, None),
    ],
    ids=lambda output: f"{output.format}-{output.sample_rate}",
)
def test_recordings_are_taken_in_every_format_we_name(
    alder: Api, tmp_path: Path, output: OutputChoice
) -> None:
    path = tmp_path / "reference"
    t = np.arange(31 * output.sample_rate) / output.sample_rate
    with Encoder(path, output) as encoder:
        encoder.write((0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32))
    reply = alder.register(path.read_bytes())
    assert reply.status_code == 201, reply.json()
    assert reply.json()["reference_ms"] == pytest.approx(31_000, abs=100)
    clip = ReferenceClip.objects.get()
    with default_storage.open(clip.audio_key) as file:
        samples, rate = soundfile.read(file)
    middle = samples[10 * rate : 12 * rate]
    loudest = np.argmax(np.abs(np.fft.rfft(middle))) * rate / len(middle)
    assert loudest == pytest.approx(440, abs=1)
    assert np.abs(middle).max() == pytest.approx(0.3, abs=0.03)


def test_stereo_is_mixed_down(alder: Api) -> None:
    mono = np.frombuffer(noise(31), "<i2")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([mono, mono], axis=1), 8_000, format="WAV")
    reply = alder.register(buffer.getvalue())
    assert reply.status_code == 201
    assert reply.json()["reference_ms"] == 31_000


def test_noise_fails_the_analysis_and_says_why(alder: Api, recording: Recording) -> None:
    speaker_id = alder.register(recording(31.0, 16_000)).json()["id"]
    speaker = claim_analysis(alder.tenant.pk, speaker_id)
    assert speaker is not None
    assert claim_analysis(alder.tenant.pk, speaker_id) is None  # in our hands
    prepare_speaker(speaker)
    shown = alder.get(f"/v1/speakers/{speaker_id}").json()
    assert shown["status"] == "failed"
    assert [reason["code"] for reason in shown["failure_reasons"]] == ["too_little_speech"]
    assert "20 s" in shown["failure_reasons"][0]["detail"]
    assert shown["quality"]["speech_ms"] < 20_000
    assert claim_analysis(alder.tenant.pk, speaker_id) is None  # done


def test_an_analysis_that_three_workers_lost_fails_the_speaker(
    alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    speaker = make_speaker(alder, status="processing")
    for _ in range(3):
        assert claim_analysis(alder.tenant.pk, speaker.pk) is not None
        Speaker.objects.update(analysis_lease_expires_at="2020-01-01T00:00:00Z")
    assert claim_analysis(alder.tenant.pk, speaker.pk) is None
    shown = alder.get(f"/v1/speakers/{speaker.pk}").json()
    assert shown["status"] == "failed"
    assert [reason["code"] for reason in shown["failure_reasons"]] == ["worker_lost"]


def test_an_outage_costs_an_analysis_no_attempt(
    alder: Api, make_speaker: Callable[..., Speaker], monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker = make_speaker(alder, status="processing")

    def away(speaker: Speaker) -> None:
        raise EndpointConnectionError(endpoint_url="http://s3")

    monkeypatch.setattr(voices, "prepare_speaker", away)
    for _ in range(5):
        OutboxMessage.objects.all().delete()
        tasks.prepare_speaker(alder.tenant.pk, speaker.pk)
        speaker.refresh_from_db()
        assert (speaker.status, speaker.analysis_attempts) == ("processing", 0)
        [again] = OutboxMessage.objects.all()
        assert (again.subject, again.due_at > timezone.now()) == (speaker.pk, True)


def test_a_speakers_name_and_metadata_can_be_changed(
    alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    path = f"/v1/speakers/{make_speaker(alder).pk}"
    reply = alder.patch(path, {"name": "Hanna", "metadata": {"cast": "B"}})
    assert reply.status_code == 200
    assert (reply.json()["name"], reply.json()["metadata"]) == ("Hanna", {"cast": "B"})
    assert alder.patch(path, {}).json() == reply.json()
    for wrong in ({"language": "ko"}, {"name": ""}, {"metadata": {"a": 1, "b": [2]}}):
        assert alder.patch(path, wrong).status_code == 422
    assert alder.get(path).json() == reply.json()


def test_deleting_a_speaker_erases_its_recordings_from_disk(
    alder: Api, recording: Recording
) -> None:
    path = alder.register([recording(16.0, 8_000), recording(16.0, 8_000)])["Location"]
    assert len(files_below(f"t/{alder.tenant.pk}")) == 2
    assert alder.delete(path).status_code == 204
    relay()
    assert files_below(f"t/{alder.tenant.pk}") == []
    assert not ReferenceClip.objects.exists()
    speaker = Speaker.objects.get()
    assert (speaker.voice_data, speaker.quality, speaker.metadata) == (None, None, {})
    assert alder.get(path).status_code == 404
    assert alder.patch(path, {"name": "Ghost"}).status_code == 404
    assert alder.delete(path).status_code == 404
    assert alder.get("/v1/speakers").json()["data"] == []
    assert claim_analysis(alder.tenant.pk, speaker.pk) is None


def test_waiting_jobs_of_a_deleted_speaker_fail_and_name_it(
    alder: Api, make_speaker: Callable[..., Speaker], render: Callable[[str], None]
) -> None:
    bo, anna = make_speaker(alder, "Bo"), make_speaker(alder, "Anna")
    script = [
        {"id": "first", "speaker_id": anna.pk, "text": "Hello."},
        {"id": "second", "speaker_id": bo.pk, "text": "Hello."},
    ]
    finished, waiting = (
        alder.post("/v1/synthesize", {"script": script}).json()["id"] for _ in range(2)
    )
    unconcerned = alder.post("/v1/synthesize", {"script": script[:1]}).json()["id"]
    render(finished)
    assert alder.delete(f"/v1/speakers/{bo.pk}").status_code == 204
    asked = OutboxMessage.objects.filter(subject=bo.pk).get()
    assert asked.payload["task"] == "synthesis.fail_jobs_of_speaker"
    fail_jobs_of_speaker(Speaker.objects.get(pk=bo.pk))
    shown = alder.get(f"/v1/jobs/{waiting}").json()
    assert shown["status"] == "failed"
    assert shown["error"]["code"] == "speaker_not_found"
    assert shown["error"]["line_id"] == "second"
    assert "Bo" in shown["error"]["detail"]
    assert Job.objects.get(pk=finished).status == "succeeded"
    assert Job.objects.get(pk=unconcerned).status == "queued"


def test_speakers_are_listed_newest_first_in_pages(
    alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    ids = [make_speaker(alder, f"Speaker {index}", pk=f"spk_{index:026}").pk for index in range(5)]
    seen, cursor, pages = [], "", 0
    while cursor is not None:
        query = f"limit=2&cursor={cursor}" if cursor else "limit=2"
        body = alder.get(f"/v1/speakers?{query}").json()
        seen += [row["id"] for row in body["data"]]
        cursor, pages = body["next_cursor"], pages + 1
    assert seen == ids[::-1]
    assert pages == 3
