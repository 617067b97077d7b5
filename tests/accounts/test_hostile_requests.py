"""Requests that mean harm are refused as problem documents; ``Api`` asserts that of every refusal."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from speakers.models import Speaker
from synthesis.models import Job, Line
from tests.conftest import Api

MB = 1024 * 1024


def post_raw(api: Api, body: bytes, path: str = "/v1/synthesize") -> Any:
    return api.request("POST", path, data=body, content_type="application/json")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 400),
        (b'{"a":' * 50_000, 400),
        (b'{"script": ' + b"[" * 800 + b"]" * 800 + b"}", 422),
        (b'{"seed": ' + b"9" * 5000 + b"}", 400),  # Python refuses to convert it
        (b'{"seed": 1e400}', 422),
        (b'{"seed": 1e308, "script": []}', 422),
        (b'{"seed": -0.0, "script": []}', 422),
        (b'{"script": "' + b"x" * (4 * MB - 20) + b'"}', 422),
        (b'{"script": [' + b"{}," * (MB - 10) + b"{}]}", 400),
        (b'{"script": [' + b"{}," * 200_000 + b"{}]}", 422),
        (b'{"script": [' + b"1," * (2 * MB - 20) + b"1]}", 422),
        (b'{"captions": [' + b'"x",' * (MB - 10) + b'"x"], "script": []}', 422),
        (b"{" + b",".join(b'"%d": 1' % n for n in range(250_000)) + b"}", 422),
        (
            b'{"metadata": {' + b",".join(b'"%d": "1"' % n for n in range(200_000)) + b"}}",
            422,
        ),
        (b'{"script": [], "script": [], "\\ud800": 1}', 422),
        (b'{"script": [{"speaker_id": "\\ud800", "text": "x"}]}', 422),
        (b'{"script": [{"id": "\\udc00", "text": "x"}]}', 422),
        (b'{"script": [{"\\ud800": 1}], "captions": ["\\ud83d"]}', 422),
        (b'{"output": {"format": "\\ud800", "sample_rate": "\\ud800"}}', 422),
        (b'{"metadata": {"\\ud800": "x", "y": "\\u0000"}, "script": []}', 422),
        (b'{"title": "a\\u0000b", "script": []}', 422),
        ("﻿{}".encode(), 400),
        (b" " * (4 * MB + 1), 413),
        (b"x" * (5 * MB), 413),
    ],
    ids=range(24),
)
def test_json_that_means_harm_is_refused(alder: Api, body: bytes, status: int) -> None:
    reply = post_raw(alder, body)
    assert reply.status_code == status, reply.content[:300]
    assert len(reply.content) < 200_000
    assert not Job.objects.exists()


def test_a_body_longer_than_it_says_is_read_as_far_as_it_says(alder: Api) -> None:
    reply = alder.request(
        "POST",
        "/v1/synthesize",
        data=b'{"script": []}' + b" " * MB,
        content_type="application/json",
        CONTENT_LENGTH="14",
    )
    assert reply.status_code == 422


@pytest.mark.parametrize("charset", ["utf-16", "utf-7", "idna", "base64", "no-such"])
def test_a_body_in_another_charset_is_unparseable_or_read_right(alder: Api, charset: str) -> None:
    reply = alder.request(
        "POST",
        "/v1/synthesize",
        data=b'{"script": []}',
        content_type=f"application/json; charset={charset}",
    )
    assert reply.status_code in (400, 415, 422)


def multipart(parts: list[bytes]) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def field(name: str, value: bytes = b"x") -> bytes:
    return b'Content-Disposition: form-data; name="%s"\r\n\r\n%s' % (name.encode(), value)


def upload(name: bytes, value: bytes = b"x") -> bytes:
    return (
        b'Content-Disposition: form-data; name="audio"; filename="%s"\r\n'
        b"Content-Type: audio/wav\r\n\r\n%s" % (name, value)
    )


FORMS: dict[str, tuple[list[bytes], int]] = {
    "10,000 fields": ([field(f"f{n}") for n in range(10_000)], 413),
    "10,000 fields of one name": ([field("name")] * 10_000, 413),
    "10,000 files": ([upload(b"a.wav")] * 10_000, 413),
    "21 files": ([upload(b"a.wav")] * 21, 413),
    "a field of 5 MB": ([field("name", b"x" * 5 * MB)], 413),
    "a part with 100,000 bytes of header": ([b"X-Bomb: " + b"x" * 100_000 + b"\r\n\r\nx"], 400),
    "a part without a name": ([b"Content-Disposition: form-data\r\n\r\nx"], 422),
    "bytes that are not UTF-8 as a name": ([field("name", b"\xff\xfe\xfa")], 422),
    "base64 that is none": (
        [
            b'Content-Disposition: form-data; name="name"\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\n!!!"
        ],
        422,
    ),
    "a file as a field": (
        [b'Content-Disposition: form-data; name="name"; filename="x"\r\n\r\nx'],
        422,
    ),
    "a path as a file name": ([upload(b"../../../etc/passwd")], 422),
    "NUL in a file name": ([upload(b"a\0b.wav")], 422),
    "a file name of 100,000 bytes": ([upload(b"x" * 100_000)], 400),
}


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_that_means_harm_is_refused(alder: Api, kind: str) -> None:
    parts, status = FORMS[kind]
    reply = alder.request(
        "POST",
        "/v1/speakers",
        data=multipart(parts),
        content_type="multipart/form-data; boundary=b",
    )
    assert reply.status_code == status, reply.content[:300]
    assert not Speaker.objects.exists()


def test_a_form_that_is_cut_off_is_refused(alder: Api) -> None:
    for body in (b"--b\r\n" + field("name"), b"--b\r\nContent-Disp", b"--b", b"\r\n" * 1000):
        reply = alder.request(
            "POST", "/v1/speakers", data=body, content_type="multipart/form-data; boundary=b"
        )
        assert reply.status_code in (400, 422)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs?" + "&".join(f"a{n}=1" for n in range(10_000)),
        "/v1/jobs?limit=" + "9" * 10_000,
        "/v1/jobs?status=%ff%fe",
        "/v1/jobs?status=%00",
        "/v1/jobs?cursor=" + "A" * 10_000,
        "/v1/jobs/" + "x" * 10_000,
        "/v1/jobs/%ED%A0%80",
        "/v1/speakers/job_%00",
        "/v1/files/" + "x" * 10_000 + "/y",
        "/v1/files/a:b/%00",
        "/v1/files/W10:x/y?" + "&".join(f"a{n}=1" for n in range(10_000)),
        "/" + "%2e%2e/" * 100 + "etc/passwd",
    ],
)
def test_an_address_that_means_harm_is_refused(alder: Api, path: str) -> None:
    assert 400 <= alder.get(path).status_code < 500


@pytest.mark.parametrize("name", ["Authorization", "X-Request-ID", "Range", "If-Range", "Accept"])
def test_a_header_of_300_kilobytes_is_taken_in_stride(alder: Api, name: str) -> None:
    reply = alder.get("/v1/jobs/job_1", **{name: "x" * 300_000})
    assert reply.status_code == (401 if name == "Authorization" else 404)
    assert len(reply.serialize()) < 5_000


@pytest.mark.parametrize("host", ["evil.example", "a b", "127.0.0.1:99999", "[::1", ""])
def test_a_host_that_is_not_ours_is_no_failure(alder: Api, host: str) -> None:
    reply = alder.request("GET", "/v1/jobs", HTTP_HOST=host)
    assert reply.status_code in (200, 400)


RLO, ISOLATE, ZERO_WIDTH, BOM, TAG = "\u202e", "\u2066", "\u200b", "\ufeff", "\U000e0041"


@pytest.mark.parametrize(
    "trick", [RLO, ISOLATE, ZERO_WIDTH, BOM, TAG, "\n", "\x1b", "\x7f", "\u2028"]
)
def test_a_name_or_title_with_an_invisible_character_is_refused(
    alder: Api, make_speaker: Callable[..., Speaker], trick: str
) -> None:
    speaker = make_speaker(alder)
    name = f"An{trick}na"
    reply = alder.patch(f"/v1/speakers/{speaker.pk}", {"name": name})
    assert reply.status_code == 422
    [error] = reply.json()["errors"]
    assert error["pointer"] == "/name"
    assert f"U+{ord(trick):04X}" in error["detail"]
    script = [{"speaker_id": speaker.pk, "text": "Hello."}]
    reply = alder.post("/v1/synthesize", {"script": script, "title": name})
    assert [error["pointer"] for error in reply.json()["errors"]] == ["/title"]


@pytest.mark.parametrize("name", ["\u200d", "\u00a0", "\u3164\u200d"])
def test_a_name_of_nothing_visible_is_refused(
    alder: Api, make_speaker: Callable[..., Speaker], name: str
) -> None:
    path = f"/v1/speakers/{make_speaker(alder).pk}"
    reply = alder.patch(path, {"name": name})
    assert (reply.status_code == 422) == (name != "\u3164\u200d")  # a Hangul filler is a letter


@pytest.mark.parametrize("name", ["زهرا\u200cسادات", "👩‍👩‍👧", "김지민", "Zoë", "O’Brien"])
def test_names_of_this_world_are_taken(
    alder: Api, make_speaker: Callable[..., Speaker], name: str
) -> None:
    reply = alder.patch(f"/v1/speakers/{make_speaker(alder).pk}", {"name": name})
    assert (reply.status_code, reply.json()["name"]) == (200, name)


def test_a_decomposed_name_is_composed(alder: Api, make_speaker: Callable[..., Speaker]) -> None:
    decomposed = "\u1100\u1175\u11b7"  # 김, as macOS spells it
    reply = alder.patch(f"/v1/speakers/{make_speaker(alder).pk}", {"name": decomposed})
    assert reply.json()["name"] == "김"


def test_invisible_characters_are_taken_out_of_a_text(
    alder: Api, make_speaker: Callable[..., Speaker], render: Callable[[str], None]
) -> None:
    text = f"{BOM}Hel{ZERO_WIDTH}lo,{RLO} dlrow{ISOLATE}.{TAG}\x07\n\u1100\u1175\u11b7 👩‍👧"
    speaker = make_speaker(alder)
    reply = alder.post("/v1/synthesize", {"script": [{"speaker_id": speaker.pk, "text": text}]})
    assert reply.status_code == 202
    assert Line.objects.get().text == "Hello, dlrow.\n김 👩‍👧"
    render(reply.json()["id"])
    job = alder.get(f"/v1/jobs/{reply.json()['id']}").json()
    assert job["status"] == "succeeded"
    captions = b"".join(Client().get(job["captions"]["json"]).streaming_content)
    assert "Hello, dlrow." in json.loads(captions)["cues"][0]["text"]


@pytest.mark.parametrize("text", [ZERO_WIDTH, RLO + BOM, "\x00", " \u00ad "])
def test_a_text_of_nothing_is_refused(
    alder: Api, make_speaker: Callable[..., Speaker], text: str
) -> None:
    script = [{"speaker_id": make_speaker(alder).pk, "text": text}]
    reply = alder.post("/v1/synthesize", {"script": script})
    assert [error["pointer"] for error in reply.json()["errors"]] == ["/script/0/text"]


def test_texts_that_only_look_empty_or_strange_are_spoken(
    alder: Api, make_speaker: Callable[..., Speaker], render: Callable[[str], None]
) -> None:
    texts = [
        "...",
        "?!",
        "🎉",
        "\u0301",
        "\u3164",
        "ﷺ" * 20,
        "Z" + "\u0300" * 200,
        "1" * 500,
        "\t.\t",
    ]
    speaker = make_speaker(alder)
    script = [{"speaker_id": speaker.pk, "text": text} for text in texts]
    reply = alder.post("/v1/synthesize", {"script": script})
    assert reply.status_code == 202, reply.json()
    render(reply.json()["id"])
    assert Job.objects.get().status == "succeeded"


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"title": 7}, "/title", "Send a string."),
        ({"seed": "7"}, "/seed", "Send a number."),
        ({"seed": True}, "/seed", "Send a number."),
        ({"output": {"format": 3}}, "/output/format", "Send one of these: "),
        ({"output": {"bit_depth": "16"}}, "/output/bit_depth", "Send one of these: 16, 24."),
        ({"captions": [1, "vtt"]}, "/captions/0", "Send one of these: json, vtt, srt."),
        ({"metadata": {"a": 1}}, "/metadata/a", "Send a string."),
        ({"script": [{"speaker_id": "spk", "text": 12}]}, "/script/0/text", "Send a string."),
        (
            {"script": [{"speaker_id": "spk", "text": "Hi.", "speed": "1"}]},
            "/script/0/speed",
            "Send",
        ),
    ],
)
def test_json_of_another_type_than_the_document_says_is_refused(
    alder: Api, body: dict[str, Any], pointer: str, detail: str
) -> None:
    whole = {"script": [{"speaker_id": "spk", "text": "Hello."}]} | body
    reply = alder.post("/v1/synthesize", whole)
    assert reply.status_code == 422
    found = {error["pointer"]: error["detail"] for error in reply.json()["errors"]}
    assert found[pointer].startswith(detail)
    assert list(found) == [pointer]


def test_a_boolean_is_no_number(alder: Api) -> None:
    reply = alder.post("/v1/keys", {"require_signature": 0})
    assert reply.json()["errors"] == [
        {"pointer": "/require_signature", "detail": "Send true or false."}
    ]


@pytest.mark.parametrize(
    ("method", "path", "name", "value"),
    [
        ("POST", "/v1/keys", "scopes", [1] * 1_000_000),
        ("POST", "/v1/keys", "networks", ["x"] * 800_000),
        ("POST", "/v1/synthesize", "captions", [1] * 1_000_000),
        ("PUT", "/v1/pronunciations", "entries", [1] * 1_000_000),
        ("PATCH", "/v1/speakers/{speaker}", "metadata", {f"{n:x}": 1 for n in range(300_000)}),
    ],
)
def test_a_million_wrong_entries_are_not_looked_at_one_by_one(
    alder: Api,
    make_speaker: Callable[..., Speaker],
    method: str,
    path: str,
    name: str,
    value: Any,
) -> None:
    path = path.replace("{speaker}", make_speaker(alder).pk)
    body = {name: value, "script": [{"speaker_id": "x", "text": "Hi."}]}
    if path != "/v1/synthesize":
        del body["script"]
    sent = json.dumps(body, separators=(",", ":"))
    assert len(sent) < 4 * MB
    tracemalloc.start()
    reply = alder.request(method, path, data=sent, content_type="application/json")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reply.status_code == 422
    assert len(reply.json()["errors"]) < 10
    assert peak < 100 * MB
