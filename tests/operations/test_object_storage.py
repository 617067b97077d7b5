"""The product on a real S3 server."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
import soundfile
import voicereel

from tests.operations.conftest import MakeSite, Site, ready_speaker
from tests.operations.servers import wait_until
from tests.operations.test_killed_workers import WORKER, stop_worker
from voicereel_site.local_stack import kill_group

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def site(make_shared_site: MakeSite) -> Site:
    return make_shared_site("production", s3=True, VOICEREEL_S3_ENCRYPTION="AES256")


def finished(client: voicereel.Client, speaker: voicereel.Speaker, **options: Any) -> voicereel.Job:
    script = [{"speaker_id": speaker.id, "text": f"Line {n}."} for n in range(3)]
    return client.wait_for_job(client.synthesize(script, **options).id, timeout_s=60)


def presigned(job: voicereel.Job) -> str:
    """Where the link to the audio leads: an address of the S3 server."""
    assert job.audio is not None
    reply = httpx.get(job.audio.url)
    assert reply.status_code == 302
    return str(reply.headers["Location"])


def test_the_main_path_and_its_links(site: Site, tmp_path: Path) -> None:
    client = site.client()
    speaker = ready_speaker(client)
    job = finished(client, speaker, title="밤 기차", output={"format": "wav"})
    other = finished(client, speaker)
    assert job.audio is not None
    assert job.captions is not None
    audio = client.download_audio(job, tmp_path / "a.wav")
    assert round(soundfile.info(audio).frames / 44.1) == job.audio.duration_ms
    cues = json.loads(client.download_captions(job, "json", tmp_path / "a.json").read_text())
    assert cues["cues"][-1]["end_sample"] <= soundfile.info(audio).frames
    srt = client.download_captions(job, "srt", tmp_path / "a.srt", bom=True).read_bytes()
    assert srt.startswith(b"\xef\xbb\xbf1\n")

    # The tenant is in every key, and every object is encrypted at the server.
    assert site.s3 is not None
    [(tenant_id,)] = site.rows("SELECT id FROM accounts_tenant")
    keys = site.files()
    assert len(keys) > 10
    assert all(key.startswith(f"t/{tenant_id}/") for key in keys)
    for key in keys:
        head = site.s3.client().head_object(Bucket=site.s3.BUCKET, Key=key)
        assert head["ServerSideEncryption"] == "AES256"

    url = presigned(job)
    reply = httpx.get(url)
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "audio/wav"
    assert "filename*=UTF-8''%EB%B0%A4" in reply.headers["Content-Disposition"]
    assert httpx.get(url, headers={"Range": "bytes=0-3"}).content == b"RIFF"
    # Changed in any part, it opens nothing.
    parts = urlsplit(url)
    changed = [
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace("X-Amz-Expires=", "X-Amz-Expires=9"),
        url.replace("audio%2Fwav", "text%2Fhtml"),
        urlunsplit(parts._replace(path=urlsplit(presigned(other)).path)),
        urlunsplit(parts._replace(query="")),
    ]
    assert len({url, *changed}) == 6
    assert [httpx.get(address).status_code for address in changed] == [403] * 5
    ours = job.audio.url
    for broken in (ours.replace("/v1/files/t", "/v1/files/u"), ours.replace(".wav", ".mp3")):
        assert httpx.get(broken).status_code == 403

    client.delete_job(job.id)
    assert httpx.get(ours).status_code == 404
    wait_until(lambda: httpx.get(url).status_code == 404, "the presigned link dead", 15)
    assert site.files(job.id) == []
    assert httpx.get(presigned(other)).status_code == 200


def test_a_link_ends_with_its_time(site: Site) -> None:
    client = site.client()
    job = finished(client, ready_speaker(client))
    # Of a link's fifteen minutes are left some seconds, the end of this process among them.
    url = site.stack.manage(
        "shell",
        "-v0",
        "-c",
        "import time; from synthesis.models import Job; from synthesis import storage\n"
        f"job = Job.objects.get(pk='{job.id}')\n"
        "link = storage.LinkedFile(job.tenant_id, job.pk, 'audio', int(time.time()) + 15)\n"
        "print(storage.presigned_url(job.audio_key, link, 'a.mp3', 'audio/mpeg'))",
    )
    assert httpx.get(url).status_code == 200
    wait_until(lambda: httpx.get(url).status_code == 403, "the link's end", 30)


def peak_memory_mb(pid: int) -> float:
    """Since it was last asked."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return int(line.split()[1]) / 1024


def test_an_hour_is_uploaded_with_the_memory_of_a_minute(site: Site) -> None:
    client = site.client()
    speaker = ready_speaker(client)

    def peak_of(lines: int) -> tuple[float, float]:
        """Minutes of audio, and the worker's peak memory meanwhile."""
        script = [{"speaker_id": speaker.id, "text": "abcdefghi " * 100} for _ in range(lines)]
        job_id = client.synthesize(script, output={"format": "wav"}).id
        job = client.wait_for_job(job_id, timeout_s=400)
        assert job.audio is not None
        assert site.stack.worker is not None
        return job.audio.duration_ms / 60_000, peak_memory_mb(site.stack.worker.pid)

    peak_of(1)  # loads what is loaded once
    minutes, short = peak_of(2)
    assert 1.5 < minutes < 2.5
    minutes, long = peak_of(67)
    assert minutes > 60
    assert long < short + 64, f"{short:.0f} MB for two minutes, {long:.0f} MB for an hour"
    print(f"worker's peak memory: {short:.0f} MB for 2 minutes, {long:.0f} MB for an hour")


def test_a_job_is_erased_when_its_retention_is_over(site: Site) -> None:
    client = site.client()
    speaker = ready_speaker(client)
    kept, over = finished(client, speaker), finished(client, speaker)
    now = "CURRENT_TIMESTAMP - interval '1 second'"
    site.rows(f"UPDATE synthesis_job SET expires_at = {now} WHERE id = ?", over.id)
    # Beat asks every minute.
    wait_until(lambda: not site.files(over.id), "the expired job's files gone", 120)
    both = site.rows("SELECT id FROM synthesis_job WHERE id IN (?, ?)", kept.id, over.id)
    assert both == [(kept.id,)]
    assert len(site.files(kept.id)) == 6  # the lines, the audio, its outline, three captions


def test_orphans_are_found_on_both_sides(site: Site) -> None:
    client = site.client()
    speaker = ready_speaker(client)
    whole, broken = finished(client, speaker), finished(client, speaker)
    assert site.s3 is not None
    s3, bucket = site.s3.client(), site.s3.BUCKET
    [(tenant_id,)] = site.rows("SELECT id FROM accounts_tenant")
    stray = [
        f"t/{tenant_id}/j/{whole.id}/lines/0000-9.flac",
        f"t/{tenant_id}/j/job_00000000000000000000000000/audio-1.wav",
        f"t/{tenant_id}/s/spk_00000000000000000000000000/reference-0.flac",
        "t/ten_00000000000000000000000000/j/job_00000000000000000000000001/audio-1.wav",
    ]
    for key in stray:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    [missing] = site.files(f"{broken.id}/audio-")
    s3.delete_object(Bucket=bucket, Key=missing)
    upload = s3.create_multipart_upload(Bucket=bucket, Key=f"t/{tenant_id}/j/dead/audio-1.wav")
    s3.upload_part(
        Bucket=bucket,
        Key=upload["Key"],
        UploadId=upload["UploadId"],
        PartNumber=1,
        Body=b"x" * 5_300_000,
    )
    # All of it is younger than an hour: what may still be about to get its row is left alone.
    assert site.stack.manage("reconcile_storage") == f"row without file\t{missing}"
    found = site.stack.manage(
        "shell",
        "-v0",
        "-c",
        "from datetime import timedelta; from synthesis import orphans\n"
        "orphans._SETTLED_AFTER = orphans._ABANDONED_UPLOAD = timedelta(0)\n"
        "for orphan in orphans.reconcile_storage(): print(orphan.path)",
    )
    folders = [stray[0], *(key.rsplit("/", 1)[0] for key in stray[1:])]
    assert sorted(found.splitlines()) == sorted([*folders, missing])
    wait_until(lambda: not set(stray) & set(site.files()), "strays deleted", 30)
    assert len(site.files(whole.id)) == 6
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_a_job_outlives_the_server_being_killed_while_it_uploads(
    site: Site, tmp_path: Path
) -> None:
    client = site.client()
    speaker = ready_speaker(client)
    stop_worker(site)
    script = [{"speaker_id": speaker.id, "text": "abcdefghi " * 100} for _ in range(6)]
    job_id = client.synthesize(script, output={"format": "wav"}).id
    site.stack.environment |= {
        "CRASH_AT": "uploading",
        "CRASH_JOB": job_id,
        "CRASH_PAUSE": str(tmp_path),
    }
    site.stack.start_worker(WORKER)
    wait_until((tmp_path / "paused").exists, "the upload under way", 60)
    assert site.s3 is not None
    site.s3.kill()
    (tmp_path / "go_on").touch()
    wait_until(lambda: client.get_job(job_id).status == "queued", "given back", 60)
    site.s3.start()
    job = client.wait_for_job(job_id, timeout_s=120)
    assert job.audio is not None
    audio = client.download_audio(job, tmp_path / "a.wav")
    assert audio.stat().st_size == job.audio.size_bytes > 16_000_000
    counted = site.rows("SELECT 1 FROM billing_usageevent WHERE source = ?", f"job:{job_id}")
    assert len(counted) == 2
    # Its lines were kept by the first attempt.
    keys = site.rows("SELECT audio_key FROM synthesis_line WHERE job_id = ?", job_id)
    assert all(key.endswith("-1.flac") for (key,) in keys)
    assert site.stack.worker is not None
    kill_group(site.stack.worker)
