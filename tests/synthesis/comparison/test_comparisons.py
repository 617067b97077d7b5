"""A blind comparison from making it to choosing the winner; nothing tells listeners which is which."""

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile
from django.test import Client

from speakers.models import Speaker
from synthesis.audio import loudness
from synthesis.comparison import comparisons
from synthesis.comparison.clips import matched
from synthesis.comparison.comparisons import (
    course_of,
    get_comparison,
    jobs_of,
    link_token,
    standing_of,
    vote,
    welcome,
)
from synthesis.models import Comparison, Job, Listener, Vote
from tests.conftest import Api, Browser

TEXTS = ["Good morning, and welcome.", "It is seven o'clock.", "Here is the news."]


@pytest.fixture
def voices(alder: Api, make_speaker: Callable[..., Speaker]) -> tuple[Speaker, Speaker]:
    loud = make_speaker(alder, "Anna", voice_data={"pitch_hz": 220, "level": 0.6})
    soft = make_speaker(alder, "Ben", voice_data={"pitch_hz": 330, "level": 0.05})
    return loud, soft


@pytest.fixture
def compared(
    alder: Api, voices: tuple[Speaker, Speaker], render: Callable[[str], None]
) -> Comparison:
    """A comparison of two voices, open for votes."""
    body = {
        "title": "Which one?",
        "texts": TEXTS,
        "variants": [{"speaker_id": voices[0].pk}, {"speaker_id": voices[1].pk, "speed": 1.25}],
    }
    made = alder.post("/v1/comparisons", body)
    assert made.status_code == 201, made.json()
    assert made.json()["status"] == "preparing"
    comparison = Comparison.objects.get()
    for job in jobs_of(comparison).values():
        render(job.pk)
    return get_comparison(alder.tenant, comparison.pk)


def listen(comparison: Comparison) -> tuple[Client, str]:
    """A listener's browser that has begun, and the address of their page."""
    path = f"/listen/{link_token(comparison)}"
    client = Client()
    assert client.post(path).status_code == 302
    return client, path


def test_a_comparison_opens_once_everything_is_spoken(alder: Api, compared: Comparison) -> None:
    shown = alder.get(f"/v1/comparisons/{compared.pk}").json()
    assert shown["status"] == "open"
    assert [one["label"] for one in shown["variants"]] == ["Anna", "Ben ×1.25"]
    assert (shown["votes"], shown["leader"], shown["is_decided"]) == (0, None, False)
    assert shown["listen_url"].startswith("http://testserver/listen/")
    [listed] = alder.get("/v1/comparisons").json()["data"]
    assert listed == shown
    assert set(Job.objects.values_list("retention_hours", flat=True)) == {None}


def test_nothing_tells_a_listener_which_is_which(
    compared: Comparison, voices: tuple[Speaker, Speaker]
) -> None:
    client, path = listen(compared)
    for number in range(1, len(TEXTS) + 1):
        page = client.get(path)
        text = page.content.decode()
        for secret in ("Anna", "Ben", "1.25", *(one.pk for one in voices), compared.pk):
            assert secret not in text.replace(link_token(compared), "")
        for job in jobs_of(compared).values():
            assert job.pk not in text
        replies = [client.get(f"{path}/{number}/{side}") for side in "12"]
        files = [reply.getvalue() for reply in replies]
        assert len(files[0]) == len(files[1])
        headers = [dict(reply.items()) for reply in replies]
        for header in headers:
            header.pop("X-Request-ID", None)
            header.pop("ETag")  # of the address, and of nothing that is behind it
            header.pop("Expires")  # now, and a second may begin between the two
        assert headers[0] == headers[1]
        sounds = [soundfile.read(io.BytesIO(file), dtype="float32") for file in files]
        assert [rate for _sound, rate in sounds] == [24_000, 24_000]
        louds = [loudness(sound, rate) for sound, rate in sounds]
        assert abs(louds[0] - louds[1]) < 0.2
        client.post(path, {"number": number, "choice": "same"})
    assert "Thank you" in client.get(path).content.decode()


def test_only_the_pair_at_hand_can_be_heard(compared: Comparison) -> None:
    client, path = listen(compared)
    assert client.get(f"{path}/1/1").status_code == 200
    for other in ("2/1", "0/1", "1/3", "1/first", "x/1", "99999999999/1"):
        assert client.get(f"{path}/{other}").status_code == 404
    assert Client().get(f"{path}/1/1").status_code == 404  # who has not begun
    assert client.get("/listen/nonsense").status_code == 404


def test_nobody_votes_twice_on_a_pair(compared: Comparison) -> None:
    client, path = listen(compared)
    for _ in range(3):
        assert client.post(path, {"number": "1", "choice": "first"}).status_code == 302
    assert Vote.objects.count() == 1
    assert client.post(path, {"number": "3", "choice": "first"}).status_code == 302
    assert Vote.objects.count() == 1
    assert client.post(path, {"number": "2", "choice": "third"}).status_code == 422
    # A listener of another comparison's is nobody here.
    client.cookies[f"listener_{compared.pk}"] = Listener.objects.get().pk
    assert client.get(f"{path}/2/1").status_code == 404


def votes(comparison: Comparison, prefers: Callable[[int, int], int], listeners: int) -> None:
    """Have listeners vote. prefers: the position of the variant they like better of two."""
    for _ in range(listeners):
        listener = welcome(comparison)
        for index, pair in enumerate(course_of(comparison, listener).pairs):
            liked = prefers(pair.first, pair.second)
            choice = "first" if liked == pair.first else "second"
            assert vote(comparison, listener, index, choice)


def test_the_outcome_is_what_was_preferred_whichever_came_first(
    alder: Api, compared: Comparison
) -> None:
    votes(compared, lambda first, second: 1, listeners=6)
    firsts = set(Vote.objects.values_list("first", flat=True))
    assert firsts == {0, 1}  # in both orders
    outcome = standing_of(compared).outcome
    assert (outcome.votes, outcome.listeners, outcome.leader) == (18, 6, 1)
    assert outcome.is_decided
    shown = alder.get(f"/v1/comparisons/{compared.pk}").json()
    assert shown["pairs"][0]["verdict"] == "second"
    assert [one["share"] for one in shown["variants"]] == [0.0, 1.0]


def test_the_winner_becomes_the_speakers_default(
    alder: Api,
    compared: Comparison,
    voices: tuple[Speaker, Speaker],
    render: Callable[[str], None],
) -> None:
    anna, ben = voices
    reply = alder.post(f"/v1/comparisons/{compared.pk}/winner", {"position": 1})
    assert reply.status_code == 200
    assert (reply.json()["id"], reply.json()["default_speed"]) == (anna.pk, 1.25)
    assert reply.json()["speaks_as"] == ben.pk
    assert alder.get(f"/v1/comparisons/{compared.pk}").json()["winner"] == 1

    def spoken(**line: Any) -> Job:
        script = [{"speaker_id": anna.pk, "text": "Good morning.", **line}]
        job = alder.post("/v1/synthesize", {"script": script}).json()
        render(job["id"])
        return Job.objects.get(pk=job["id"])

    assert spoken().lines.get().speed == 1.25
    assert spoken(speed=1.0).lines.get().speed == 1.0
    assert spoken().audio_ms < spoken(speed=1.0).audio_ms
    assert {line.voice_id for line in spoken().lines.all()} == {ben.pk}
    # Chosen back, it has its own voice again, which nobody has written over.
    reply = alder.post(f"/v1/comparisons/{compared.pk}/winner", {"position": 0})
    assert (reply.json()["speaks_as"], reply.json()["default_speed"]) == (None, 1.0)
    assert {line.voice_id for line in spoken().lines.all()} == {None}


def test_no_clip_is_left_of_a_job_that_was_deleted(
    alder: Api, compared: Comparison, voices: tuple[Speaker, Speaker]
) -> None:
    client, path = listen(compared)
    assert client.get(f"{path}/1/1", headers={"Range": "bytes=0-43"}).status_code == 206
    assert client.get(f"{path}/1/1", headers={"Range": "bytes=99999999-"}).status_code == 416
    assert alder.delete(f"/v1/jobs/{jobs_of(compared)[1].pk}").status_code == 204
    assert client.get(f"{path}/1/1").status_code == 404
    assert "takes no votes" in client.post(path, {"number": "1", "choice": "same"}).content.decode()
    [listed] = alder.get("/v1/comparisons").json()["data"]
    assert listed["status"] == "failed"


def test_a_failed_variant_that_is_retried_opens_the_comparison(
    alder: Api, compared: Comparison
) -> None:
    jobs = Job.objects.filter(pk=jobs_of(compared)[0].pk)
    jobs.update(status="failed")
    assert get_comparison(alder.tenant, compared.pk).status == "failed"
    jobs.update(status="queued")
    assert get_comparison(alder.tenant, compared.pk).status == "preparing"
    jobs.update(status="succeeded")
    assert get_comparison(alder.tenant, compared.pk).status == "open"


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({"variants": []}, "/variants", "at least 2"),
        ({"texts": []}, "/texts", "at least 1"),
        ({"variants": [{}, {}]}, "/variants/0/speaker_id", "required"),
        ({"title": ""}, "/title", "blank"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    alder: Api, voices: tuple[Speaker, Speaker], body: dict[str, Any], pointer: str, says: str
) -> None:
    whole = {
        "title": "Which?",
        "texts": TEXTS,
        "variants": [{"speaker_id": one.pk} for one in voices],
    }
    reply = alder.post("/v1/comparisons", whole | body)
    assert reply.status_code == 422
    [error] = [one for one in reply.json()["errors"] if one["pointer"] == pointer]
    assert says in error["detail"]
    assert not Job.objects.exists()


def test_all_is_rendered_or_nothing(
    alder: Api, voices: tuple[Speaker, Speaker], make_speaker: Callable[..., Speaker]
) -> None:
    waiting = make_speaker(alder, "Carla", status=Speaker.Status.PROCESSING)
    body = {
        "title": "Which?",
        "texts": TEXTS,
        "variants": [{"speaker_id": voices[0].pk}, {"speaker_id": waiting.pk}],
    }
    reply = alder.post("/v1/comparisons", body)
    assert reply.status_code == 422
    assert reply.json()["code"] == "speaker_not_ready"
    assert reply.json()["errors"][0]["pointer"] == "/variants/1/speaker_id"
    assert not Job.objects.exists()
    assert not Comparison.objects.exists()
    body["variants"] = [{"speaker_id": voices[0].pk}] * 2
    same = alder.post("/v1/comparisons", body)
    assert same.json()["errors"][0]["pointer"] == "/variants/1"


def test_closed_it_takes_no_votes_and_deleted_it_leaves_nothing(
    alder: Api, compared: Comparison
) -> None:
    client, path = listen(compared)
    closed = alder.post(f"/v1/comparisons/{compared.pk}/close")
    assert closed.json()["status"] == "closed"
    assert client.post(path, {"number": "1", "choice": "first"}).status_code == 409
    assert "takes no more votes" in client.get(path).content.decode()
    assert client.get(f"{path}/1/1").status_code == 404
    assert alder.delete(f"/v1/comparisons/{compared.pk}").status_code == 204
    for model in (Comparison, Listener, Vote, Job):
        assert not model.objects.exists()
    assert client.get(path).status_code == 404


def test_there_is_an_end_to_listeners(
    compared: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "MOST_LISTENERS", 1)
    listen(compared)
    refused = Client().post(f"/listen/{link_token(compared)}")
    assert refused.status_code == 409
    assert b"has had enough listeners" in refused.content


def test_a_peaky_voice_makes_all_softer_and_none_louder() -> None:
    rate = 24_000
    rng = np.random.default_rng(1)
    even = (0.2 * rng.standard_normal(rate)).astype(np.float32)
    peaky = (0.01 * rng.standard_normal(rate // 2)).astype(np.float32)
    peaky[::3_000] = 0.9
    files = matched({0: even, 1: peaky}, rate)
    sounds = [soundfile.read(io.BytesIO(files[n]), dtype="float32")[0] for n in (0, 1)]
    assert len(files[0]) == len(files[1])
    assert max(float(np.max(np.abs(sound))) for sound in sounds) <= 0.9
    assert abs(loudness(sounds[0], rate) - loudness(sounds[1], rate)) < 0.5


def test_members_make_and_read_a_comparison_by_pages(
    alder: Api,
    voices: tuple[Speaker, Speaker],
    make_member: Callable[..., Browser],
    render: Callable[[str], None],
) -> None:
    editor = make_member(alder, "developer")
    form = {
        "title": "Which?",
        "texts": "One.\n\nTwo.",
        "speaker-1": voices[0].pk,
        "speaker-2": voices[1].pk,
        "speed-2": "fast",
    }
    refused = editor.send("/comparisons/create", **form)
    assert refused.status_code == 422
    assert b'value="fast"' in refused.content
    made = editor.send("/comparisons/create", **{**form, "speed-2": "1.1"})
    assert made.status_code == 302
    comparison = Comparison.objects.get()
    assert comparison.texts == ["One.", "Two."]
    path = f"/comparisons/{comparison.pk}"
    assert b"Which? (1)" in editor.get(path).content
    for job in jobs_of(comparison).values():
        render(job.pk)
    page = editor.get(path).content.decode()
    link = re.search(r"http://testserver(/listen/[^<]+)", page)
    assert link
    assert Client().get(link[1]).status_code == 200
    comparison.refresh_from_db()
    votes(comparison, lambda first, second: 0, listeners=5)
    state = editor.get(f"{path}/state?was=open")
    assert "Anna is preferred. You can stop." in state.content.decode()
    assert "HX-Refresh" not in state
    chosen = editor.send(f"{path}/winner", position="1", speaker=voices[0].pk)
    assert chosen.status_code == 302
    assert editor.send(f"{path}/winner", position="x", speaker=voices[0].pk).status_code == 422
    assert editor.send(f"{path}/winner", position="1", speaker="\0").status_code == 422
    anna = f"/speakers/{voices[0].pk}"
    assert "speaks with the voice of Ben" in editor.get(anna).content.decode()
    assert editor.send(f"{anna}/change", do="own-voice").status_code == 302
    assert "speaks with the voice of Ben" not in editor.get(anna).content.decode()
    assert editor.send(f"{path}/change", do="delete")["Location"] == "/comparisons"
