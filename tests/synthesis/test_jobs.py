"""The life of a job, through the API."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from synthesis.models import Job
from tests.conftest import Api


def test_a_rendered_job_has_audio_and_captions(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    job = submit(alder, "Hello there.", "And a second line.", title="Episode 1")
    render(job["id"])
    shown = alder.get(f"/v1/jobs/{job['id']}").json()
    assert shown["status"] == "succeeded"
    assert shown["progress"] == {"lines_done": 2, "lines_total": 2}
    assert shown["audio"]["duration_ms"] > 1500
    assert set(shown["captions"]) == {"json", "vtt", "srt"}


def test_a_rendered_job_tells_how_long_it_is_kept(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    job = submit(alder)
    render(job["id"])
    shown = alder.get(f"/v1/jobs/{job['id']}").json()
    moments = [
        datetime.fromisoformat(shown[name])
        for name in ("created_at", "started_at", "finished_at", "expires_at")
    ]
    assert moments == sorted(moments)
    assert moments[3] - moments[2] == timedelta(days=30)


@pytest.mark.parametrize("path", ["", "/cancel", "/retry"])
def test_another_tenants_job_does_not_exist(
    alder: Api, birch: Api, submit: Callable[..., Any], path: str
) -> None:
    job = submit(alder)
    method = "POST" if path else "GET"
    assert birch.request(method, f"/v1/jobs/{job['id']}{path}").status_code == 404
    assert Job.objects.get(pk=job["id"]).status == "queued"


def test_a_waiting_job_can_be_canceled_twice_and_retried_once(
    alder: Api, submit: Callable[..., Any]
) -> None:
    path = f"/v1/jobs/{submit(alder)['id']}"
    for _ in range(2):
        reply = alder.post(f"{path}/cancel")
        assert (reply.status_code, reply.json()["status"]) == (200, "canceled")
    assert reply.json()["finished_at"] is not None
    again = alder.post(f"{path}/retry")
    assert (again.status_code, again.json()["status"]) == (202, "queued")
    assert again.json()["finished_at"] is None
    assert alder.post(f"{path}/retry").status_code == 409


def test_a_finished_job_can_neither_be_canceled_nor_retried(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    job = submit(alder)
    render(job["id"])
    for action in ("cancel", "retry"):
        reply = alder.post(f"/v1/jobs/{job['id']}/{action}")
        assert reply.status_code == 409
        assert "succeeded" in reply.json()["detail"]
    assert alder.get(f"/v1/jobs/{job['id']}").json()["status"] == "succeeded"


def test_a_canceled_job_is_erased_in_the_end(alder: Api, submit: Callable[..., Any]) -> None:
    job = submit(alder)
    shown = alder.post(f"/v1/jobs/{job['id']}/cancel").json()
    assert shown["expires_at"] is not None


def test_a_deleted_job_is_gone(alder: Api, submit: Callable[..., Any]) -> None:
    path = f"/v1/jobs/{submit(alder)['id']}"
    assert alder.delete(path).status_code == 204
    assert alder.get(path).status_code == 404
    assert alder.delete(path).status_code == 404
    assert alder.post(f"{path}/retry").status_code == 404


def test_jobs_are_listed_newest_first_in_pages_that_hold_still(
    alder: Api, submit: Callable[..., Any]
) -> None:
    submit(alder)
    template = Job.objects.get()
    ids = [f"job_{index:026}" for index in range(5)]
    Job.objects.all().delete()
    for template.pk in ids:
        template.save(force_insert=True)
    first = alder.get("/v1/jobs?limit=2").json()
    assert [job["id"] for job in first["data"]] == [ids[4], ids[3]]
    # A new job and a removed one neither repeat nor hide others.
    template.pk = "job_" + "9" * 26
    template.save(force_insert=True)
    Job.objects.filter(pk=ids[3]).delete()
    second = alder.get(f"/v1/jobs?limit=2&cursor={first['next_cursor']}").json()
    assert [job["id"] for job in second["data"]] == [ids[2], ids[1]]
    third = alder.get(f"/v1/jobs?limit=2&cursor={second['next_cursor']}").json()
    assert [job["id"] for job in third["data"]] == [ids[0]]
    assert third["next_cursor"] is None


def test_jobs_can_be_listed_by_their_status(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    done, waiting = submit(alder), submit(alder)
    render(done["id"])
    for status, expected in (("succeeded", [done]), ("queued", [waiting]), ("failed", [])):
        listed = alder.get(f"/v1/jobs?status={status}").json()["data"]
        assert [job["id"] for job in listed] == [job["id"] for job in expected]
    assert alder.get("/v1/jobs?status=done").status_code == 422
