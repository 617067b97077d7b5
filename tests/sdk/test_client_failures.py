"""What the client does when the server or the network fails."""

import logging
import random
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from voicereel import (
    ApiKeyError,
    AuthenticationError,
    BadResponse,
    Client,
    ConfigurationError,
    Conflict,
    ConnectionFailed,
    DownloadCorrupt,
    FileUnavailable,
    InvalidArgument,
    InvalidRequest,
    JobFailed,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
    ServiceUnavailable,
    SpeakerFailed,
    WaitTimeout,
)

from .conftest import KEY
from .samples import finished_job, job, speaker
from .scripted_server import CUT_BEFORE_ANSWER, Reply, ScriptedServer, document, problem

AUDIO = random.Random(1).randbytes(300_000)
LINE = {"speaker_id": "spk_1", "text": "Hi."}
BUSY = problem(503, "unavailable", "busy")


def audio_reply(begin: int = 0, etag: str = '"v1"', sent: int | None = None) -> Reply:
    headers = {"ETag": etag}
    if begin:
        headers["Content-Range"] = f"bytes {begin}-{len(AUDIO) - 1}/{len(AUDIO)}"
    return Reply(206 if begin else 200, AUDIO[begin:], headers, sent)


def script_finished_job(server: ScriptedServer, *links: str) -> None:
    replies = [document(finished_job(AUDIO, server.url + link)) for link in links or ("/file",)]
    server.script("GET", "/v1/jobs/job_1", *replies)


def requests_to(server: ScriptedServer, path: str) -> list:
    return [request for request in server.received if request.path.partition("?")[0] == path]


def test_a_rate_limited_call_waits_as_retry_after_asks_and_then_succeeds(
    client: Any, server: Any
) -> None:
    server.script(
        "GET",
        "/v1/speakers/spk_1",
        problem(429, "rate_limited", "slow down", Retry_After="1"),
        document(speaker()),
    )
    begun = time.monotonic()
    assert client.get_speaker("spk_1").name == "Anna"
    assert time.monotonic() - begun >= 1.0


def test_a_retry_after_of_an_hour_is_capped_at_one_minute(
    client: Any, server: Any, monkeypatch: Any
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("voicereel.retry.time.sleep", pauses.append)
    asks = problem(429, "rate_limited", "slow down", Retry_After="3600")
    server.script("GET", "/v1/speakers/spk_1", asks, document(speaker()))
    client.get_speaker("spk_1")
    assert pauses == [60.0]


def test_an_unreadable_retry_after_is_ignored(client: Any, server: Any) -> None:
    asks = problem(429, "rate_limited", "slow down", Retry_After="soon")
    server.script("GET", "/v1/speakers/spk_1", asks, document(speaker()))
    assert client.get_speaker("spk_1").id == "spk_1"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_or_availability_failure_is_tried_again(
    client: Any, server: Any, status: Any
) -> None:
    server.script("GET", "/v1/speakers/spk_1", problem(status, "x", "x"), document(speaker()))
    assert client.get_speaker("spk_1").id == "spk_1"


def test_an_answer_cut_in_the_middle_is_asked_for_again(client: Any, server: Any) -> None:
    whole = document(speaker())
    cut = Reply(200, whole.body, whole.headers, sent=20)
    server.script("GET", "/v1/speakers/spk_1", cut, CUT_BEFORE_ANSWER, whole)
    assert client.get_speaker("spk_1").id == "spk_1"
    assert len(server.received) == 3


def test_a_synthesis_whose_answer_was_lost_is_repeated_under_the_same_idempotency_key(
    client: Any, server: Any
) -> None:
    server.script("POST", "/v1/synthesize", CUT_BEFORE_ANSWER, BUSY, document(job(), 202))
    assert client.synthesize([LINE]).id == "job_1"
    keys = {request.headers["Idempotency-Key"] for request in server.received}
    assert len(server.received) == 3
    assert len(keys) == 1
    client.synthesize([LINE])
    assert server.received[-1].headers["Idempotency-Key"] not in keys


def test_a_conflict_that_names_a_waiting_time_is_an_earlier_attempt_still_at_work(
    client: Any, server: Any
) -> None:
    still = problem(409, "idempotency_in_progress", "still at work", Retry_After="0")
    server.script("POST", "/v1/synthesize", still, document(job(), 202))
    assert client.synthesize([LINE], idempotency_key="mine").id == "job_1"
    assert [r.headers["Idempotency-Key"] for r in server.received] == ["mine", "mine"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidRequest),
        (401, AuthenticationError),
        (403, PermissionDenied),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (415, InvalidRequest),
        (422, InvalidRequest),
        (500, ServerError),
    ],
)
def test_a_refusal_is_raised_by_its_type_and_not_tried_again(
    client: Any, server: Any, status: Any, error: Any
) -> None:
    entry = {"pointer": "/script/3/text", "line_id": "l4", "detail": "shorten it"}
    server.script("POST", "/v1/synthesize", problem(status, "refused", "no", [entry]))
    with pytest.raises(error) as caught:
        client.synthesize([LINE])
    assert len(server.received) == 1
    assert (caught.value.status, caught.value.code) == (status, "refused")
    assert caught.value.request_id == "req_1"
    assert caught.value.errors[0].line_id == "l4"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (problem(429, "rate_limited", "slow down"), RateLimited),
        (BUSY, ServiceUnavailable),
        (CUT_BEFORE_ANSWER, ConnectionFailed),
    ],
)
def test_the_client_gives_up_after_the_limit_of_retries(
    client: Any, server: Any, reply: Any, error: Any
) -> None:
    server.script("GET", "/v1/jobs/job_1", reply)
    with pytest.raises(error):
        client.get_job("job_1")
    assert len(server.received) == 4


def test_a_server_that_is_not_there_is_reported_as_a_failed_connection() -> None:
    with (
        Client(KEY, "http://127.0.0.1:9", max_retries=1, backoff_s=0.001) as client,
        pytest.raises(ConnectionFailed, match=r"http://127\.0\.0\.1:9"),
    ):
        client.get_job("job_1")


def test_a_server_that_never_answers_is_given_up_after_the_timeout(server: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(KEY, address, timeout_s=0.1, max_retries=1, backoff_s=0) as client,
            pytest.raises(ConnectionFailed, match="timed out"),
        ):
            client.get_job("job_1")


@pytest.mark.parametrize("lost", [CUT_BEFORE_ANSWER, problem(504, "timeout", "too slow")])
def test_a_delete_whose_answer_was_lost_succeeds_when_the_thing_is_gone(
    client: Any, server: Any, lost: Any
) -> None:
    server.script("DELETE", "/v1/jobs/job_1", lost, problem(404, "not_found", "no such job"))
    client.delete_job("job_1")


def test_a_delete_of_what_never_was_there_is_not_found(client: Any, server: Any) -> None:
    gone = problem(404, "not_found", "no such job")
    server.script("DELETE", "/v1/jobs/job_1", BUSY, gone)
    with pytest.raises(NotFound):
        client.delete_job("job_1")


def test_an_answer_of_another_kind_of_server_is_a_bad_response(client: Any, server: Any) -> None:
    server.script("GET", "/v1/jobs/job_1", Reply(200, b"<html>hello</html>"))
    with pytest.raises(BadResponse, match="address"):
        client.get_job("job_1")
    server.script("GET", "/v1/jobs/job_1", document(["not", "a", "job"]))
    with pytest.raises(BadResponse):
        client.get_job("job_1")


def test_a_redirect_is_not_followed_with_the_key(client: Any, server: Any) -> None:
    server.script("GET", "/v1/jobs/job_1", Reply(301, b"", {"Location": "https://other.test/"}))
    with pytest.raises(BadResponse, match=r"https://other\.test/"):
        client.get_job("job_1")


def test_captions_in_an_object_store_are_fetched_from_there_without_the_key(
    client: Any, server: Any, tmp_path: Any
) -> None:
    captions = {"srt": f"{server.url}/v1/files/token/a.srt"}
    elsewhere = {"Location": f"{server.url}/bucket/a.srt?X-Amz-Signature=1"}
    server.script("GET", "/v1/jobs/job_1", document(job(status="succeeded", captions=captions)))
    server.script("GET", "/v1/files/token/a.srt", Reply(302, b"", elsewhere))
    server.script("GET", "/bucket/a.srt", Reply(200, b"1\n", {}))
    path = client.download_captions("job_1", "srt", tmp_path / "a.srt")
    assert path.read_bytes() == b"1\n"
    assert "Authorization" not in {name.title() for name in server.received[-1].headers}


def test_a_gateway_page_is_reported_without_its_html(client: Any, server: Any) -> None:
    server.script("GET", "/v1/jobs/job_1", Reply(500, b"<html>", {"Content-Type": "text/html"}))
    with pytest.raises(ServerError, match="HTTP 500") as caught:
        client.get_job("job_1")
    assert "<html>" not in str(caught.value)


def test_lists_are_followed_over_pages_and_end_when_a_cursor_comes_again(
    client: Any, server: Any
) -> None:
    first = document({"data": [speaker(id="spk_1")], "next_cursor": "c2"})
    second = document({"data": [speaker(id="spk_2")], "next_cursor": "c2"})
    server.script("GET", "/v1/speakers", first, second)
    assert [item.id for item in client.iter_speakers()] == ["spk_1", "spk_2"]
    assert server.received[1].path == "/v1/speakers?cursor=c2"


def test_an_upload_begins_again_from_the_first_byte_with_the_same_body(
    client: Any, server: Any, tmp_path: Any
) -> None:
    first, second = tmp_path / "a.wav", tmp_path / "b.wav"
    first.write_bytes(AUDIO)
    second.write_bytes(AUDIO[:1000])
    processing = document(speaker(status="processing"), 201)
    server.script("POST", "/v1/speakers", CUT_BEFORE_ANSWER, BUSY, processing)
    seen: list[tuple[int, int]] = []
    client.register_speaker(
        "Anna",
        [first, second],
        consent=True,
        metadata={"role": "호스트"},
        on_progress=lambda done, total: seen.append((done, total)),
    )
    bodies = {request.body for request in server.received}
    assert len(server.received) == 3
    assert len(bodies) == 1
    body = bodies.pop()
    assert AUDIO in body
    assert '{"role": "호스트"}'.encode() in body
    assert len({request.headers["Idempotency-Key"] for request in server.received}) == 1
    assert seen.count((len(body), len(body))) == 3


def test_a_voice_without_consent_is_refused_before_anything_is_sent(
    client: Any, server: Any, tmp_path: Any
) -> None:
    with pytest.raises(InvalidArgument, match="consent"):
        client.register_speaker("Anna", tmp_path / "a.wav", consent=False)
    assert server.received == []


def test_waiting_ends_with_the_failure_of_the_job_or_speaker(client: Any, server: Any) -> None:
    error = {"code": "engine", "detail": "could not speak", "line_id": "l2"}
    server.script(
        "GET", "/v1/jobs/job_1", document(job()), document(job(status="failed", error=error))
    )
    with pytest.raises(JobFailed, match=r"line l2.*could not speak"):
        client.wait_for_job("job_1", poll_s=0.001)
    reasons = [{"code": "too_short", "detail": "record more"}]
    server.script(
        "GET", "/v1/speakers/spk_1", document(speaker(status="failed", failure_reasons=reasons))
    )
    with pytest.raises(SpeakerFailed) as caught:
        client.wait_for_speaker("spk_1")
    assert caught.value.speaker.failure_reasons[0].detail == "record more"


def test_waiting_is_over_after_its_time(client: Any, server: Any) -> None:
    server.script("GET", "/v1/jobs/job_1", document(job()))
    with pytest.raises(WaitTimeout, match=r"0\.05 s"):
        client.wait_for_job("job_1", timeout_s=0.05, poll_s=0.01)


def test_a_download_cut_in_the_middle_goes_on_from_there(
    client: Any, server: Any, tmp_path: Any
) -> None:
    script_finished_job(server)
    server.script("GET", "/file", audio_reply(sent=100_000), audio_reply(begin=100_000))
    seen: list[int] = []
    target = client.download_audio("job_1", tmp_path / "out.mp3", lambda done, _: seen.append(done))
    assert target.read_bytes() == AUDIO
    assert seen[-1] == len(AUDIO)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp3"]
    again = requests_to(server, "/file")[1]
    assert again.headers["Range"] == "bytes=100000-"
    assert again.headers["If-Range"] == '"v1"'
    assert "Authorization" not in again.headers


def test_a_download_goes_on_in_a_later_run(client: Any, server: Any, tmp_path: Any) -> None:
    script_finished_job(server)
    server.script("GET", "/file", audio_reply(sent=100_000), BUSY)
    with pytest.raises(ServiceUnavailable):
        client.download_audio("job_1", tmp_path / "out.mp3")
    assert not (tmp_path / "out.mp3").exists()
    server.script("GET", "/file", audio_reply(begin=100_000))
    client.download_audio("job_1", tmp_path / "out.mp3")
    assert (tmp_path / "out.mp3").read_bytes() == AUDIO


def test_a_download_begins_again_when_the_file_has_changed(
    client: Any, server: Any, tmp_path: Any
) -> None:
    script_finished_job(server)
    (tmp_path / "out.mp3.part").write_bytes(b"of another job")
    (tmp_path / "out.mp3.part.etag").write_text('"v0"')
    server.script("GET", "/file", audio_reply())
    client.download_audio("job_1", tmp_path / "out.mp3")
    assert (tmp_path / "out.mp3").read_bytes() == AUDIO


def test_spoilt_bytes_of_an_earlier_run_are_fetched_anew(
    client: Any, server: Any, tmp_path: Any
) -> None:
    script_finished_job(server)
    (tmp_path / "out.mp3.part").write_bytes(b"\0" * 1000)
    (tmp_path / "out.mp3.part.etag").write_text('"v1"')
    server.script("GET", "/file", audio_reply(begin=1000), audio_reply())
    client.download_audio("job_1", tmp_path / "out.mp3")
    assert (tmp_path / "out.mp3").read_bytes() == AUDIO


def test_a_link_that_expires_during_a_download_is_replaced(
    client: Any, server: Any, tmp_path: Any
) -> None:
    script_finished_job(server, "/old", "/new")
    expired = problem(403, "link_expired", "the link has expired")
    server.script("GET", "/old", audio_reply(sent=100_000), expired)
    server.script("GET", "/new", audio_reply(begin=100_000))
    client.download_audio("job_1", tmp_path / "out.mp3")
    assert (tmp_path / "out.mp3").read_bytes() == AUDIO


def test_a_fresh_link_that_is_refused_is_an_error(client: Any, server: Any, tmp_path: Any) -> None:
    script_finished_job(server)
    server.script("GET", "/file", problem(403, "forbidden", "no"))
    with pytest.raises(PermissionDenied):
        client.download_audio("job_1", tmp_path / "out.mp3")
    assert len(requests_to(server, "/file")) == 1


@pytest.mark.parametrize("received", [b"\0" * len(AUDIO), AUDIO[:-1], AUDIO + b"more"])
def test_a_corrupt_download_is_refused_and_leaves_the_old_file(
    client: Any, server: Any, tmp_path: Path, received: Any
) -> None:
    script_finished_job(server)
    server.script("GET", "/file", Reply(200, received, {"ETag": '"v1"'}))
    (tmp_path / "out.mp3").write_bytes(b"old")
    with pytest.raises(DownloadCorrupt):
        client.download_audio("job_1", tmp_path / "out.mp3")
    assert (tmp_path / "out.mp3").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp3"]


@pytest.mark.parametrize("etag", ['"v1"', 'W/"weak"'])
def test_a_download_that_is_cut_each_time_is_given_up(
    client: Any, server: Any, tmp_path: Any, etag: Any
) -> None:
    script_finished_job(server)
    server.script("GET", "/file", audio_reply(etag=etag, sent=50_000))
    with pytest.raises(ConnectionFailed):
        client.download_audio("job_1", tmp_path / "out.mp3")
    assert len(requests_to(server, "/file")) == 4


def test_a_download_of_an_unfinished_job_says_so(client: Any, server: Any, tmp_path: Any) -> None:
    server.script("GET", "/v1/jobs/job_1", document(job()))
    with pytest.raises(FileUnavailable, match="it is processing"):
        client.download_audio("job_1", tmp_path / "out.mp3")


def test_captions_come_from_the_link_without_the_key_and_with_a_mark_if_asked(
    client: Any, server: Any, tmp_path: Any
) -> None:
    link = server.url + "/captions?signature=abc"
    server.script(
        "GET", "/v1/jobs/job_1", document(finished_job(AUDIO, "", captions={"srt": link}))
    )
    server.script("GET", "/captions", BUSY, Reply(200, b"1\n"))
    client.download_captions("job_1", "srt", tmp_path / "out.srt", bom=True)
    assert (tmp_path / "out.srt").read_bytes() == b"1\n"
    asked = server.received[-1]
    assert asked.path == "/captions?signature=abc&bom=1"
    assert "Authorization" not in asked.headers
    with pytest.raises(FileUnavailable, match="vtt"):
        client.download_captions("job_1", "vtt", tmp_path / "out.vtt")


def test_the_api_key_is_in_no_repr_log_or_error(client: Any, server: Any, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    server.script("GET", "/v1/jobs/job_1", problem(401, "bad_key", "unknown key"))
    with pytest.raises(AuthenticationError) as refused:
        client.get_job("job_1")
    with pytest.raises(ApiKeyError) as malformed:
        Client(KEY + "\nX-Other: 1")
    shown = [repr(client), repr(refused.value), repr(malformed.value), caplog.text]
    assert not any(KEY in text for text in shown)


def test_a_missing_key_or_malformed_address_is_said_at_once(monkeypatch: Any) -> None:
    monkeypatch.delenv("VOICEREEL_API_KEY", raising=False)
    with pytest.raises(ApiKeyError, match="VOICEREEL_API_KEY"):
        Client()
    for address in ("localhost:8000", "ftp://host", "http://", "http://user:pass@host"):
        with pytest.raises(ConfigurationError):
            Client(KEY, address)


@pytest.mark.parametrize("bad_id", ["", "../speakers", "job 1", "job_1?x=1"])
def test_an_id_that_would_change_the_path_is_refused(client: Any, server: Any, bad_id: Any) -> None:
    with pytest.raises(InvalidArgument):
        client.delete_job(bad_id)
    assert server.received == []
