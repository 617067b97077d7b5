"""Links to files: what they open, for how long, and how files are sent."""

import hashlib
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from accounts.outbox import relay
from accounts.stored_files import delete_below
from tests.accounts.disk import files_below
from tests.conftest import Api


@pytest.fixture
def finished(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> dict[str, Any]:
    """A rendered job as the API shows it."""
    output = {"format": "wav", "sample_rate": 48_000, "bit_depth": 24}
    texts = ("Hello there. " * 3, "안녕하세요.")
    job = submit(alder, *texts, title="Episode 1", output=output)
    render(job["id"])
    shown: dict[str, Any] = alder.get(f"/v1/jobs/{job['id']}").json()
    return shown


def get(url: str, **headers: str) -> Any:
    """What anybody gets who has the link: there is no key."""
    return Client().get(url, headers={name.replace("_", "-"): v for name, v in headers.items()})


def body_of(reply: Any) -> bytes:
    return b"".join(reply.streaming_content) if reply.streaming else reply.content


@pytest.fixture
def audio(finished: dict[str, Any]) -> bytes:
    return body_of(get(finished["audio"]["url"]))


def test_a_link_works_without_a_key_and_brings_the_file_it_describes(
    finished: dict[str, Any],
) -> None:
    reply = get(finished["audio"]["url"])
    assert reply.status_code == 200
    content = body_of(reply)
    assert hashlib.sha256(content).hexdigest() == finished["audio"]["sha256"]
    assert len(content) == finished["audio"]["size_bytes"] == int(reply["Content-Length"])
    assert reply["Content-Type"] == "audio/wav"
    assert reply["Accept-Ranges"] == "bytes"
    assert "no-store" in reply["Cache-Control"]
    assert reply["X-Content-Type-Options"] == "nosniff"
    assert 'filename="Episode 1.wav"' in reply["Content-Disposition"]


@pytest.mark.parametrize(
    ("kind", "media_type", "begins"),
    [
        ("json", "application/json", b"{"),
        ("vtt", "text/vtt; charset=utf-8", b"WEBVTT"),
        ("srt", "application/x-subrip; charset=utf-8", b"1"),
    ],
)
def test_captions_have_their_own_links(
    finished: dict[str, Any], kind: str, media_type: str, begins: bytes
) -> None:
    reply = get(finished["captions"][kind])
    assert reply["Content-Type"] == media_type
    content = body_of(reply)
    assert content.startswith(begins)
    assert "안녕하세요." in content.decode()
    assert f"Episode 1.{kind}" in reply["Content-Disposition"]


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-9", 0, 10),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=300000-", 300_000, None),
        ("bytes=-100", -100, None),
        ("bytes=-99999999", 0, None),
        ("bytes=5-99999999", 5, None),
        ("bytes=0-", 0, None),
    ],
)
def test_a_range_brings_just_these_bytes(
    finished: dict[str, Any], audio: bytes, asked: str, start: int, end: int | None
) -> None:
    # longer than one chunk of the loop that sends it
    assert len(audio) > 300_000
    reply = get(finished["audio"]["url"], Range=asked)
    content = body_of(reply)
    assert reply.status_code == 206
    assert content == audio[start:end]
    first = start % len(audio)
    last = first + len(content) - 1
    assert reply["Content-Range"] == f"bytes {first}-{last}/{len(audio)}"
    assert int(reply["Content-Length"]) == len(content)


@pytest.mark.parametrize(
    "asked",
    ["bytes={size}-", "bytes=-0", "bytes=99999999-", f"bytes={'9' * 5000}-"],
    ids=["size", "no-suffix", "beyond", "5000-digits"],
)
def test_a_range_outside_the_file_is_not_satisfiable(
    finished: dict[str, Any], audio: bytes, asked: str
) -> None:
    reply = get(finished["audio"]["url"], Range=asked.replace("{size}", str(len(audio))))
    assert reply.status_code == 416
    assert reply["Content-Range"] == f"bytes */{len(audio)}"
    assert body_of(reply)[:4] != b"RIFF"


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=a-b", "lines=0-9", "bytes=0-1,5-6", "0-9", ""])
def test_a_range_that_we_do_not_understand_is_ignored(
    finished: dict[str, Any], audio: bytes, asked: str
) -> None:
    reply = get(finished["audio"]["url"], Range=asked)
    assert reply.status_code == 200
    assert body_of(reply) == audio


def test_a_range_holds_only_if_the_file_is_still_the_same(
    finished: dict[str, Any], audio: bytes
) -> None:
    url = finished["audio"]["url"]
    etag = get(url)["ETag"]
    same = get(url, Range="bytes=0-3", If_Range=etag)
    assert (same.status_code, body_of(same)) == (206, audio[:4])
    assert same["ETag"] == etag
    for other in ('"another"', "Wed, 21 Oct 2015 07:28:00 GMT", f"W/{etag}"):
        changed = get(url, Range="bytes=0-3", If_Range=other)
        assert (changed.status_code, body_of(changed)) == (200, audio)


def test_head_tells_the_size_and_sends_nothing(finished: dict[str, Any], audio: bytes) -> None:
    reply = Client().head(finished["audio"]["url"])
    assert reply.status_code == 200
    assert int(reply["Content-Length"]) == len(audio)
    assert reply["Content-Type"] == "audio/wav"
    assert reply["ETag"] == get(finished["audio"]["url"])["ETag"]
    assert body_of(reply) == b""


def test_head_ignores_a_range(finished: dict[str, Any], audio: bytes) -> None:
    # RFC 9110, 14.2: range handling is defined for GET alone.
    reply = Client().head(finished["audio"]["url"], headers={"Range": "bytes=0-9"})
    assert reply.status_code == 200
    assert int(reply["Content-Length"]) == len(audio)


def test_a_link_is_refused_after_fifteen_minutes(
    finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = finished["audio"]["url"]
    now = time.time()
    monkeypatch.setattr("synthesis.storage.time.time", lambda: now + 15 * 60 - 5)
    assert get(url).status_code == 200
    monkeypatch.setattr("synthesis.storage.time.time", lambda: now + 15 * 60 + 1)
    reply = get(url)
    assert reply.status_code == 403
    assert reply["Content-Type"] == "application/problem+json"
    assert reply.json()["code"] == "invalid_signature"
    assert "GET the job again" in reply.json()["detail"]


def test_a_job_that_is_asked_again_has_fresh_links(
    alder: Api, finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr("synthesis.storage.time.time", lambda: now + 16 * 60)
    again = alder.get(f"/v1/jobs/{finished['id']}").json()
    assert get(finished["audio"]["url"]).status_code == 403
    assert get(again["audio"]["url"]).status_code == 200


def test_a_link_is_refused_when_any_character_of_it_is_changed(finished: dict[str, Any]) -> None:
    path = urlsplit(finished["captions"]["srt"]).path
    begin = len("/v1/files/")
    assert get(path).status_code == 200
    for position in range(begin, len(path)):
        before = path[position]
        for other in ("x" if before != "x" else "y", before.swapcase(), ""):
            if other == before:
                continue
            reply = get(path[:position] + other + path[position + 1 :])
            # Without its slash the path leads nowhere.
            expected = 404 if before == "/" else 403
            assert reply.status_code == expected, (position, other)
            assert "Hello" not in reply.content.decode()


def test_the_name_of_one_file_does_not_open_another(finished: dict[str, Any]) -> None:
    audio_path = urlsplit(finished["audio"]["url"]).path
    srt_path = urlsplit(finished["captions"]["srt"]).path
    token, name = audio_path.rsplit("/", 1)[0], srt_path.rsplit("/", 1)[1]
    assert get(f"{token}/{name}").status_code == 403


def test_srt_may_be_asked_with_a_byte_order_mark(finished: dict[str, Any]) -> None:
    url = finished["captions"]["srt"]
    plain, marked = get(url), get(f"{url}?bom=1")
    content = body_of(marked)
    assert content == b"\xef\xbb\xbf" + body_of(plain)
    assert int(marked["Content-Length"]) == len(content)
    assert marked["ETag"] != plain["ETag"]
    for asked, part in (
        ("bytes=0-2", content[:3]),
        ("bytes=1-9", content[1:10]),
        ("bytes=3-5", content[3:6]),
        ("bytes=10-", content[10:]),
        ("bytes=-4", content[-4:]),
        ("bytes=0-1", content[:2]),
    ):
        assert body_of(get(f"{url}?bom=1", Range=asked)) == part, asked


def test_only_srt_has_a_byte_order_mark(finished: dict[str, Any]) -> None:
    for url in (finished["captions"]["vtt"], finished["captions"]["json"]):
        assert body_of(get(f"{url}?bom=1")) == body_of(get(url))


def test_a_deleted_jobs_links_lead_nowhere_and_its_files_are_erased(
    alder: Api, finished: dict[str, Any]
) -> None:
    folder = f"t/{alder.tenant.pk}"
    # the lines, the audio, three captions
    assert len(files_below(folder)) == 6
    assert alder.delete(f"/v1/jobs/{finished['id']}").status_code == 204
    for url in (finished["audio"]["url"], *finished["captions"].values()):
        reply = get(url)
        assert reply.status_code == 404
        assert reply["Content-Type"] == "application/problem+json"
    relay()
    assert files_below(folder) == []
    assert alder.get(f"/v1/jobs/{finished['id']}").status_code == 404


def test_deleting_one_job_leaves_the_files_of_another(
    alder: Api,
    submit: Callable[..., Any],
    render: Callable[[str], None],
    finished: dict[str, Any],
) -> None:
    other = submit(alder)
    render(other["id"])
    alder.delete(f"/v1/jobs/{other['id']}")
    relay()
    assert get(finished["audio"]["url"]).status_code == 200
    assert len(files_below(f"t/{alder.tenant.pk}")) == 6


def test_a_file_that_is_lost_is_said_to_be_gone(alder: Api, finished: dict[str, Any]) -> None:
    delete_below(f"t/{alder.tenant.pk}/j/{finished['id']}")
    reply = get(finished["audio"]["url"])
    assert reply.status_code == 404
    assert reply["Content-Type"] == "application/problem+json"
