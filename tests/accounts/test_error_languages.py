"""Refusals are in the language that a request prefers; only what people read of them changes."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polib
import pytest
from django.conf import settings
from django.template.loader import get_template
from django.templatetags.i18n import BlockTranslateNode, TranslateNode
from django.test import Client
from django.utils import translation
from rest_framework import exceptions, serializers

from accounts import stored_sentences as of_accounts
from accounts.keys import issue_key
from accounts.models import DataExport, WebhookDelivery, WebhookEndpoint
from accounts.plans import ALLOWANCES, Allowance, Plan
from speakers import stored_sentences as of_speakers
from speakers.analysis import Quality, failure_reasons
from speakers.models import Speaker
from synthesis import stored_sentences as of_synthesis
from synthesis.engines.fish.engine import FishEngine
from synthesis.engines.kokoro import KokoroEngine
from synthesis.models import Job
from tests.accounts.test_api_handler import by_key
from tests.conftest import Api, Browser
from voicereel_site import framework_sentences
from voicereel_site.errors import PARTS, THINGS
from voicereel_site.outages import _CHECKS
from voicereel_site.shapes import StrictSerializer
from voicereel_site.stored_text import translated

MakeSpeaker = Callable[..., Speaker]
# As browsers in Korea send it.
KOREAN = "ko-KR,ko;q=0.9,en;q=0.8"
_HANGUL = re.compile(r"[가-힣]")
# What is quoted, a name or a header's form, is no sentence.
_ENGLISH_SENTENCE = re.compile(r"\b[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}\b")


def said(reply: Any) -> list[str]:
    """All that a refusal says to a person."""
    body = reply.json()
    return [body["detail"], *(error["detail"] for error in body.get("errors", []))]


def unsaid(reply: Any) -> dict[str, Any]:
    """The rest of it, which programs read."""
    body = reply.json()
    errors = [
        {name: value for name, value in error.items() if name != "detail"}
        for error in body.get("errors", [])
    ]
    kept = ("type", "title", "status", "code")
    return {name: body[name] for name in kept} | {"errors": errors}


def assert_korean(text: str) -> None:
    assert _HANGUL.search(text), text
    assert not _ENGLISH_SENTENCE.search(text), text


_LINES: list[tuple[str, Mapping[str, Any]]] = [
    ("no such speaker", {"speaker_id": "spk_0", "text": "Hello."}),
    ("no text", {"speaker_id": "spk_0"}),
    ("blank", {"speaker_id": "spk_0", "text": " "}),
    ("too long", {"speaker_id": "spk_0", "text": "x" * 2_001}),
    ("mistyped", {"speaker_id": 5, "text": None, "speed": "fast", "id": 7}),
    ("unknown field", {"speaker_id": "spk_0", "text": "Hello.", "voice": "Anna"}),
    ("out of range", {"speaker_id": "spk_0", "text": "Hello.", "speed": 9, "pause_after_ms": -1}),
    ("no language", {"speaker_id": "spk_0", "text": "Hello.", "language": "English!"}),
    ("half a pair", {"speaker_id": "spk_0", "text": "\ud800"}),
]
_BODIES: list[tuple[str, str, str, Any]] = [
    *(
        (f"line: {name}", "POST", "/v1/synthesize", {"script": [line, {"id": "b", **line}]})
        for name, line in _LINES
    ),
    ("no script", "POST", "/v1/synthesize", {}),
    ("an empty script", "POST", "/v1/synthesize", {"script": []}),
    ("no object", "POST", "/v1/synthesize", []),
    ("no such page", "GET", "/v1/jobs?limit=1000", None),
    ("no such status", "GET", "/v1/jobs?status=lost", None),
    ("a cursor of others", "GET", "/v1/jobs?cursor=x", None),
    ("no such job", "GET", "/v1/jobs/job_0", None),
    ("no such speaker", "DELETE", "/v1/speakers/spk_0", None),
    ("no such member", "PATCH", "/v1/members/mem_0", {"role": "owner"}),
    ("no such invoice", "GET", "/v1/invoices/inv_0", None),
    ("no such address", "GET", "/v1/nothing", None),
    ("a wrong method", "PUT", "/v1/jobs", {}),
    ("a link that is over", "GET", "/v1/files/nothing/nothing.mp3", None),
    ("an archive's link that is over", "GET", "/v1/archives/nothing/nothing.zip", None),
    ("a proof's link that is none", "GET", "/v1/erasure-proofs/nothing", None),
    ("a moment that has passed", "POST", "/v1/keys", {"expires_at": "2020-01-01T00:00:00Z"}),
    ("no moment", "POST", "/v1/keys", {"expires_at": "soon"}),
    ("no network", "POST", "/v1/keys", {"networks": ["10.0.0.1/8", "here"]}),
    ("no such scope", "POST", "/v1/keys", {"scopes": ["jobs:sing"]}),
    ("too many scopes", "POST", "/v1/keys", {"scopes": ["*"] * 100}),
    ("an invisible character", "POST", "/v1/keys", {"label": "a\u200bb"}),
    ("another confirmation", "POST", "/v1/erasures", {"confirm": "ten_0"}),
    ("a private address", "POST", "/v1/webhook-endpoints", {"url": "https://127.0.0.1/"}),
    ("no address", "POST", "/v1/webhook-endpoints", {"url": "ftp://example.com"}),
    ("no mail address", "POST", "/v1/invitations", {"email": "eve", "role": "owner"}),
    ("no country", "PATCH", "/v1/billing", {"country": "Korea"}),
    ("no zone", "PATCH", "/v1/billing", {"time_zone": "Seoul"}),
    ("a card that is not there", "PATCH", "/v1/billing", {"pays_by": "card"}),
    ("no business number", "PATCH", "/v1/billing", {"country": "KR", "tax_id": "1"}),
    ("the end first", "GET", "/v1/usage?start=2026-02-01T00:00Z&end=2026-01-01T00:00Z", None),
    ("too many hours", "GET", "/v1/usage?start=2000-01-01T00:00Z&granularity=hour", None),
    ("no such group", "GET", "/v1/usage?group_by=mood", None),
    ("no month", "GET", "/v1/usage/reports/May", None),
    ("a month before", "GET", "/v1/usage/reports/2001-01", None),
    ("cards are not taken", "POST", "/v1/billing/card", {"return_url": "https://a.example/"}),
    (
        "two alike",
        "PUT",
        "/v1/pronunciations",
        {
            "entries": [
                {"language": "en", "written": word, "spoken": "x"} for word in ("SQL", "sql")
            ]
        },
    ),
    (
        "nothing to say",
        "PUT",
        "/v1/pronunciations",
        {"entries": [{"language": "en-US", "written": "!", "spoken": "?"}]},
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [case[1:] for case in _BODIES],
    ids=[case[0] for case in _BODIES],
)
def test_a_refusal_is_korean_for_whom_prefers_it(
    alder: Api, method: str, path: str, body: Any
) -> None:
    def ask(**headers: str) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        return alder.request(
            method, path, data=content, content_type="application/json", headers=headers
        )

    english = ask()
    assert english.status_code >= 400
    assert "Content-Language" not in english
    assert not any(_HANGUL.search(text) for text in said(english))
    korean = ask(**{"Accept-Language": KOREAN})
    assert unsaid(korean) == unsaid(english)
    assert len(said(korean)) == len(said(english))
    for text in said(korean):
        assert_korean(text)
    assert korean["Content-Language"] == "ko"
    assert "Accept-Language" in korean["Vary"]
    # And neither for others before nor after.
    for language in ("en", "en-GB,ko;q=0.9", "fr", "fr-CA,fr;q=0.9", "*", "", "no such;;language"):
        other = ask(**{"Accept-Language": language})
        assert said(other) == said(english)
        assert unsaid(other) == unsaid(english)
        assert "Content-Language" not in other


def korean_and_english(send: Callable[[dict[str, str]], Any], status: int) -> list[str]:
    """What a request is told in Korean, which must be as in English but for the words."""
    english, korean = send({}), send({"Accept-Language": KOREAN})
    assert english.status_code == status
    assert unsaid(korean) == unsaid(english)
    for text in said(korean):
        assert_korean(text)
    assert not any(_HANGUL.search(text) for text in said(english))
    assert korean["Content-Language"] == "ko"
    return said(korean)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "authorization", ["", "Bearer vr_live_0", "Basic QTpC"], ids=["none", "unknown", "basic"]
)
def test_whoever_has_no_key_is_told_so(authorization: str) -> None:
    own = {"Authorization": authorization} if authorization else {}
    korean_and_english(lambda headers: Client().get("/v1/jobs", headers=own | headers), 401)


def test_a_key_that_lacks_a_scope_is_told_which(alder: Api) -> None:
    _, secret, _ = issue_key(alder.tenant, scopes=["jobs:read"])
    reader = Api(alder.tenant, alder.key, secret)
    told = korean_and_english(lambda headers: reader.post("/v1/keys", {}, **headers), 403)
    assert told[0] == (
        "이 키에는 keys:write 스코프가 없습니다. 가진 스코프: jobs:read. "
        "이 스코프가 있는 키를 사용하십시오."
    )


def test_a_key_from_elsewhere_is_told_from_where(alder: Api) -> None:
    _, secret, _ = issue_key(alder.tenant, networks=["203.0.113.0/24"])
    away = Api(alder.tenant, alder.key, secret)
    told = korean_and_english(lambda headers: away.get("/v1/jobs", **headers), 403)
    assert "127.0.0.1" in told[0]
    assert "203.0.113.0/24" in told[0]


@pytest.mark.parametrize(
    "header",
    [None, "sig1=()", 'sig1=("@method");created=1;keyid="x";nonce="12345678"'],
    ids=["missing", "malformed", "too little"],
)
def test_a_signature_that_does_not_hold_is_told_why(alder: Api, header: str | None) -> None:
    _, secret, _ = issue_key(alder.tenant, require_signature=True)
    signer = Api(alder.tenant, alder.key, secret)
    own = {} if header is None else {"Signature-Input": header}
    korean_and_english(lambda headers: signer.get("/v1/jobs", **own, **headers), 401)


def test_a_role_is_named(alder: Api, make_member: Callable[..., Browser]) -> None:
    viewer = make_member(alder, "viewer")

    def send(headers: dict[str, str]) -> Any:
        return viewer.client.get("/v1/keys", headers=headers)

    assert "현재 역할(viewer)에는" in korean_and_english(send, 403)[0]


def test_whoever_chose_korean_at_a_browser_is_refused_in_it(
    alder: Api, make_member: Callable[..., Browser]
) -> None:
    owner = make_member(alder)
    owner.client.cookies[settings.LANGUAGE_COOKIE_NAME] = "ko"
    headers = {"Accept-Language": "en-US,en;q=0.9"}
    reply = owner.client.get("/v1/jobs/job_0", headers=headers)
    assert said(reply) == ["해당 작업을(를) 찾을 수 없습니다."]


@pytest.mark.django_db
def test_a_page_leaves_its_language_to_nobody(alder: Api) -> None:
    page = Client().get("/healthz", headers={"Accept-Language": KOREAN})
    assert page["Content-Language"] == "ko"
    owner = Client()
    owner.cookies[settings.LANGUAGE_COOKIE_NAME] = "ko"
    assert owner.get("/healthz")["Content-Language"] == "ko"
    assert said(alder.get("/v1/jobs/job_0")) == ["There is no such job."]


@pytest.mark.django_db(transaction=True)
def test_the_shorter_way_of_keys_speaks_korean_too(alder: Api) -> None:
    korean = by_key(alder, "GET", "/v1/jobs/job_0", accept_language=KOREAN)
    assert json.loads(korean.body)["detail"] == "해당 작업을(를) 찾을 수 없습니다."
    assert korean.headers["Content-Language"] == "ko"
    english = by_key(alder, "GET", "/v1/jobs/job_0")
    assert json.loads(english.body)["detail"] == "There is no such job."


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b'{"script": [', b"\xff\xfe", b'{"seed": NaN}', b"'script'", b"[" * 100_000),
        *(b"{} {}", b'{"a": 1,}', b'{"a" 1}', b'{"a": "\n"}', b'{"a": "\\x"}', b'{"a": "b'),
        b'["\xe2\x82"]',
    ],
)
def test_json_that_cannot_be_read_is_told_where(alder: Api, body: bytes) -> None:
    def send(headers: dict[str, str]) -> Any:
        return alder.request(
            "POST",
            "/v1/synthesize",
            data=body,
            content_type="application/json",
            headers=headers,
        )

    korean_and_english(send, 400)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v1/synthesize", "text/plain"),
        ("/v1/speakers", "application/json"),
    ],
)
def test_another_content_type_is_refused(alder: Api, path: str, content_type: str) -> None:
    def send(headers: dict[str, str]) -> Any:
        return alder.request("POST", path, data=b"{}", content_type=content_type, headers=headers)

    korean_and_english(send, 415)


def test_too_much_is_refused(alder: Api) -> None:
    body = b'{"script": "' + b"x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE + b'"}'

    def send(headers: dict[str, str]) -> Any:
        return alder.request(
            "POST",
            "/v1/synthesize",
            data=body,
            content_type="application/json",
            headers=headers,
        )

    korean_and_english(send, 413)


def test_what_cannot_be_any_more_is_refused(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    job = submit(alder)
    render(job["id"])
    for what in ("cancel", "retry"):

        def send(headers: dict[str, str], what: str = what) -> Any:
            return alder.post(f"/v1/jobs/{job['id']}/{what}", **headers)

        assert "성공" in korean_and_english(send, 409)[0]


def test_what_may_not_be_spent_is_refused(alder: Api, make_speaker: MakeSpeaker) -> None:
    script = [{"speaker_id": make_speaker(alder).pk, "text": "x" * 1_000}]
    body = {"script": script, "max_cost_minor": 0}
    korean_and_english(lambda headers: alder.post("/v1/synthesize", body, **headers), 402)
    preview = "/v1/synthesize?dry_run=true"
    shown = alder.post(preview, body, **{"Accept-Language": KOREAN}).json()
    assert shown["code"] == "cost_limit_exceeded"
    assert_korean(shown["detail"])
    alder.patch("/v1/billing", {"cap_minor": 0})
    spent = {"script": script}
    korean_and_english(lambda headers: alder.post("/v1/synthesize", spent, **headers), 402)


def test_too_many_are_refused(
    alder: Api, submit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    allowance = Allowance(600, 60, jobs=1, lines=1, in_hand=1, weight=1)
    monkeypatch.setitem(ALLOWANCES, Plan.STANDARD, allowance)
    job = submit(alder)
    script = [{"speaker_id": Speaker.objects.get().pk, "text": "Hello."}]
    body = {"script": script}
    korean_and_english(lambda headers: alder.post("/v1/synthesize", body, **headers), 429)
    # Requests of one tenant, and then none is left.
    monkeypatch.setitem(ALLOWANCES, Plan.STANDARD, Allowance(1, 3_600, 1, 1, 1, 1))
    alder.get(f"/v1/jobs/{job['id']}")
    korean_and_english(lambda headers: alder.get("/v1/jobs", **headers), 429)


def test_lines_are_named_whatever_the_language(alder: Api, make_speaker: MakeSpeaker) -> None:
    waiting = make_speaker(alder, status=Speaker.Status.PROCESSING)
    failed = make_speaker(alder, "Ben", status=Speaker.Status.FAILED)
    other = make_speaker(alder, "Cho", voice_engine="fish")
    script = [
        {"id": "a", "speaker_id": waiting.pk, "text": "One."},
        {"id": "a", "speaker_id": failed.pk, "text": "Two."},
        {"speaker_id": other.pk, "text": "Three."},
        {"speaker_id": "spk_0", "text": "Four."},
    ]
    output = {"format": "opus", "sample_rate": 44_100, "bit_depth": 24}
    body = {"script": script, "output": output}

    def send(headers: dict[str, str]) -> Any:
        return alder.post("/v1/synthesize", body, **headers)

    told = korean_and_english(send, 422)
    errors = send({"Accept-Language": "ko"}).json()["errors"]
    of_lines = [error["line_id"] for error in errors if error["pointer"].startswith("/script")]
    assert of_lines == ["a", "a", "a", "3", "4"]
    assert any("화자 Anna의 분석이 아직 끝나지 않았습니다." in text for text in told)


@pytest.mark.parametrize("engine", [KokoroEngine(), FishEngine()], ids=["kokoro", "fish"])
@pytest.mark.parametrize(
    ("text", "language"),
    [("Guten Tag.", "de"), ("Hei.", "fi"), ("Привет", "en"), ("สวัสดี", "en"), ("!?", "en")],
)
def test_engines_refuse_in_korean(engine: Any, text: str, language: str) -> None:
    english = engine.refusal(text, language)
    with translation.override("ko"):
        korean = engine.refusal(text, language)
    assert (korean is None) == (english is None)
    if korean is not None:
        assert_korean(korean)


@pytest.mark.parametrize(
    ("recording", "fields"),
    [
        (b"", {}),
        (b"This is no sound.", {}),
        (b"RIFF    WAVEfmt ", {}),
        (b"x", {"consent": "false"}),
        (b"x", {"metadata": "{"}),
        (b"x", {"language": "Korean!"}),
    ],
    ids=["empty", "text", "damaged", "no consent", "no JSON", "no language"],
)
def test_recordings_are_refused(alder: Api, recording: bytes, fields: dict[str, str]) -> None:
    korean_and_english(lambda headers: alder.register(recording, headers=headers, **fields), 422)


def test_a_short_recording_is_refused(alder: Api, recording: Callable[..., bytes]) -> None:
    short = recording(2.0)
    told = korean_and_english(lambda headers: alder.register(short, headers=headers), 422)
    assert "2.0초" in told[0]


# ------------------------------------------------------------------ what was stored


def test_a_failed_job_says_why(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    job = submit(alder, "One.", "[unspeakable]")
    render(job["id"])
    Job.objects.update(notices=[of_synthesis.KOREAN_IS_EXPERIMENTAL, "Something of later."])
    path = f"/v1/jobs/{job['id']}"
    english = alder.get(path).json()
    assert english["error"]["detail"] == "Line 2: The tone engine was asked to fail this line."
    assert english["notices"] == [of_synthesis.KOREAN_IS_EXPERIMENTAL, "Something of later."]
    korean = alder.get(path, **{"Accept-Language": KOREAN}).json()
    assert korean["error"] == english["error"] | {
        "detail": "대사 2: 신호음 엔진이 이 대사에서 실패하도록 요청받았습니다."
    }
    assert_korean(korean["notices"][0])
    assert korean["notices"][1] == "Something of later."
    # It is stored as it was, for whoever asks next.
    assert Job.objects.get().error_detail == english["error"]["detail"]


def test_a_failed_speaker_says_why(alder: Api, make_speaker: MakeSpeaker) -> None:
    quality = Quality(
        speech_ms=12_345,
        loudness_lufs=-45.0,
        clipped_percent=1.0,
        signal_to_noise_db=3.0,
        warnings=[of_speakers.CLIPPED % {"percent": "1.0"}],
    )
    speaker = make_speaker(
        alder,
        status=Speaker.Status.FAILED,
        quality=quality.as_json(),
        failure_reasons=failure_reasons(quality),
    )
    english = alder.get(f"/v1/speakers/{speaker.pk}").json()
    assert english["failure_reasons"] == failure_reasons(quality)
    assert english["quality"] == quality.as_json()
    for path in (f"/v1/speakers/{speaker.pk}", "/v1/speakers"):
        shown = alder.get(path, **{"Accept-Language": "ko"}).json()
        korean = shown["data"][0] if "data" in shown else shown
        (reason,) = korean["failure_reasons"]
        assert reason["code"] == "too_little_speech"
        assert "12.3초" in reason["detail"]
        assert_korean(reason["detail"])
        assert korean["quality"]["warnings"] == [
            "녹음의 1.0%에서 소리가 찌그러졌습니다(클리핑). 입력 레벨을 낮추고 다시 녹음하십시오."
        ]


def test_what_happened_to_webhooks_and_exports_is_told(alder: Api) -> None:
    endpoint = WebhookEndpoint.objects.create(
        tenant=alder.tenant,
        url="https://example.com/",
        events=["*"],
        secret=b"",
        disabled_reason=of_accounts.TOOK_NOTHING
        % {"days": 5, "error": of_accounts.ANSWERED % {"status": 500}},
    )
    WebhookDelivery.objects.create(
        tenant=alder.tenant,
        endpoint=endpoint,
        event="job.failed",
        body="{}",
        give_up_at="2026-01-01T00:00:00Z",
        attempts=[
            {"at": "2026-01-01T00:00:00Z", "status": 301, "duration_ms": 1}
            | {"error": of_accounts.REDIRECTED % {"status": 301}}
        ],
    )
    DataExport.objects.create(
        tenant=alder.tenant, status="failed", error_detail=of_accounts.EXPORT_FAILED
    )
    korean = {"Accept-Language": "ko"}
    shown = alder.get(f"/v1/webhook-endpoints/{endpoint.pk}", **korean).json()
    assert shown["disabled_reason"] == (
        "5일 동안 아무것도 받지 않았습니다. 마지막 오류: 500 상태로 응답했습니다."
    )
    path = f"/v1/webhook-endpoints/{endpoint.pk}/deliveries"
    assert_korean(alder.get(path, **korean).json()["data"][0]["attempts"][0]["error"])
    assert_korean(alder.get("/v1/exports", **korean).json()["data"][0]["error"])


_STORED = [
    (name, sentence)
    for module in (of_accounts, of_speakers, of_synthesis, framework_sentences)
    for name, sentence in vars(module).items()
    if name.isupper() and isinstance(sentence, str)
]


@pytest.mark.parametrize(("name", "sentence"), _STORED, ids=[name for name, _ in _STORED])
def test_every_stored_sentence_is_recognised(name: str, sentence: str) -> None:
    parts = dict.fromkeys(re.findall(r"%\((\w+)\)s", sentence))
    values = {part: f"{index}.5" for index, part in enumerate(parts)}
    stored = sentence % values if values else sentence
    assert translated(stored) == stored
    with translation.override("en"):
        assert translated(stored) == stored
    with translation.override("ko"):
        korean = translated(stored)
        told = translation.gettext(sentence)
        assert korean == (told % values if values else told)
    assert_korean(korean)


def test_sentences_within_sentences_are_recognised() -> None:
    why = {"why": of_synthesis.LOOP, "cause": "loop", "tries": 3}
    detail = of_synthesis.NOT_SPOKEN_AFTER_TRIES % why
    with translation.override("ko"):
        korean = translated(of_synthesis.LINE_FAILED % {"line_id": "intro", "detail": detail})
    assert korean.startswith("대사 intro: 3번 시도했으나")
    assert "음성이 같은 부분을 되풀이함(loop)" in korean
    with translation.override("ko"):
        assert translated("") == ""
        assert translated("Nobody has said this: 3.") == "Nobody has said this: 3."


# ------------------------------------------------------------------ nothing is left out

_ROOT = settings.BASE_DIR
_PACKAGES = ("accounts", "billing", "speakers", "synthesis", "voicereel_site")
_CATALOGUE = _ROOT / "templates/locale/ko/LC_MESSAGES/django.po"
_PLACEHOLDER = re.compile(r"%\(\w+\)s|%%|\{[^}]*\}")


def test_everything_that_there_is_to_say_is_translated() -> None:
    catalogue = polib.pofile(str(_CATALOGUE))
    assert not [entry.msgid for entry in catalogue if not entry.translated()]
    for entry in catalogue:
        for written in entry.msgstr_plural.values() if entry.msgid_plural else [entry.msgstr]:
            meant = _PLACEHOLDER.findall(entry.msgid_plural or entry.msgid)
            assert sorted(meant) == sorted(_PLACEHOLDER.findall(written)), entry.msgid


def test_the_catalogue_has_every_sentence_of_the_templates() -> None:
    known = {entry.msgid for entry in polib.pofile(str(_CATALOGUE))}
    folder = _ROOT / "templates"
    found = set()
    for path in [*folder.rglob("*.html"), *folder.rglob("*.txt")]:
        name = str(path.relative_to(folder))
        nodes = get_template(name).template.nodelist
        for node in nodes.get_nodes_by_type(TranslateNode):
            found.add((name, str(node.filter_expression.var.literal).replace("%", "%%")))
        for node in nodes.get_nodes_by_type(BlockTranslateNode):
            found.add((name, node.render_token_list(node.singular)[0]))
    assert len(found) > 400
    assert {(name, text) for name, text in found if text not in known} == set()


def test_the_catalogue_has_every_sentence_of_the_code() -> None:
    known = {entry.msgid for entry in polib.pofile(str(_CATALOGUE))}
    marks = {"_", "gettext", "gettext_lazy", "gettext_noop"}
    for path, call in calls():
        if name_of(call) not in marks:
            continue
        match call.args:
            case [ast.Constant(value=sentence)]:
                assert sentence in known, f"{path}:{call.lineno}: run makemessages"


def test_what_is_compiled_is_the_catalogue() -> None:
    written = polib.pofile(str(_CATALOGUE)).translated_entries()
    compiled = polib.mofile(str(_CATALOGUE.with_suffix(".mo")))
    assert {(one.msgctxt, one.msgid): (one.msgstr, one.msgstr_plural) for one in compiled} == {
        (one.msgctxt, one.msgid): (one.msgstr, one.msgstr_plural) for one in written
    }


def shapes(of: type[StrictSerializer] = StrictSerializer) -> Iterator[type[StrictSerializer]]:
    for shape in of.__subclasses__():
        yield shape
        yield from shapes(shape)


def test_the_frameworks_sentences_are_translated() -> None:
    """The framework's own catalogue is for ko_KR, which is not what Django asks for."""
    fields = [serializers.Serializer()]
    for shape in shapes():
        fields += shape().fields.values()
    fields += [field.child for field in fields if hasattr(field, "child")]
    with translation.override("ko"):
        for field in fields:
            messages = [*field.error_messages.values()]
            messages += [getattr(one, "message", "") for one in field.validators]
            for message in filter(None, map(str, messages)):
                assert _HANGUL.search(message), f"{type(field).__name__}: {message}"
        for kind in (
            exceptions.NotAuthenticated,
            exceptions.AuthenticationFailed,
            exceptions.MethodNotAllowed,
            exceptions.UnsupportedMediaType,
        ):
            assert _HANGUL.search(str(kind.default_detail))


def test_what_may_be_named_is_translated() -> None:
    assert set(_CHECKS) == set(PARTS)
    named = set()
    for _, call in calls():
        match name_of(call), call.args:
            case ("find_row", [_, _, ast.Constant(value=what)]) | (
                "not_found",
                [ast.Constant(value=what)],
            ):
                named.add(what)
    assert named <= set(THINGS)


# Where a refusal's words are an argument, and which.
_DETAIL = {
    "Refusal": 1,
    "FieldError": 1,
    "problem_response": 2,
    "refused": 0,
    "ValidationError": 0,
    "ParseError": 0,
    "AuthenticationFailed": 0,
    "EngineError": 0,
    "FailedLine": 1,
    "ForbiddenTarget": 0,
    "_Failure": 1,
}
# (file, function): why its words are not looked up there.
_ALLOWED = {
    ("synthesis/submission.py", "_refusal"): "joins two sentences that are translated",
    ("speakers/pages.py", "_refused"): "puts a field's name before a sentence that is translated",
    ("synthesis/engines/kokoro_graph.py", "_model_file"): "for the operator",
    ("synthesis/engines/kokoro_graph.py", "_with_durations_and_pitch"): "for the operator",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in _PACKAGES:
        for path in sorted(Path(_ROOT / package).rglob("*.py")):
            name = path.relative_to(_ROOT).as_posix()
            if "/migrations/" not in name and "/management/" not in name:
                yield name, ast.parse(path.read_text())


def calls() -> Iterator[tuple[str, ast.Call]]:
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield name, node


def name_of(call: ast.Call) -> str:
    return getattr(call.func, "attr", "") or getattr(call.func, "id", "")


def is_plain(words: ast.expr, scope: ast.AST) -> bool:
    """Whether an expression is English however it is looked at."""
    match words:
        case ast.Constant(value=str(text)):
            return " " in text
        case ast.JoinedStr():
            return True
        case ast.BinOp():
            return is_plain(words.left, scope)
        case ast.IfExp():
            return is_plain(words.body, scope) or is_plain(words.orelse, scope)
        case ast.Name():
            given = (
                node.value
                for node in ast.walk(scope)
                if isinstance(node, ast.Assign)
                and any(isinstance(to, ast.Name) and to.id == words.id for to in node.targets)
            )
            return any(is_plain(one, scope) for one in given if not isinstance(one, ast.Name))
    return False


def test_no_refusal_is_in_english_alone() -> None:
    plain, allowed = [], set()
    for name, tree in sources():
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            index = _DETAIL.get(name_of(call))
            words = next((one.value for one in call.keywords if one.arg == "detail"), None)
            if index is not None and words is None and len(call.args) > index:
                words = call.args[index]
            if index is None or words is None:
                continue
            around = [
                one for one in functions if one.lineno <= call.lineno <= (one.end_lineno or 0)
            ]
            scope: ast.AST = around[-1] if around else tree
            if is_plain(words, scope):
                where = name, around[-1].name if around else ""
                allowed.add(where)
                if where not in _ALLOWED:
                    plain.append(f"{name}:{call.lineno}")
    assert plain == []
    assert allowed == set(_ALLOWED), "take out what is no more"
