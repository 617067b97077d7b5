"""Whatever dies, a job is finished, once: its audio the same, its lines kept, its usage counted once."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import voicereel

from tests.operations.conftest import MakeSite, Site, ready_speaker
from tests.operations.crashing_worker import POINTS
from tests.operations.servers import wait_until
from voicereel_site.local_stack import ROOT, kill_group

pytestmark = pytest.mark.services

WORKER = "tests.operations.crashing_worker"
# On one disk and in one process: those of the twelve where SQLite and files are another thing.
POINTS_OF_EMBEDDED = ("claimed", "line stored, row not", "uploading", "finishing")


def script(speaker: voicereel.Speaker) -> list[dict[str, Any]]:
    return [{"speaker_id": speaker.id, "text": f"Line {n} of eight. " * 3} for n in range(8)]


def submit(client: voicereel.Client, speaker: voicereel.Speaker) -> str:
    return client.synthesize(script(speaker), output={"format": "wav"}, seed=7).id


def audio_of(client: voicereel.Client, job_id: str) -> str:
    job = client.wait_for_job(job_id, timeout_s=180)
    assert job.audio is not None
    body = httpx.get(job.audio.url, follow_redirects=True)
    assert len(body.content) == job.audio.size_bytes
    return str(job.audio.sha256)


def usage_of(site: Site, job_id: str) -> list[tuple[Any, ...]]:
    query = "SELECT meter, quantity FROM billing_usageevent WHERE source = ? ORDER BY meter"
    return site.rows(query, f"job:{job_id}")


def kept_lines(site: Site, job_id: str) -> dict[int, str]:
    query = "SELECT position, audio_key FROM synthesis_line WHERE job_id = ? AND audio_key <> ''"
    return dict(site.rows(query, job_id))


def wait_until_gone(site: Site, part: str, timeout_s: float) -> None:
    wait_until(lambda: not site.files(part), f"no files of {part}", timeout_s)


def stop_worker(site: Site) -> None:
    assert site.stack.worker is not None
    kill_group(site.stack.worker)
    site.stack.worker = None


def run_until_killed(site: Site, **crash: str) -> None:
    """Start a worker that shall die, and wait for it to."""
    site.stack.environment |= crash
    site.stack.start_worker(WORKER)
    for name in crash:
        del site.stack.environment[name]
    assert site.stack.worker is not None
    assert site.stack.worker.wait(timeout=60) == -signal.SIGKILL
    stop_worker(site)  # its children with it


@pytest.mark.parametrize(
    ("profile", "points"),
    [
        pytest.param("embedded", POINTS_OF_EMBEDDED, marks=pytest.mark.drills),
        ("production", POINTS),
    ],
)
def test_a_job_survives_its_worker_being_killed_at_any_point(
    make_site: MakeSite, profile: str, points: tuple[str, ...]
) -> None:
    site = make_site(profile, s3=profile == "production")
    client = site.client()
    speaker = ready_speaker(client)
    reference = submit(client, speaker)
    expected = audio_of(client, reference)
    used = usage_of(site, reference)
    assert len(used) == 2
    stop_worker(site)

    kept_before: dict[str, dict[int, str]] = {}
    jobs: dict[str, str] = {}
    for point in points:
        jobs[point] = submit(client, speaker)
        run_until_killed(site, CRASH_AT=point, CRASH_JOB=jobs[point])
        kept_before[point] = kept_lines(site, jobs[point])
    # Each died where it was meant to.
    kept_at = {
        "claimed": 0,
        "first line spoken": 0,
        "line stored, row not": 2,
        "between lines": 5,
    } | dict.fromkeys(POINTS[4:], 8)
    assert {point: len(kept) for point, kept in kept_before.items()} == {
        point: kept_at[point] for point in points
    }

    site.stack.start_worker()
    for point in points:
        assert audio_of(client, jobs[point]) == expected, point
        assert usage_of(site, jobs[point]) == used, point
        after = kept_lines(site, jobs[point])
        assert len(after) == 8
        assert kept_before[point].items() <= after.items(), point
        for position, key in kept_before[point].items():
            # Nor was it spoken again for nothing: there is one file of it.
            stored = site.files(f"{jobs[point]}/lines/{position:04}-")
            assert stored == [key], point


def test_a_worker_that_is_asked_to_end_hands_its_job_on_at_once(make_site: MakeSite) -> None:
    site = make_site("production")
    client = site.client()
    speaker = ready_speaker(client)
    long = [{"speaker_id": speaker.id, "text": "abcdefghi"} for _ in range(1500)]
    job_id = client.synthesize(long).id
    wait_until(lambda: len(kept_lines(site, job_id)) > 5, "some lines", 30)
    worker = site.stack.worker
    assert worker is not None
    worker.terminate()
    assert worker.wait(timeout=30) == 0
    stop_worker(site)
    assert client.get_job(job_id).status == "queued"
    kept = kept_lines(site, job_id)
    site.stack.start_worker()
    wait_until(lambda: client.get_job(job_id).status != "queued", "it goes on", 15)
    audio_of(client, job_id)
    assert kept.items() <= kept_lines(site, job_id).items()
    assert len(usage_of(site, job_id)) == 2


def test_a_job_deleted_while_it_runs_leaves_no_file_and_no_row(
    make_site: MakeSite, tmp_path: Path
) -> None:
    site = make_site("production", s3=True)
    client = site.client()
    speaker = ready_speaker(client)
    stop_worker(site)
    dies: list[str] = []
    for number, point in enumerate(("line stored, row not", "mixing", "uploading", "uploaded")):
        for killed in (False, True):
            folder = tmp_path / f"{number}-{killed}"
            folder.mkdir()
            job_id = submit(client, speaker)
            site.stack.environment |= {
                "CRASH_AT": point,
                "CRASH_JOB": job_id,
                "CRASH_PAUSE": str(folder),
            }
            site.stack.start_worker(WORKER)
            wait_until((folder / "paused").exists, f"{point} reached", 60)
            assert site.files(job_id)
            client.delete_job(job_id)
            # A killed worker's half-written file can only be erased by the second round.
            wait_until_gone(site, f"{job_id}/lines/0000-", 15)
            if killed:
                stop_worker(site)
                dies.append(job_id)
                continue
            (folder / "go_on").touch()
            wait_until_gone(site, job_id, 15)
            stop_worker(site)
    for job_id in dies:
        wait_until_gone(site, job_id, 90)
    assert site.rows("SELECT count(*) FROM synthesis_job") == [(0,)]
    assert site.rows("SELECT count(*) FROM synthesis_line") == [(0,)]
    assert site.rows("SELECT count(*) FROM billing_usageevent") == [(0,)]


def test_a_job_whose_web_process_died_before_answering_finishes_once(
    make_site: MakeSite, tmp_path: Path
) -> None:
    site = make_site("production")
    speaker = ready_speaker(site.client())
    crash = tmp_path / "crash"
    assert site.stack.web is not None
    kill_group(site.stack.web)
    site.stack.environment["CRASH_FILE"] = str(crash)
    site.stack.start_web("tests.operations.crashing_web:application")
    client = site.client(max_retries=0)
    crash.touch()
    with pytest.raises(voicereel.VoiceReelError):
        client.synthesize(script(speaker), output={"format": "wav"}, idempotency_key="once")
    crash.unlink()
    # The customer asks again, as the SDK does by itself, and finds the job that was made.
    job = site.client().synthesize(
        script(speaker), output={"format": "wav"}, idempotency_key="once"
    )
    audio_of(site.client(), job.id)
    assert site.rows("SELECT count(*) FROM synthesis_job") == [(1,)]
    assert len(usage_of(site, job.id)) == 2
    assert site.rows("SELECT attempt FROM synthesis_job") == [(1,)]


def test_a_job_whose_dispatcher_died_finishes_once(make_site: MakeSite) -> None:
    site = make_site("production")
    speaker = ready_speaker(site.client())
    for point in ("marked", "published"):
        assert site.stack.dispatcher is not None
        kill_group(site.stack.dispatcher)
        job_id = submit(site.client(), speaker)
        done = subprocess.run(
            [sys.executable, "-m", "tests.operations.crashing_dispatcher"],
            cwd=ROOT,
            env=site.stack.operators
            | {"CRASH_AT": point, "DJANGO_SETTINGS_MODULE": "voicereel_site.settings"},
            timeout=60,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        site.stack.start_dispatcher()
        audio_of(site.client(), job_id)
        assert len(usage_of(site, job_id)) == 2
        assert site.rows("SELECT attempt FROM synthesis_job WHERE id = ?", job_id) == [(1,)]
    wait_until(lambda: not site.rows("SELECT 1 FROM accounts_outboxmessage"), "outbox empty", 60)


def test_jobs_finish_once_although_redis_lost_its_data(make_site: MakeSite) -> None:
    site = make_site("production")
    client = site.client()
    speaker = ready_speaker(client)
    stop_worker(site)
    jobs = [submit(client, speaker) for _ in range(3)]
    assert site.redis is not None
    site.redis.kill()
    site.redis.start()
    site.stack.start_worker()
    # This one finds the new Redis.
    jobs.append(submit(client, speaker))
    assert len({audio_of(client, job_id) for job_id in jobs}) == 1
    assert {len(usage_of(site, job_id)) for job_id in jobs} == {2}


@pytest.mark.drills
def test_a_job_that_kills_its_workers_ends_and_harms_no_other(make_site: MakeSite) -> None:
    site = make_site("production")
    client = site.client()
    speaker = ready_speaker(client)
    stop_worker(site)
    poison = client.synthesize([{"speaker_id": speaker.id, "text": "Drink [poison]."}]).id
    beside = [submit(client, speaker) for _ in range(3)]
    site.stack.environment["CRASH_TEXT"] = "[poison]"
    deaths = 0

    def poison_is_over() -> bool:
        nonlocal deaths
        assert site.stack.worker is not None
        if site.stack.worker.poll() is not None:
            deaths += 1
            kill_group(site.stack.worker)
            site.stack.start_worker(WORKER)
        return client.get_job(poison).status == "failed"

    site.stack.start_worker(WORKER)
    wait_until(poison_is_over, "the poison job to fail", 300, every_s=0.5)
    assert deaths == 3
    failed = client.get_job(poison)
    assert failed.error is not None
    assert failed.error.code == "worker_lost"
    assert len({audio_of(client, job_id) for job_id in beside}) == 1
    assert {len(usage_of(site, job_id)) for job_id in beside} == {2}
    assert usage_of(site, poison) == []

    assert poison in site.stack.manage("lost_jobs")
    stop_worker(site)
    del site.stack.environment["CRASH_TEXT"]
    site.stack.start_worker()
    assert site.stack.manage("lost_jobs", "--requeue", poison) == "1 requeued"
    audio_of(client, poison)
    assert site.stack.manage("lost_jobs") == ""
