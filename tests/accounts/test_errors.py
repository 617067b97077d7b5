"""Every refusal is a problem document that says what to do and where."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from speakers.models import Speaker
from synthesis.models import Job
from tests.conftest import Api


def errors_of(reply: Any) -> dict[str, dict[str, str]]:
    """The errors of an answer by pointer; there is one for each."""
    errors = reply.json()["errors"]
    by_pointer = {error["pointer"]: error for error in errors}
    assert len(by_pointer) == len(errors)
    assert all(error["detail"] for error in errors)
    return by_pointer


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"script": [', b"\xff\xfe", b'{"seed": NaN}', b"'script'", b"[" * 100_000],
    ids=["brace", "cut", "not-utf-8", "nan", "quotes", "deep"],
)
def test_a_body_that_is_not_json_is_unparseable(alder: Api, body: bytes) -> None:
    reply = alder.request("POST", "/v1/synthesize", data=body, content_type="application/json")
    assert reply.status_code == 400
    assert reply.json()["code"] == "validation_error"


def test_a_request_without_a_body_lacks_its_script(alder: Api) -> None:
    reply = alder.request("POST", "/v1/synthesize", content_type="application/json")
    assert reply.status_code == 422
    assert set(errors_of(reply)) == {"/script"}


@pytest.mark.parametrize("body", [[], "script", 5, None, True, [{"script": []}]])
def test_json_that_is_not_an_object_is_refused(alder: Api, body: Any) -> None:
    reply = alder.post("/v1/synthesize", body)
    assert reply.status_code == 422
    assert reply.json()["code"] == "validation_error"


def test_unknown_fields_are_refused_by_name(
    alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    line = {"speaker_id": make_speaker(alder).pk, "text": "Hello.", "voice": "Anna"}
    body = {"script": [line], "output": {"codec": "mp3"}, "titel": "x", "a/b~c": 1}
    reply = alder.post("/v1/synthesize", body)
    assert reply.status_code == 422
    errors = errors_of(reply)
    assert set(errors) == {"/script/0/voice", "/output/codec", "/titel", "/a~1b~0c"}
    assert errors["/script/0/voice"]["line_id"] == "1"
    assert "speaker_id" in errors["/script/0/voice"]["detail"]  # the names there are
    assert not Job.objects.exists()


def test_unknown_query_parameters_are_refused_by_name(alder: Api) -> None:
    for path in ("/v1/jobs", "/v1/speakers"):
        reply = alder.get(f"{path}?page=2")
        assert reply.status_code == 422
        assert set(errors_of(reply)) == {"/page"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/synthesize"),
        ("PUT", "/v1/speakers"),
        ("POST", "/v1/jobs"),
        ("PATCH", "/v1/jobs/job_1"),
        ("POST", "/v1/speakers/spk_1"),
        ("GET", "/v1/jobs/job_1/cancel"),
        ("DELETE", "/v1/jobs/job_1/retry"),
        ("POST", "/v1/files/token/name.mp3"),
    ],
)
def test_a_wrong_method_is_named(alder: Api, method: str, path: str) -> None:
    reply = alder.request(method, path)
    assert reply.status_code == 405
    assert reply.json()["code"] == "method_not_allowed"
    assert method not in reply["Allow"].split(", ")


@pytest.mark.parametrize(
    "path", ["/nowhere", "/v1", "/v1/", "/v2/jobs", "/v1/jobs/", "/v1/jobs/a/b", "/admin"]
)
def test_an_unknown_address_is_a_problem_document(alder: Api, path: str) -> None:
    reply = alder.get(path)
    assert reply.status_code == 404
    assert reply.json()["code"] == "not_found"


@pytest.mark.parametrize(
    "path", ["/v1/jobs/job_1", "/v1/speakers/spk_1", "/v1/jobs/%EA%B0%80", "/v1/jobs/%00"]
)
def test_an_unknown_id_is_not_found(alder: Api, path: str) -> None:
    reply = alder.get(path)
    assert reply.status_code == 404
    assert reply.json()["code"] == "not_found"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v1/synthesize", "text/plain"),
        ("/v1/synthesize", "application/x-www-form-urlencoded"),
        ("/v1/synthesize", "multipart/form-data; boundary=x"),
        ("/v1/speakers", "application/json"),
        ("/v1/speakers", "audio/wav"),
    ],
)
def test_a_media_type_that_a_route_does_not_take_is_refused(
    alder: Api, path: str, content_type: str
) -> None:
    reply = alder.request("POST", path, data=b"{}", content_type=content_type)
    assert reply.status_code == 415


def test_a_malformed_multipart_body_is_unparseable(alder: Api) -> None:
    reply = alder.request(
        "POST", "/v1/speakers", data=b"no parts", content_type="multipart/form-data"
    )
    assert reply.status_code == 400


def test_all_malformed_lines_are_named_at_once(
    alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    spk = make_speaker(alder).pk
    script = [
        {"speaker_id": spk, "text": "Good."},
        {"id": "intro", "speaker_id": spk, "text": ""},
        {"speaker_id": spk},
        {"id": "slow", "speaker_id": spk, "text": "x", "speed": 9, "pause_after_ms": -1},
        "not a line",
    ]
    reply = alder.post("/v1/synthesize", {"script": script, "seed": -1})
    assert reply.status_code == 422
    body = reply.json()
    assert body["code"] == "validation_error"
    errors = errors_of(reply)
    assert {pointer: error.get("line_id") for pointer, error in errors.items()} == {
        "/script/1/text": "intro",
        "/script/2/text": "3",
        "/script/3/speed": "slow",
        "/script/3/pause_after_ms": "slow",
        "/script/4": "5",
        "/seed": None,
    }


def test_all_lines_that_cannot_be_spoken_are_named_at_once(
    alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    ready = make_speaker(alder).pk
    waiting = make_speaker(alder, "Bo", status="processing").pk
    script = [
        {"id": "a", "speaker_id": ready, "text": "Good."},
        {"id": "b", "speaker_id": "spk_none", "text": "Who?"},
        {"id": "c", "speaker_id": waiting, "text": "Not yet."},
        {"id": "a", "speaker_id": ready, "text": "Twice."},
    ]
    body = {"script": script, "output": {"format": "opus", "sample_rate": 44_100}}
    errors = errors_of(alder.post("/v1/synthesize", body))
    assert {
        pointer: (error.get("line_id"), error.get("code")) for pointer, error in errors.items()
    } == {
        "/output/sample_rate": (None, None),
        "/script/1/speaker_id": ("b", "speaker_not_found"),
        "/script/2/speaker_id": ("c", "speaker_not_ready"),
        "/script/3/id": ("a", None),
    }
    assert not Job.objects.exists()


def test_half_a_surrogate_pair_is_refused_by_field(
    alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    line = {"speaker_id": make_speaker(alder).pk, "text": "broken \ud83d"}
    reply = alder.post("/v1/synthesize", {"script": [line]})
    assert reply.status_code == 422
    assert set(errors_of(reply)) == {"/script/0/text"}


@pytest.mark.parametrize("cursor", ["!!!!", "AA", "%00", "aGVsbG8", "한글", "A"])
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/speakers"])
def test_a_cursor_that_is_not_ours_is_refused(alder: Api, path: str, cursor: str) -> None:
    reply = alder.get(f"{path}?cursor={cursor}")
    assert reply.status_code == 422
    assert set(errors_of(reply)) == {"/cursor"}


@pytest.mark.parametrize("limit", ["0", "101", "x", "-1", ""])
def test_a_page_size_out_of_bounds_is_refused(alder: Api, limit: str) -> None:
    assert set(errors_of(alder.get(f"/v1/jobs?limit={limit}"))) == {"/limit"}


def test_a_request_id_is_taken_up(alder: Api) -> None:
    reply = alder.get("/v1/jobs/job_1", **{"X-Request-ID": "customer-1234.5_6"})
    assert reply["X-Request-ID"] == "customer-1234.5_6"
    assert reply.json()["request_id"] == "customer-1234.5_6"


@pytest.mark.parametrize("given", ["short", "x" * 129, "with space", 'quote"quote', "é" * 8])
def test_an_unsafe_request_id_is_replaced(alder: Api, given: str) -> None:
    made = [alder.get("/v1/jobs", **{"X-Request-ID": given})["X-Request-ID"] for _ in range(2)]
    assert given not in made
    assert made[0] != made[1]
    assert made[0].startswith("req_")


def test_answers_are_json_whatever_is_accepted(alder: Api) -> None:
    reply = alder.get("/v1/jobs", Accept="text/html")
    assert reply.status_code == 200
    assert reply["Content-Type"] == "application/json"


def test_the_health_check_needs_no_key_and_no_database() -> None:
    # This test may not use the database: a query would fail it.
    reply = Client().get("/healthz")
    assert reply.status_code == 200
    assert json.loads(reply.content) == {"status": "ok"}
