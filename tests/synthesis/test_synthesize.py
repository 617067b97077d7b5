"""POST /v1/synthesize: what a script may be."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client

from speakers.models import Speaker
from synthesis.models import Job, Line
from tests.conftest import Api


@pytest.fixture
def anna(alder: Api, make_speaker: Callable[..., Speaker]) -> Speaker:
    return make_speaker(alder)


def line(speaker: Speaker, text: str = "Hello.", **fields: Any) -> dict[str, Any]:
    return {"speaker_id": speaker.pk, "text": text, **fields}


def refused_at(reply: Any) -> list[str]:
    """The pointers of a refusal."""
    assert reply.status_code == 422, reply.json()
    return [error["pointer"] for error in reply.json()["errors"]]


def test_a_script_is_queued_with_the_defaults(alder: Api, anna: Speaker) -> None:
    reply = alder.post("/v1/synthesize", {"script": [line(anna), line(anna, "Again.")]})
    assert reply.status_code == 202
    shown = reply.json()
    assert reply["Location"] == f"/v1/jobs/{shown['id']}"
    assert shown["status"] == "queued"
    assert shown["progress"] == {"lines_done": 0, "lines_total": 2}
    assert (shown["title"], shown["metadata"], shown["notices"]) == ("", {}, [])
    for name in ("audio", "captions", "error", "started_at", "finished_at", "links_expire_at"):
        assert shown[name] is None, name
    job = Job.objects.get(pk=shown["id"])
    assert job.output == {
        "format": "mp3",
        "sample_rate": 44_100,
        "bitrate_kbps": 128,
        "bit_depth": None,
    }
    assert job.captions == ["json", "vtt", "srt"]
    assert 0 <= job.seed == shown["seed"] < 2**31
    assert job.api_key_id == alder.key.pk
    kept = list(Line.objects.filter(job=job).values_list("line_id", "text", "speed", "language"))
    assert kept == [("1", "Hello.", 1.0, "en"), ("2", "Again.", 1.0, "en")]
    assert [job.pk for job in Job.objects.waiting()] == [job.pk]


def test_everything_a_script_says_is_kept(alder: Api, anna: Speaker) -> None:
    script = [
        line(anna, "안녕하세요.", id="intro", speed=1.5, pause_after_ms=0),
        line(anna, "Hi.", language="en-GB", pause_after_ms=10_000),
    ]
    body = {
        "title": "에피소드 1",
        "script": script,
        "output": {"format": "flac", "sample_rate": 48_000, "bit_depth": 24},
        "captions": ["srt", "json", "srt"],
        "seed": 2**53 - 1,
        "metadata": {"project": "pilot"},
    }
    shown = alder.post("/v1/synthesize", body).json()
    assert (shown["title"], shown["seed"]) == ("에피소드 1", 2**53 - 1)
    assert shown["metadata"] == {"project": "pilot"}
    job = Job.objects.get()
    assert (job.output["format"], job.output["bit_depth"]) == ("flac", 24)
    assert job.captions == ["json", "srt"]
    fields = ("line_id", "language", "speed", "pause_after_ms")
    assert list(Line.objects.filter(job=job).values_list(*fields)) == [
        ("intro", "ko", 1.5, 0),
        ("2", "en-GB", 1.0, 10_000),
    ]


def test_a_job_may_go_without_captions(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    job = submit(alder, captions=[])
    render(job["id"])
    assert alder.get(f"/v1/jobs/{job['id']}").json()["captions"] == {}


def test_two_thousand_lines_are_taken_and_one_more_is_refused(alder: Api, anna: Speaker) -> None:
    lines = [line(anna, "x")] * 2_000
    reply = alder.post("/v1/synthesize", {"script": lines})
    assert reply.status_code == 202
    assert reply.json()["progress"]["lines_total"] == 2_000
    assert refused_at(alder.post("/v1/synthesize", {"script": [*lines, lines[0]]})) == ["/script"]


def test_200000_characters_are_taken_and_one_more_is_refused(alder: Api, anna: Speaker) -> None:
    lines = [line(anna, "가" * 2_000)] * 100
    assert alder.post("/v1/synthesize", {"script": lines}).status_code == 202
    reply = alder.post("/v1/synthesize", {"script": [*lines, line(anna, "나")]})
    assert refused_at(reply) == ["/script"]
    assert "200,001" in reply.json()["detail"]


def test_a_script_needs_a_line(alder: Api, anna: Speaker) -> None:
    scripts: list[Any] = [[], None, {}, "Hello."]
    for script in scripts:
        pointers = refused_at(alder.post("/v1/synthesize", {"script": script}))
        assert pointers == ["/script"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", "x" * 2_000),
        ("text", "😀"),
        ("speed", 0.5),
        ("speed", 2.0),
        ("speed", 1),
        ("pause_after_ms", 0),
        ("pause_after_ms", 10_000),
        ("id", "x" * 64),
        ("id", "장면 1/대사"),
        ("language", "ko"),
        ("language", "pt-BR"),
    ],
)
def test_a_value_at_its_limit_is_taken(
    alder: Api, anna: Speaker, field: str, value: object
) -> None:
    script = [line(anna) | {field: value}]
    assert alder.post("/v1/synthesize", {"script": script}).status_code == 202


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", "x" * 2_001),
        ("text", "   "),
        ("text", None),
        ("text", ["x"]),
        ("text", "a\0b"),
        ("speed", 0.49),
        ("speed", 2.01),
        ("speed", "fast"),
        ("speed", None),
        ("pause_after_ms", -1),
        ("pause_after_ms", 10_001),
        ("pause_after_ms", 1.5),
        ("id", ""),
        ("id", "x" * 65),
        ("language", "English"),
        ("language", "e"),
        ("speaker_id", ""),
        ("speaker_id", None),
        ("speaker_id", "x" * 41),
        ("speaker_id", "a\0b"),
    ],
)
def test_a_value_beyond_its_limit_is_refused_by_field(
    alder: Api, anna: Speaker, field: str, value: object
) -> None:
    script = [line(anna), line(anna) | {field: value}]
    reply = alder.post("/v1/synthesize", {"script": script})
    assert refused_at(reply) == [f"/script/1/{field}"]
    given = isinstance(value, str) and field == "id" and value
    assert reply.json()["errors"][0]["line_id"] == (str(value)[:64] if given else "2")
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"output": {"format": "aiff"}}, "/output/format"),
        ({"output": {"sample_rate": 7_999}}, "/output/sample_rate"),
        ({"output": {"sample_rate": 48_001}}, "/output/sample_rate"),
        ({"output": {"format": "opus", "sample_rate": 44_100}}, "/output/sample_rate"),
        ({"output": {"format": "mp3", "bitrate_kbps": 24}}, "/output/bitrate_kbps"),
        ({"output": {"format": "wav", "bitrate_kbps": 128}}, "/output/bitrate_kbps"),
        ({"output": {"format": "wav", "bit_depth": 32}}, "/output/bit_depth"),
        ({"output": {"format": "mp3", "bit_depth": 16}}, "/output/bit_depth"),
        ({"captions": ["ass"]}, "/captions/0"),
        ({"seed": -1}, "/seed"),
        ({"seed": 2**53}, "/seed"),
        ({"title": "x" * 201}, "/title"),
        ({"metadata": {"a": "x" * 501}}, "/metadata/a"),
        ({"metadata": {str(index): "x" for index in range(21)}}, "/metadata"),
        ({"metadata": {"x" * 65: "x"}}, "/metadata"),
        ({"metadata": {"a\0b": "x"}}, "/metadata"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_by_field(
    alder: Api, anna: Speaker, fields: dict[str, Any], pointer: str
) -> None:
    reply = alder.post("/v1/synthesize", {"script": [line(anna)], **fields})
    assert refused_at(reply) == [pointer]
    assert reply.json()["code"] == "validation_error"
    assert not Job.objects.exists()


def test_two_lines_may_not_have_one_id(alder: Api, anna: Speaker) -> None:
    script = [line(anna), line(anna, id="a"), line(anna, id="a")]
    reply = alder.post("/v1/synthesize", {"script": script})
    assert refused_at(reply) == ["/script/2/id"]
    assert reply.json()["errors"][0]["line_id"] == "a"
    # A line without an id has its number.
    script = [line(anna, id="2"), line(anna)]
    assert refused_at(alder.post("/v1/synthesize", {"script": script})) == ["/script/1/id"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"status": "processing"}, "still being analysed"),
        ({"status": "failed"}, "failed its analysis"),
        ({"voice_engine": "fish-speech"}, "fish-speech"),
    ],
)
def test_a_speaker_that_is_not_ready_is_refused_with_the_reason(
    alder: Api, make_speaker: Callable[..., Speaker], fields: dict[str, Any], says: str
) -> None:
    speaker = make_speaker(alder, "Bo", **fields)
    reply = alder.post("/v1/synthesize", {"script": [line(speaker, id="a")]})
    assert refused_at(reply) == ["/script/0/speaker_id"]
    error = reply.json()["errors"][0]
    assert (reply.json()["code"], error["line_id"]) == ("speaker_not_ready", "a")
    assert "Bo" in error["detail"]
    assert says in error["detail"]


def test_a_deleted_speaker_is_not_found(alder: Api, anna: Speaker) -> None:
    alder.delete(f"/v1/speakers/{anna.pk}")
    reply = alder.post("/v1/synthesize", {"script": [line(anna)]})
    assert refused_at(reply) == ["/script/0/speaker_id"]
    assert reply.json()["code"] == "speaker_not_found"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("안녕하세요 1화", "안녕하세요 1화.mp3"),
        ("Episode 1", "Episode 1.mp3"),
        ('a/b\\c:d*e?"f"<g>|h%i', "a b c d e f g h i.mp3"),
        ("../../etc/passwd", "etc passwd.mp3"),
        ("...", None),
        ("가" * 200, "가" * 80 + ".mp3"),
    ],
)
def test_a_title_becomes_the_downloads_name(
    alder: Api,
    submit: Callable[..., Any],
    render: Callable[[str], None],
    title: str,
    name: str | None,
) -> None:
    job = submit(alder, "Hi.", title=title)
    render(job["id"])
    url = alder.get(f"/v1/jobs/{job['id']}").json()["audio"]["url"]
    reply = Client().get(url)
    assert reply.status_code == 200
    disposition = reply["Content-Disposition"]
    assert disposition.isascii()
    plain, _, extended = disposition.partition("; filename*=UTF-8''")
    assert unquote(extended) == (name or f"{job['id']}.mp3")
    assert plain.startswith('attachment; filename="')
    assert plain.endswith('.mp3"')
    assert plain.count('"') == 2


def test_the_longest_language_code_is_stored_whole(
    alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    longest = "zho-Hans0000"
    speaker = make_speaker(alder, language=longest)
    line = {"speaker_id": speaker.pk, "text": "Hello.", "language": longest}
    assert alder.post("/v1/synthesize", {"script": [line]}).status_code == 202
    assert Line.objects.get().language == longest
