"""How long a job is kept, and what is erased when."""

import io
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.outbox import relay
from speakers.models import ReferenceClip
from synthesis import orphans, rendering
from synthesis.models import Job, Line
from synthesis.orphans import Orphan, Side, find_orphans, reconcile_storage
from synthesis.rendering import claim_job
from synthesis.storage import is_outline
from synthesis.submission import erase_expired
from tests.accounts.disk import files_below
from tests.conftest import Api

Submit = Callable[..., dict[str, Any]]
Render = Callable[[str], None]


def kept_hours(job: dict[str, Any]) -> float | None:
    """Between a job's end and its erasure."""
    if job["expires_at"] is None:
        return None
    moments = [datetime.fromisoformat(job[name]) for name in ("finished_at", "expires_at")]
    return (moments[1] - moments[0]).total_seconds() / 3600


def ended(api: Api, job: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = api.get(f"/v1/jobs/{job['id']}").json()
    return shown


def test_a_job_is_kept_thirty_days_unless_it_or_its_tenant_says_otherwise(
    alder: Api, submit: Submit, render: Render
) -> None:
    usual = submit(alder)
    call_command("set_retention", alder.tenant.pk, "48", stdout=io.StringIO())
    tenants = submit(alder)
    own, endless = submit(alder, retention_hours=1), submit(alder, retention_hours=None)
    call_command("set_retention", alder.tenant.pk, "forever", stdout=io.StringIO())
    tenants_endless = submit(alder)
    expected = {
        usual["id"]: 720,
        tenants["id"]: 48,
        own["id"]: 1,
        endless["id"]: None,
        tenants_endless["id"]: None,
    }
    for job_id, hours in expected.items():
        shown = alder.get(f"/v1/jobs/{job_id}").json()
        assert (shown["retention_hours"], shown["expires_at"]) == (hours, None)
        render(job_id)
        assert kept_hours(alder.get(f"/v1/jobs/{job_id}").json()) == hours


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_job_that_did_not_succeed_is_kept_as_long(
    alder: Api, submit: Submit, render: Render, status: str
) -> None:
    job = submit(alder, "[unspeakable]", retention_hours=5)
    if status == "canceled":
        alder.post(f"/v1/jobs/{job['id']}/cancel")
    else:
        render(job["id"])
    shown = ended(alder, job)
    assert (shown["status"], kept_hours(shown)) == (status, 5)


@pytest.mark.parametrize("hours", [0, -1, 1.5, "for ever", 87_601, 10**12, True])
def test_a_retention_out_of_bounds_is_refused(alder: Api, submit: Submit, hours: Any) -> None:
    job = submit(alder)
    script = [{"speaker_id": Line.objects.get(job=job["id"]).speaker_id, "text": "Hi."}]
    reply = alder.post("/v1/synthesize", {"script": script, "retention_hours": hours})
    if hours is True:  # DRF takes true for 1
        assert reply.status_code in (202, 422)
        return
    assert reply.status_code == 422
    assert [error["pointer"] for error in reply.json()["errors"]] == ["/retention_hours"]


@pytest.mark.parametrize(
    ("tenant", "hours"), [("", "0"), ("", "soon"), ("", "100000000"), ("ten_none", "5")]
)
def test_a_retention_that_makes_no_sense_is_not_set(alder: Api, tenant: str, hours: str) -> None:
    with pytest.raises(CommandError):
        call_command("set_retention", tenant or alder.tenant.pk, hours)
    alder.tenant.refresh_from_db()
    assert alder.tenant.retention_hours == 720


def test_a_job_retried_just_before_its_end_is_not_erased(
    alder: Api, submit: Submit, render: Render
) -> None:
    job = submit(alder, "[unspeakable]")
    render(job["id"])
    Job.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    read_before = Job.objects.get()
    assert alder.post(f"/v1/jobs/{job['id']}/retry").status_code == 202
    assert not erase_expired(read_before)
    assert Job.objects.get().status == "queued"


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a file two hours old."""

    def age(key: str) -> None:
        two_hours_ago = time.time() - 7200
        os.utime(default_storage.path(key), (two_hours_ago, two_hours_ago))

    return age


def put(key: str) -> str:
    return str(default_storage.save(key, ContentFile(b"x")))


def test_what_rows_and_files_agree_on_is_no_orphan(
    alder: Api,
    submit: Submit,
    render: Render,
    recording: Callable[..., bytes],
    settled: Callable[[str], None],
) -> None:
    render(submit(alder)["id"])
    alder.register(recording())
    claim_job(alder.tenant.pk, submit(alder)["id"])
    for key in files_below(f"t/{alder.tenant.pk}"):
        settled(key)
    assert not [orphan for orphan in find_orphans() if alder.tenant.pk in orphan.path]


def test_files_without_a_row_are_deleted_once_they_are_an_hour_old(
    alder: Api, submit: Submit, render: Render, settled: Callable[[str], None]
) -> None:
    job = submit(alder)
    render(job["id"])
    root = f"t/{alder.tenant.pk}"
    whole = files_below(root)
    strays = [
        put(f"{root}/j/{job['id']}/audio-9.mp3"),
        put(f"{root}/j/{job['id']}/lines/0000-9.flac"),
        put(f"{root}/j/job_gone/audio-1.mp3"),
        put(f"{root}/s/spk_gone/reference-0.flac"),
    ]
    assert not [orphan for orphan in reconcile_storage() if alder.tenant.pk in orphan.path]
    for key in strays:
        settled(key)
    young = put(f"{root}/j/job_new/audio-1.mp3")
    found = {orphan.path for orphan in reconcile_storage() if alder.tenant.pk in orphan.path}
    assert found == {*strays[:2], f"{root}/j/job_gone", f"{root}/s/spk_gone"}
    relay()
    assert files_below(root) == sorted([*whole, young])


def test_a_folder_that_is_still_written_to_is_left_alone(
    alder: Api, settled: Callable[[str], None]
) -> None:
    root = f"t/{alder.tenant.pk}/s/spk_new"
    settled(put(f"{root}/reference-0.flac"))
    put(f"{root}/reference-1.flac")
    assert not [orphan for orphan in find_orphans() if alder.tenant.pk in orphan.path]


def test_files_of_a_tenant_that_is_gone_are_found(settled: Callable[[str], None], db: None) -> None:
    settled(put("t/ten_gone/j/job_gone/audio-1.mp3"))
    found = [orphan.path for orphan in find_orphans() if "ten_gone" in orphan.path]
    default_storage.delete("t/ten_gone/j/job_gone/audio-1.mp3")
    assert found == ["t/ten_gone/j/job_gone"]


def test_rows_without_their_file_are_told(
    alder: Api, submit: Submit, render: Render, recording: Callable[..., bytes]
) -> None:
    alder.register(recording())
    clip = ReferenceClip.objects.get()
    some, all_of_it = submit(alder), submit(alder)
    render(some["id"])
    render(all_of_it["id"])
    lost = [Job.objects.get(pk=some["id"]).audio_key, clip.audio_key]
    lost += files_below(f"t/{alder.tenant.pk}/j/{all_of_it['id']}")
    for key in lost:
        Path(default_storage.path(key)).unlink()
    found = [orphan for orphan in find_orphans() if alder.tenant.pk in orphan.path]
    assert {orphan.side for orphan in found} == {Side.ROW_WITHOUT_FILE}
    # A player can do without an outline.
    needed = [key for key in lost if not is_outline(key)]
    assert sorted(orphan.path for orphan in found) == sorted(needed)


def test_a_lost_line_of_a_job_that_runs_is_spoken_again(
    alder: Api, submit: Submit, render: Render
) -> None:
    job = submit(alder, "One.", "[unspeakable]")
    render(job["id"])
    Line.objects.filter(line_id="2").update(text="Two.")
    alder.post(f"/v1/jobs/{job['id']}/retry")
    line = Line.objects.get(line_id="1")
    default_storage.delete(line.audio_key)
    found = [orphan for orphan in reconcile_storage() if alder.tenant.pk in orphan.path]
    assert found == [Orphan(Side.ROW_WITHOUT_FILE, alder.tenant.pk, line.audio_key, job["id"])]
    assert Job.objects.get().lines_done == 0
    render(job["id"])
    shown = ended(alder, job)
    assert shown["status"] == "succeeded"
    assert shown["progress"] == {"lines_done": 2, "lines_total": 2}


def test_lines_lost_before_the_mixdown_are_spoken_again(
    alder: Api, submit: Submit, render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them by one attempt, which is no fruitless one."""
    monkeypatch.setattr(rendering, "KEPT_EVERY_S", 0.0)  # a file for each
    job = submit(alder, "One.", "Two.", "Three.", "Four.", "[unspeakable]")
    render(job["id"])
    Line.objects.filter(line_id="5").update(text="Five.")
    alder.post(f"/v1/jobs/{job['id']}/retry")
    lost = list(Line.objects.exclude(audio_key="").order_by("position"))[:3]
    for line in lost:
        default_storage.delete(line.audio_key)
    with pytest.raises(FileNotFoundError):
        render(job["id"])
    assert Job.objects.get().lines_done == 2
    Job.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    render(job["id"])
    shown = ended(alder, job)
    assert (shown["status"], shown["progress"]["lines_done"]) == ("succeeded", 5)
    assert Job.objects.get().fruitless_attempts == 0


def test_a_storage_without_anything_is_not_believed(
    alder: Api, submit: Submit, render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(submit(alder)["id"])
    monkeypatch.setattr(orphans, "walk", lambda prefix: iter(()))
    with pytest.raises(orphans.StorageIsEmpty):
        reconcile_storage()


def test_orphans_are_looked_for_in_batches(
    alder: Api,
    submit: Submit,
    render: Render,
    settled: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(orphans, "_BATCH", 2)
    jobs = [submit(alder) for _ in range(5)]
    for job in jobs:
        render(job["id"])
    strays = [put(f"t/{alder.tenant.pk}/j/{job['id']}/stray.mp3") for job in jobs]
    for key in strays:
        settled(key)
    missing = Job.objects.get(pk=jobs[3]["id"]).audio_key
    default_storage.delete(missing)
    found = sorted(o.path for o in find_orphans() if alder.tenant.pk in o.path)
    assert found == sorted([*strays, missing])
