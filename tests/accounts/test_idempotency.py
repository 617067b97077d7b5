"""The same POST twice does its work once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import IdempotentReply
from accounts.outbox import relay
from speakers.models import Speaker
from synthesis.models import Job
from tests.accounts.disk import files_below
from tests.conftest import Api

KEY = {"Idempotency-Key": "episode-1"}


@pytest.fixture
def body(alder: Api, make_speaker: Callable[..., Speaker]) -> dict[str, Any]:
    line = {"speaker_id": make_speaker(alder).pk, "text": "Hello."}
    return {"title": "One", "script": [line]}


def test_a_repeated_request_gets_the_same_answer_and_makes_one_job(
    alder: Api, body: dict[str, Any]
) -> None:
    first = alder.post("/v1/synthesize", body, **KEY)
    reordered = dict(reversed(body.items()))
    second = alder.post("/v1/synthesize", reordered, **KEY)
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second["Location"] == first["Location"] == f"/v1/jobs/{first.json()['id']}"
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"
    assert Job.objects.count() == 1


def test_without_a_key_every_request_makes_a_job(alder: Api, body: dict[str, Any]) -> None:
    ids = {alder.post("/v1/synthesize", body).json()["id"] for _ in range(2)}
    assert len(ids) == Job.objects.count() == 2


def test_a_key_used_for_another_body_is_refused(alder: Api, body: dict[str, Any]) -> None:
    alder.post("/v1/synthesize", body, **KEY)
    reply = alder.post("/v1/synthesize", body | {"title": "Two"}, **KEY)
    assert reply.status_code == 422
    assert reply.json()["code"] == "idempotency_key_reuse"
    assert Job.objects.get().title == "One"


def test_a_key_used_for_another_route_is_refused(alder: Api, body: dict[str, Any]) -> None:
    job = alder.post("/v1/synthesize", body, **KEY).json()
    reply = alder.request("POST", f"/v1/jobs/{job['id']}/cancel", headers=KEY)
    assert reply.status_code == 422
    assert reply.json()["code"] == "idempotency_key_reuse"
    assert Job.objects.get().status == "queued"


def test_a_refused_request_leaves_the_key_free(alder: Api, body: dict[str, Any]) -> None:
    wrong = body | {"script": [body["script"][0] | {"speaker_id": "spk_none"}]}
    for refused in (wrong, body | {"seed": -1}):
        assert alder.post("/v1/synthesize", refused, **KEY).status_code == 422
    reply = alder.post("/v1/synthesize", body, **KEY)
    assert reply.status_code == 202
    assert "Idempotent-Replayed" not in reply


def test_a_key_belongs_to_one_tenant(
    alder: Api, birch: Api, body: dict[str, Any], make_speaker: Callable[..., Speaker]
) -> None:
    alder.post("/v1/synthesize", body, **KEY)
    line = {"speaker_id": make_speaker(birch).pk, "text": "Hello."}
    reply = birch.post("/v1/synthesize", {"script": [line]}, **KEY)
    assert reply.status_code == 202
    assert "Idempotent-Replayed" not in reply


def test_a_key_is_forgotten_after_a_day(alder: Api, body: dict[str, Any]) -> None:
    alder.post("/v1/synthesize", body, **KEY)
    row = IdempotentReply.objects.filter(tenant=alder.tenant)
    row.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    assert "Idempotent-Replayed" in alder.post("/v1/synthesize", body, **KEY)
    row.update(created_at=timezone.now() - timedelta(hours=24, minutes=1))
    assert "Idempotent-Replayed" not in alder.post("/v1/synthesize", body, **KEY)
    assert Job.objects.count() == 2


@pytest.mark.parametrize("key", ["", "k" * 256, "naïve", "tab\there"])
def test_a_key_that_cannot_be_kept_is_refused(alder: Api, body: dict[str, Any], key: str) -> None:
    reply = alder.post("/v1/synthesize", body, **{"Idempotency-Key": key})
    assert reply.status_code == 400
    assert not Job.objects.exists()


def test_a_repeated_retry_queues_a_job_once(alder: Api, body: dict[str, Any]) -> None:
    path = f"/v1/jobs/{alder.post('/v1/synthesize', body).json()['id']}"
    alder.post(f"{path}/cancel")
    replies = [alder.post(f"{path}/retry", None, **KEY) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [202, 202]
    assert replies[1]["Idempotent-Replayed"] == "true"
    assert Job.objects.waiting().count() == 1
    assert alder.post(f"{path}/retry").status_code == 409


def test_a_repeated_registration_makes_one_speaker_and_leaves_no_file_behind(
    alder: Api, recording: Callable[..., bytes]
) -> None:
    audio = recording(31.0, 8_000)
    first = alder.register(audio, headers=KEY)
    files = files_below(f"t/{alder.tenant.pk}")
    second = alder.register(audio, headers=KEY)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert second["Location"] == f"/v1/speakers/{first.json()['id']}"
    assert second["Idempotent-Replayed"] == "true"
    assert Speaker.objects.count() == 1
    relay()
    assert files_below(f"t/{alder.tenant.pk}") == files
    assert len(files) == 1


def test_a_registration_with_other_audio_or_fields_may_not_reuse_a_key(
    alder: Api, recording: Callable[..., bytes]
) -> None:
    audio = recording(31.0, 8_000)
    alder.register(audio, headers=KEY)
    for reply in (
        alder.register(recording(32.0, 8_000), headers=KEY),
        alder.register(audio, name="Bo", headers=KEY),
    ):
        assert reply.status_code == 422
        assert reply.json()["code"] == "idempotency_key_reuse"
    assert Speaker.objects.count() == 1
    assert len(files_below(f"t/{alder.tenant.pk}")) == 1


def test_a_refused_registration_leaves_the_key_free_and_no_file(
    alder: Api, recording: Callable[..., bytes]
) -> None:
    assert alder.register(recording(2.0, 8_000), headers=KEY).status_code == 422
    relay()
    assert files_below(f"t/{alder.tenant.pk}") == []
    assert alder.register(recording(31.0, 8_000), headers=KEY).status_code == 201
