"""PostgreSQL, Redis, the object store or the disk away for half a minute: requests are told to come
back, and afterwards everything goes on by itself, with nothing lost and nothing doubled.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import voicereel

from tests.e2e.human_speech import two_cities
from tests.operations.conftest import MakeSite, Site, ready_speaker
from tests.operations.servers import Server, wait_until

pytestmark = pytest.mark.services

OUTAGE_S = 30.0


def script(speaker: voicereel.Speaker, lines: int = 30) -> list[dict[str, Any]]:
    return [
        {"speaker_id": speaker.id, "text": f"Line {n} of a long script. " * 40}
        for n in range(lines)
    ]


def ask(site: Site, method: str, path: str, **kwargs: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {site.key}"}
    return httpx.request(method, site.stack.url + path, headers=headers, timeout=30, **kwargs)


def is_unavailable(reply: httpx.Response) -> bool:
    """Whether an answer is the 503 that says when to come back."""
    if reply.status_code != 503:
        return False
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json()["code"] == "service_unavailable"
    assert 1 <= int(reply.headers["Retry-After"]) <= 60
    return True


def not_ready(site: Site) -> set[str]:
    """What /readyz says is down."""
    reply = httpx.get(f"{site.stack.url}/readyz", timeout=30)
    if reply.status_code == 200:
        return set()
    assert is_unavailable(reply)
    return {name for name, state in reply.json()["checks"].items() if state != "ok"}


@contextlib.contextmanager
def away(server: Server) -> Iterator[None]:
    """A server killed, and back half a minute after."""
    gone_at = time.monotonic()
    server.kill()
    yield
    time.sleep(max(0.0, OUTAGE_S - (time.monotonic() - gone_at)))
    server.start()


def assert_all_finished_once(site: Site, jobs: list[str]) -> None:
    client = site.client()
    for job_id in jobs:
        job = client.wait_for_job(job_id, timeout_s=180)
        assert job.audio is not None
        query = "SELECT meter FROM billing_usageevent WHERE source = ? ORDER BY meter"
        assert site.rows(query, f"job:{job_id}") == [("audio_ms",), ("characters",)]
    assert site.rows("SELECT count(*) FROM synthesis_job") == [(len(jobs),)]
    wait_until(lambda: not not_ready(site), "ready again", 30)
    assert site.stack.ended() is None


def running_job(client: voicereel.Client, speaker: voicereel.Speaker) -> str:
    """A job that has begun and has work for a while."""
    job_id = client.synthesize(script(speaker)).id
    wait_until(lambda: client.get_job(job_id).status == "processing", "it runs", 30)
    return job_id


def test_postgresql_away(make_site: MakeSite) -> None:
    site = make_site("production")
    client = site.client()
    speaker = ready_speaker(client)
    assert site.postgres is not None
    jobs = [running_job(client, speaker), client.synthesize(script(speaker, 2)).id]
    body = {"script": script(speaker, 2)}
    with away(site.postgres):
        for method, path, sent in (
            ("GET", "/v1/jobs", None),
            ("GET", f"/v1/jobs/{jobs[0]}", None),
            ("POST", "/v1/synthesize", body),
            ("DELETE", f"/v1/jobs/{jobs[1]}", None),
        ):
            assert is_unavailable(ask(site, method, path, json=sent)), path
        # A view that is not one of DRF's.
        assert is_unavailable(ask(site, "GET", link_path(site)))
        assert httpx.get(f"{site.stack.url}/healthz").status_code == 200
        assert not_ready(site) == {"database"}
    # The SDK's own patience is enough from here on.
    jobs.append(client.synthesize(script(speaker, 2), idempotency_key="during-the-outage").id)
    assert_all_finished_once(site, jobs)


def link_path(site: Site) -> str:
    """The path of a link that is ours."""
    signed = f"ten_{'0' * 26}.job_x.audio.{int(time.time()) + 600}"
    secret = f"voicereel.file-link{site.settings['VOICEREEL_SECRET_KEY']}"
    key = hashlib.sha256(secret.encode()).digest()
    mac = hmac.digest(key, f"{signed}/a.mp3".encode(), "sha256")
    token = f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    return f"/v1/files/{token}/a.mp3"


def test_redis_away(make_site: MakeSite) -> None:
    site = make_site("production")
    client = site.client()
    speaker = ready_speaker(client)
    assert site.redis is not None
    jobs = [running_job(client, speaker)]
    with away(site.redis):
        # Nothing is refused: the job is stored, and its message leaves when it can.
        started = time.monotonic()
        reply = ask(site, "POST", "/v1/synthesize", json={"script": script(speaker, 2)})
        assert reply.status_code == 202
        assert time.monotonic() - started < 3
        jobs.append(reply.json()["id"])
        assert not_ready(site) == {"broker"}
    assert_all_finished_once(site, jobs)


def test_redis_that_hangs_holds_no_request_up_for_long(make_site: MakeSite) -> None:
    site = make_site("production")
    client = site.client()
    speaker = ready_speaker(client)
    assert site.redis is not None
    assert site.redis.process is not None
    site.redis.process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    reply = ask(site, "POST", "/v1/synthesize", json={"script": script(speaker, 2)})
    assert reply.status_code == 202
    assert time.monotonic() - started < 8
    assert not_ready(site) == {"broker"}
    site.redis.process.send_signal(signal.SIGCONT)
    assert_all_finished_once(site, [reply.json()["id"]])


def test_the_object_store_away(make_site: MakeSite) -> None:
    site = make_site("production", s3=True)
    client = site.client()
    speaker = ready_speaker(client)
    assert site.s3 is not None
    jobs = [running_job(client, speaker)]
    deleted = client.synthesize(script(speaker, 1)).id
    client.wait_for_job(deleted, timeout_s=60)
    form = {"name": "Ben", "language": "en", "consent": "true"}
    with away(site.s3):
        with two_cities().open("rb") as audio:
            reply = ask(site, "POST", "/v1/speakers", data=form, files={"audio": audio})
        assert is_unavailable(reply)
        # What needs no file goes on.
        reply = ask(site, "POST", "/v1/synthesize", json={"script": script(speaker, 2)})
        assert reply.status_code == 202
        jobs.append(reply.json()["id"])
        assert ask(site, "DELETE", f"/v1/jobs/{deleted}").status_code == 204
        assert not_ready(site) == {"storage"}
    assert_all_finished_once(site, jobs)
    wait_until(lambda: not site.files(deleted), "the deleted job's files gone", 90)
    # The speaker that was refused left nothing: the one that is there is the first.
    assert site.rows("SELECT count(*) FROM speakers_speaker") == [(1,)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 MB, if we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the space there is. Returns the file that holds it."""
    path = folder / "ballast"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    assert os.statvfs(folder).f_bavail == 0
    return path


def test_a_full_disk(make_site: MakeSite, small_disk: Path) -> None:
    site = make_site("embedded", VOICEREEL_VAR=str(small_disk))
    client = site.client()
    speaker = ready_speaker(client)
    jobs = [running_job(client, speaker)]
    ballast = fill(small_disk)
    full_at = time.monotonic()
    form = {"name": "Ben", "language": "en", "consent": "true"}
    with two_cities().open("rb") as audio:
        assert is_unavailable(ask(site, "POST", "/v1/speakers", data=form, files={"audio": audio}))
    reply = ask(site, "POST", "/v1/synthesize", json={"script": script(speaker)})
    assert is_unavailable(reply)
    assert "disk" in not_ready(site)
    assert ask(site, "GET", f"/v1/jobs/{jobs[0]}").status_code == 200
    time.sleep(max(0.0, OUTAGE_S - (time.monotonic() - full_at)))
    ballast.unlink()
    jobs.append(client.synthesize(script(speaker, 2)).id)
    assert_all_finished_once(site, jobs)
    assert site.rows("SELECT count(*) FROM speakers_speaker") == [(1,)]
    assert not [path for path in (small_disk / "scratch").rglob("*") if path.is_file()]
