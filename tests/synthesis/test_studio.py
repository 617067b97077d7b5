"""Drafts: saved as they are written, priced, rendered, and refused in the one error format."""

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.core.files.uploadedfile import SimpleUploadedFile

from speakers import lookup
from speakers.models import Speaker
from synthesis.models import Draft, Job
from synthesis.studio import drafts
from synthesis.studio.drafts import blank_line, start_draft
from tests.conftest import Api, Browser


@pytest.fixture
def editor(alder: Api, make_member: Callable[..., Browser]) -> Browser:
    return make_member(alder, "developer")


@pytest.fixture
def draft(alder: Api, make_speaker: Callable[..., Speaker]) -> Draft:
    anna, ben = make_speaker(alder), make_speaker(alder, "Ben")
    lines = [
        blank_line("l1", anna.pk) | {"text": "Good morning."},
        blank_line("l2", ben.pk) | {"text": "Good evening."},
    ]
    return start_draft(alder.tenant, "Greetings", lines)


def content(draft: Draft, **changes: Any) -> dict[str, Any]:
    return {
        "version": draft.version,
        "title": draft.title,
        "lines": draft.lines,
        "output": draft.output,
        **changes,
    }


def test_saving_tells_what_it_will_cost_and_how_long_it_is(editor: Browser, draft: Draft) -> None:
    reply = editor.post(f"/studio/{draft.pk}/save", content(draft, title="Hello"))
    assert reply.status_code == 200
    shown = reply.json()
    assert shown["version"] == 2
    estimate = shown["estimate"]
    assert estimate["ready"] is True
    assert estimate["expected_ms"] <= estimate["longest_ms"]
    assert estimate["price"].startswith("$0.")
    assert estimate["lines"] == {}
    draft.refresh_from_db()
    assert draft.title == "Hello"


def test_an_older_window_is_told_and_changes_nothing(editor: Browser, draft: Draft) -> None:
    assert editor.post(f"/studio/{draft.pk}/save", content(draft)).status_code == 200
    late = editor.post(f"/studio/{draft.pk}/save", content(draft, title="Late"))
    assert late.status_code == 409
    assert late.json()["code"] == "validation_error"
    assert "changed elsewhere" in late.json()["detail"]
    draft.refresh_from_db()
    assert draft.title == "Greetings"


def test_what_keeps_a_draft_from_being_rendered_is_said_by_line(
    editor: Browser, draft: Draft, alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    waiting = make_speaker(alder, "Carla", status=Speaker.Status.PROCESSING)
    lines = [*draft.lines, blank_line("l3", waiting.pk) | {"text": "Me too."}, blank_line("l4")]
    estimate = editor.post(f"/studio/{draft.pk}/save", content(draft, lines=lines)).json()[
        "estimate"
    ]
    assert (estimate["ready"], estimate["waits"]) == (False, True)
    assert list(estimate["lines"]) == ["l3"]
    assert "Carla is still being analysed" in estimate["lines"]["l3"]
    Speaker.objects.filter(pk=waiting.pk).update(status=Speaker.Status.READY)
    assert editor.get(f"/studio/{draft.pk}/estimate").json()["ready"] is True


def test_a_draft_without_voices_or_words_can_be_kept(editor: Browser, draft: Draft) -> None:
    for lines in ([], [blank_line("l1")], [blank_line("l1") | {"text": "Who says this?"}]):
        draft.refresh_from_db()
        reply = editor.post(f"/studio/{draft.pk}/save", content(draft, lines=lines))
        assert reply.status_code == 200
        assert reply.json()["estimate"]["ready"] is False
        assert reply.json()["estimate"]["detail"]


@pytest.mark.parametrize(
    ("sent", "status", "pointer"),
    [
        (b"{", 400, None),
        (b"[]", 422, ""),
        (b'{"version": 1}', 422, "/title"),
        (
            b'{"version": 1, "title": "x", "lines": [{"id": "l1"}], "output": {}}',
            422,
            "/lines/0/speaker_id",
        ),
    ],
)
def test_what_is_no_draft_is_a_problem_that_says_where(
    editor: Browser, draft: Draft, sent: bytes, status: int, pointer: str | None
) -> None:
    reply = editor.client.post(f"/studio/{draft.pk}/save", sent, content_type="application/json")
    assert reply.status_code == status
    assert reply["Content-Type"] == "application/problem+json"
    if pointer is not None:
        assert pointer in [error["pointer"] for error in reply.json()["errors"]]


def test_rendering_makes_a_job_of_the_lines_that_say_something(
    editor: Browser, draft: Draft, render: Callable[[str], None]
) -> None:
    draft.lines.insert(1, blank_line("l9"))
    draft.save()
    reply = editor.client.post(f"/studio/{draft.pk}/render")
    assert reply.status_code == 200
    job = Job.objects.get()
    assert job.title == "Greetings"
    assert list(job.lines.values_list("line_id", flat=True)) == ["l1", "l2"]
    assert b"0 of 2 lines are spoken" in reply.content
    assert b"hx-get" in reply.content
    render(job.pk)
    done = editor.get(f"/studio/{draft.pk}/jobs/{job.pk}").content.decode()
    assert f'data-player="/jobs/{job.pk}/player"' in done
    assert "hx-get" not in done
    draft.refresh_from_db()
    assert draft.last_job_id == job.pk


def test_one_line_is_heard_by_itself(editor: Browser, draft: Draft) -> None:
    reply = editor.send(f"/studio/{draft.pk}/render", line="l2")
    assert reply.status_code == 200
    [line] = Job.objects.get().lines.all()
    assert line.text == "Good evening."
    draft.refresh_from_db()
    assert draft.last_job_id == ""
    assert editor.send(f"/studio/{draft.pk}/render", line="l77").status_code == 422


def test_a_draft_that_cannot_be_rendered_makes_no_job(
    editor: Browser, draft: Draft, alder: Api
) -> None:
    alder.patch("/v1/billing", {"cap_minor": 0})
    reply = editor.client.post(f"/studio/{draft.pk}/render")
    assert reply.status_code == 402
    assert b"Your limit for a month is $0.00" in reply.content
    assert not Job.objects.exists()


def test_a_file_is_imported_and_names_find_their_speakers(
    editor: Browser, alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    anna = make_speaker(alder)
    file = SimpleUploadedFile(
        "Morning show.srt",
        b"1\n00:00:00,0 --> 00:00:01,0\nANNA: Hi.\n\n2\n00:00:01,0 --> 00:00:02,0\nBen: Hello.\n",
    )
    reply = editor.client.post("/studio/new", {"from": "import", "file": file})
    assert reply.status_code == 302
    made = Draft.objects.get()
    assert made.title == "Morning show"
    assert [(line["speaker_id"], line["name"]) for line in made.lines] == [
        (anna.pk, "ANNA"),
        ("", "Ben"),
    ]


@pytest.mark.parametrize("file", [b"\x89PNG\0\0", b""])
def test_what_cannot_be_imported_is_refused_with_what_to_do(editor: Browser, file: bytes) -> None:
    sent = {"from": "import", "file": SimpleUploadedFile("x.txt", file)}
    reply = editor.client.post("/studio/new", sent)
    assert reply.status_code == 422
    assert not Draft.objects.exists()


def test_there_is_an_end_to_drafts(
    editor: Browser, draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "MOST_DRAFTS", 1)
    refused = editor.client.post("/studio/new")
    assert refused.status_code == 409
    assert b"You have 1 drafts. Delete one first." in refused.content
    assert editor.client.post(f"/studio/{draft.pk}/delete").status_code == 302
    assert editor.client.post("/studio/new").status_code == 302


def test_a_viewer_reads_and_writes_nothing(
    alder: Api, draft: Draft, make_member: Callable[..., Browser]
) -> None:
    viewer = make_member(alder, "viewer")
    page = viewer.get(f"/studio/{draft.pk}").content.decode()
    assert "Good morning." in page
    assert 'id="render"' not in page
    assert viewer.post(f"/studio/{draft.pk}/save", content(draft)).status_code == 403


def test_the_player_has_every_word_in_time(
    editor: Browser, draft: Draft, render: Callable[[str], None]
) -> None:
    editor.client.post(f"/studio/{draft.pk}/render")
    job = Job.objects.get()
    assert editor.get(f"/jobs/{job.pk}/player").status_code == 404
    render(job.pk)
    data = editor.get(f"/jobs/{job.pk}/player").json()
    captions = json.loads(editor.client.get(f"/jobs/{job.pk}/files/json", follow=True).getvalue())
    assert data["duration_ms"] == captions["duration_ms"]
    words = [word[:3] for line in data["lines"] for word in line[5]]
    assert words == [
        [word["text"], word["start_ms"], word["end_ms"]]
        for cue in captions["cues"]
        for word in cue["words"]
    ]
    assert [line[1] for line in data["lines"]] == ["Anna", "Ben"]
    assert [asked[1] for asked in data["asked"]] == ["Good morning.", "Good evening."]
    assert max(data["outline"]) > 100
    # Silence where the pause between the lines is.
    end, start = data["lines"][0][4], data["lines"][1][3]
    middle = (end + start) / 2 / data["duration_ms"]
    assert data["outline"][round(middle * len(data["outline"]))] == 0


def test_a_page_plays_any_part_of_the_audio(
    editor: Browser, draft: Draft, render: Callable[[str], None]
) -> None:
    editor.client.post(f"/studio/{draft.pk}/render")
    job = Job.objects.get()
    render(job.pk)
    whole = editor.client.get(f"/jobs/{job.pk}/audio")
    assert whole["Content-Type"] == "audio/mpeg"
    audio = b"".join(whole.streaming_content)
    part = editor.client.get(f"/jobs/{job.pk}/audio", headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert b"".join(part.streaming_content) == audio[100:200]


def test_drafts_are_turned_by_pages_and_found_by_title(editor: Browser, alder: Api) -> None:
    for number in range(61):
        start_draft(alder.tenant, f"Episode {number}", [])
    first = editor.get("/studio").content.decode()
    assert first.count('<li class="card"') == 60
    assert "page=2" in first
    second = editor.get("/studio?page=2").content.decode()
    assert "Episode 0<" in second
    assert second.count('<li class="card"') == 1
    found = editor.get("/studio?q=episode+17").content.decode()
    assert found.count('<li class="card"') == 1
    assert editor.get("/studio?page=-1&q=%00").status_code == 200


def test_a_save_whose_answer_was_lost_is_saved(editor: Browser, draft: Draft) -> None:
    sent = content(draft, title="Once")
    first, again = (editor.post(f"/studio/{draft.pk}/save", sent) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["version"] == again.json()["version"] == 2
    assert editor.post(f"/studio/{draft.pk}/save", {**sent, "title": "Other"}).status_code == 409


def test_what_is_being_spoken_is_not_spoken_beside_itself(
    editor: Browser, draft: Draft, render: Callable[[str], None]
) -> None:
    for _ in range(5):
        assert editor.client.post(f"/studio/{draft.pk}/render").status_code == 200
    job = Job.objects.get()
    editor.send(f"/studio/{draft.pk}/render", line="l2")
    editor.send(f"/studio/{draft.pk}/render", line="l2")
    assert Job.objects.count() == 2
    render(job.pk)
    # Once it is done, whoever asks for it again gets it again.
    assert editor.client.post(f"/studio/{draft.pk}/render").status_code == 200
    assert Job.objects.count() == 3


def test_voices_that_a_draft_has_stay_however_many_others_there_are(
    editor: Browser, draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_OFFERED", 1)
    page = editor.get(f"/studio/{draft.pk}").content.decode()
    for line in draft.lines:
        assert f'<option value="{line["speaker_id"]}" selected>' in page


def test_numbers_beyond_all_are_refused(editor: Browser, draft: Draft) -> None:
    late = editor.post(f"/studio/{draft.pk}/save", content(draft, version=2**63 - 1))
    assert late.status_code == 422
    assert editor.send("/billing/change", do="cap", cap="inf").status_code in {403, 422}
    assert editor.send("/privacy/retention", days="9" * 5_000).status_code in {403, 422}


def test_a_session_that_ended_takes_nothing_away(editor: Browser, draft: Draft) -> None:
    editor.client.logout()
    polled = editor.client.get(f"/studio/{draft.pk}", headers={"HX-Request": "true"})
    assert polled.status_code == 401
    assert "HX-Refresh" not in polled


def test_a_copy_of_a_job_asks_for_what_the_job_asked_for(
    editor: Browser, alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    speaker = make_speaker(alder)
    asked = {
        "title": "As it was",
        "script": [
            {
                "id": "one",
                "speaker_id": speaker.pk,
                "text": "Bonjour.",
                "language": "fr",
                "speed": 1.25,
                "pause_after_ms": 700,
            }
        ],
        "output": {"format": "wav", "sample_rate": 22_050, "bit_depth": 24},
    }
    job = alder.post("/v1/synthesize", asked).json()["id"]
    editor.send(f"/jobs/{job}/change", do="draft")
    copy = Draft.objects.get()
    assert drafts.request_of(copy) == asked
    page = editor.get(f"/studio/{copy.pk}").content.decode()
    assert '<option value="22050" selected>' in page
    assert 'data-depth="24"' in page
    sent = content(copy, output=copy.output, lines=copy.lines)
    assert editor.post(f"/studio/{copy.pk}/save", sent).json()["estimate"]["ready"] is True


def test_a_copy_leaves_unsaid_what_follows_from_its_speaker(
    editor: Browser, alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    speaker = make_speaker(alder)
    alder.patch(f"/v1/speakers/{speaker.pk}", {"default_speed": 1.2})
    script = [
        {"id": "one", "speaker_id": speaker.pk, "text": "Good morning."},
        {"id": "two", "speaker_id": speaker.pk, "text": "Good evening.", "speed": 1.0},
    ]
    job = alder.post("/v1/synthesize", {"script": script}).json()["id"]
    editor.send(f"/jobs/{job}/change", do="draft")
    copy = Draft.objects.get()
    assert drafts.request_of(copy)["script"] == script
    assert [line["language"] for line in copy.lines] == ["", ""]
    # The same is shown as a request, and by the player, which says what was asked for.
    page = editor.get(f"/jobs/{job}").content.decode()
    assert "&quot;speed&quot;: 1.0" in page
    assert "&quot;speed&quot;: 1.2" not in page


def test_a_line_is_heard_whatever_is_wrong_with_another(
    editor: Browser, draft: Draft, make_speaker: Callable[..., Speaker], alder: Api
) -> None:
    draft.lines[1]["speaker_id"] = ""
    draft.save()
    heard = editor.send(f"/studio/{draft.pk}/render", line="l1")
    assert heard.status_code == 200
    assert Job.objects.get().lines.get().line_id == "l1"
    refused = editor.send(f"/studio/{draft.pk}/render", line="l2")
    assert refused.status_code == 422
    draft.lines[1]["text"] = " "
    draft.save()
    assert (
        "This line has no text yet"
        in editor.send(f"/studio/{draft.pk}/render", line="l2").content.decode()
    )


def test_a_speed_that_nobody_said_is_unsaid_in_older_drafts_too(draft: Draft) -> None:
    draft.lines[0]["speed"], draft.lines[1]["speed"] = 1.0, 1.2
    draft.save()
    import_module("synthesis.migrations.0017_speed_as_its_speaker").unsay(apps, None)
    draft.refresh_from_db()
    assert [line["speed"] for line in draft.lines] == [None, 1.2]
