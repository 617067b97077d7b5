"""Something we stand on is away: 503 with Retry-After, and /readyz says what."""

import errno
import subprocess
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from django.core.files.storage import default_storage
from django.db import InterfaceError, InternalError, OperationalError
from django.test import Client

from speakers import decoding
from speakers.models import Speaker
from synthesis import api as synthesis_api
from synthesis import storage
from tests.conftest import Api
from voicereel_site import outages

OUTAGES = {
    "database": OperationalError("could not connect"),
    "database connection": InterfaceError("connection already closed"),
    "storage": EndpointConnectionError(endpoint_url="http://s3"),
    "storage refuses": ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject"),
    "disk": OSError(errno.ENOSPC, "No space left on device"),
}


def raising(exc: Exception) -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise exc

    return fail


@pytest.mark.parametrize("what", OUTAGES)
def test_an_outage_is_a_503_that_says_when_to_come_back(
    alder: Api, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(synthesis_api, "get_job_to_show", raising(OUTAGES[what]))
    monkeypatch.setattr(storage, "open_link", raising(OUTAGES[what]))
    for path in ("/v1/jobs/job_1", "/v1/files/token/a.mp3"):
        reply = alder.get(path)
        assert reply.status_code == 503
        assert reply.json()["code"] == "service_unavailable"
        assert what.split()[0] in reply.json()["detail"]
        assert reply["Retry-After"] == "10"


@pytest.mark.parametrize(
    ("pgcode", "what"), [("25006", "database"), ("25P03", "database"), ("25P02", None)]
)
def test_a_failover_is_an_outage_and_a_transaction_of_ours_that_failed_is_none(
    pgcode: str, what: str | None
) -> None:
    class ServerSaid(Exception):
        pass

    cause = ServerSaid()
    cause.pgcode = pgcode  # type: ignore[attr-defined]
    refused = InternalError("cannot execute UPDATE in a read-only transaction")
    refused.__cause__ = cause
    assert outages.outage_of(refused) == what


def test_what_a_disk_had_no_room_for_is_not_blamed_on_the_recording(
    alder: Api, recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def died(*args: Any, **kwargs: Any) -> Any:
        raise subprocess.CalledProcessError(1, "decoder_child.py")

    monkeypatch.setattr(decoding.subprocess, "run", died)
    assert alder.register(recording()).json()["code"] == "audio_unreadable"
    monkeypatch.setattr(decoding, "require_disk", raising(OUTAGES["disk"]))
    reply = alder.register(recording())
    assert (reply.status_code, reply.json()["code"]) == (503, "service_unavailable")


def test_a_write_waits_until_the_database_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(outages.time, "sleep", waits.append)
    monkeypatch.setattr(outages.connection, "close", lambda: None)
    answers = [OUTAGES["database"], OUTAGES["database connection"], None]

    def write() -> str:
        if answer := answers.pop(0):
            raise answer
        return "written"

    assert outages.until_database_is_back(write, OUTAGES["storage"]) == "written"
    assert waits == [5.0, 5.0]
    with pytest.raises(OperationalError):
        outages.until_database_is_back(raising(OUTAGES["database"]), OUTAGES["database"])
    assert len(waits) == 2 + 11
    with pytest.raises(ZeroDivisionError):
        outages.until_database_is_back(raising(ZeroDivisionError()), OUTAGES["database"])
    assert len(waits) == 2 + 11


def test_a_fault_of_our_own_is_no_outage(alder: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis_api, "get_job_to_show", raising(OSError(errno.EBADF, "bad")))
    reply = alder.get("/v1/jobs/job_1")
    assert reply.status_code == 500
    assert reply.json()["code"] == "internal_error"


def test_a_recording_that_cannot_be_kept_leaves_no_speaker(
    alder: Api, recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default_storage, "save", raising(OUTAGES["storage"]))
    reply = alder.register(recording())
    assert reply.status_code == 503
    assert not Speaker.objects.exists()


def test_ready_means_that_everything_answers(db: None) -> None:
    reply = Client().get("/readyz")
    assert reply.status_code == 200
    assert reply.json() == {
        "status": "ok",
        "checks": dict.fromkeys(["database", "broker", "storage", "disk"], "ok"),
    }


@pytest.mark.parametrize("down", ["database", "broker", "storage", "disk"])
def test_what_is_down_is_named(db: None, monkeypatch: pytest.MonkeyPatch, down: str) -> None:
    monkeypatch.setitem(outages._CHECKS, down, raising(OSError("secret address")))
    reply = Client().get("/readyz")
    assert reply.status_code == 503
    assert reply["Content-Type"] == "application/problem+json"
    assert reply["Retry-After"] == "10"
    assert reply.json()["code"] == "service_unavailable"
    assert down in reply.json()["detail"]
    assert [name for name, state in reply.json()["checks"].items() if state != "ok"] == [down]
    assert "secret" not in reply.content.decode()
