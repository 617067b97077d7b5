"""Drafts: scripts that are being written, and what becomes of them when they are rendered."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import serializers

from accounts.callers import Caller
from accounts.idempotency import fingerprint_of
from accounts.lookup import find_row
from accounts.models import Tenant
from speakers.models import Speaker
from speakers.serializers import LANGUAGE
from synthesis.formats import BIT_DEPTHS, FORMATS
from synthesis.models import ACTIVE, Draft, Job, Line
from synthesis.serializers import LONGEST_LINE, MOST_LINES, SynthesizeRequest
from synthesis.studio.imports import LONGEST_NAME, ImportedLine
from synthesis.submission import submit_job
from synthesis.words import language_of
from voicereel_site.errors import Refusal
from voicereel_site.shapes import EncodableText, NameText, StrictSerializer, speed_field

MOST_DRAFTS = 1_000
DEFAULT_OUTPUT = {"format": "mp3", "sample_rate": 44_100}
# All that the formats have between them; what does not go together is said when it is saved.
SAMPLE_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


class DraftLine(StrictSerializer):
    """A line as it is being written: nothing of it needs to be there yet."""

    id = EncodableText(max_length=64)
    speaker_id = serializers.CharField(max_length=40, allow_blank=True)
    name = EncodableText(max_length=LONGEST_NAME, allow_blank=True, required=False, default="")
    text = EncodableText(max_length=LONGEST_LINE, allow_blank=True, trim_whitespace=False)
    # None: as its speaker does (Speaker.default_speed).
    speed = speed_field(allow_null=True, default=None)
    pause_after_ms = serializers.IntegerField(
        min_value=0, max_value=10_000, required=False, allow_null=True, default=None
    )
    # As an edited copy of a job has it; the editor keeps it and shows none.
    language = serializers.RegexField(LANGUAGE, required=False, allow_blank=True, default="")


class _Output(StrictSerializer):
    format = serializers.ChoiceField(list(FORMATS))
    sample_rate = serializers.ChoiceField(SAMPLE_RATES)
    bitrate_kbps = serializers.IntegerField(min_value=6, max_value=320, required=False)
    bit_depth = serializers.ChoiceField(BIT_DEPTHS, required=False)


class SaveDraftRequest(StrictSerializer):
    """What the editor sends. version: which the editor has seen."""

    version = serializers.IntegerField(min_value=1, max_value=2**31 - 2)
    title = NameText(max_length=200, allow_blank=True)
    lines = serializers.ListSerializer(child=DraftLine(), allow_empty=True, max_length=MOST_LINES)
    output = _Output()


def blank_line(line_id: str, speaker_id: str = "") -> dict[str, Any]:
    """A line that nothing was written in yet."""
    return {
        "id": line_id,
        "speaker_id": speaker_id,
        "name": "",
        "text": "",
        "speed": None,
        "pause_after_ms": None,
        "language": "",
    }


def list_drafts(tenant: Tenant) -> Any:
    """A tenant's drafts, the last changed first."""
    return Draft.objects.for_tenant(tenant).order_by("-updated_at", "-pk")


def get_draft(tenant: Tenant, draft_id: str) -> Draft:
    """This tenant's draft. Raises not_found."""
    found: Draft = find_row(Draft.objects.for_tenant(tenant), draft_id, "draft")
    return found


def start_draft(
    tenant: Tenant,
    title: str,
    lines: Sequence[Mapping[str, Any]],
    output: Mapping[str, Any] = DEFAULT_OUTPUT,
) -> Draft:
    """Begin a draft. Raises validation_error (409) if a tenant has too many."""
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        if Draft.objects.for_tenant(tenant).count() >= MOST_DRAFTS:
            detail = _("You have %(most)s drafts. Delete one first.") % {"most": f"{MOST_DRAFTS:,}"}
            raise Refusal("validation_error", detail, 409)
        draft: Draft = Draft.objects.create(
            tenant=tenant, title=title, lines=list(lines), output=dict(output)
        )
    return draft


def lines_of_import(tenant: Tenant, imported: Sequence[ImportedLine]) -> list[dict[str, Any]]:
    """Imported lines as a draft has them: with the speakers whose names are the script's."""
    by_name: dict[str, str] = {}
    rows = Speaker.objects.for_tenant(tenant).present().exclude(status=Speaker.Status.FAILED)
    for pk, name in rows.order_by("pk").values_list("pk", "name"):
        by_name[name.casefold()] = pk  # of several with one name, the youngest
    return [
        {
            **blank_line(f"l{index + 1}", by_name.get(line.name.casefold(), "")),
            "name": line.name[:LONGEST_NAME],
            "text": line.text,
            "pause_after_ms": line.pause_after_ms,
        }
        for index, line in enumerate(imported)
    ]


def lines_of_job(job: Job) -> list[dict[str, Any]]:
    """A job's lines, to be written on from. What follows from the speaker and the text is left unsaid, so
    that it follows from another speaker or text too.
    """
    rows = Line.objects.for_tenant(job.tenant_id).filter(job=job).with_names()
    return [
        blank_line(line.line_id, line.speaker_id)
        | {
            "text": line.text,
            "speed": None if line.speed == line.speaker.default_speed else line.speed,
            "pause_after_ms": line.pause_after_ms,
            "language": ""
            if line.language == language_of(line.text, line.speaker.language)
            else line.language,
        }
        for line in rows
    ]


def output_of_job(job: Job) -> dict[str, Any]:
    """A job's output, as far as it was chosen for its format."""
    return {name: value for name, value in job.output.items() if value is not None}


def save_draft(draft: Draft, asked: Mapping[str, Any]) -> Draft:
    """Keep what the editor has, if nobody has changed the draft since it was loaded.

    asked: what SaveDraftRequest validated. Raises validation_error (409) otherwise.
    """
    rows = Draft.objects.for_tenant(draft.tenant_id).filter(pk=draft.pk, version=asked["version"])
    saved = rows.update(
        title=asked["title"],
        lines=list(asked["lines"]),
        output=dict(asked["output"]),
        version=asked["version"] + 1,
        updated_at=timezone.now(),
    )
    if not saved and _is_kept(draft, asked):
        return draft  # the answer to the first time was lost on its way
    if not saved:
        detail = _(
            "This draft was changed elsewhere since you opened it, in another window or by a "
            "colleague. Load the page again to see it; copy what you wrote first."
        )
        raise Refusal("validation_error", detail, 409)
    draft.refresh_from_db()
    return draft


def _is_kept(draft: Draft, asked: Mapping[str, Any]) -> bool:
    """Whether what is asked to be saved is what is there."""
    draft.refresh_from_db()
    return (
        draft.title == asked["title"]
        and draft.lines == [dict(line) for line in asked["lines"]]
        and draft.output == dict(asked["output"])
    )


def request_of(draft: Draft, line_id: str | None = None) -> dict[str, Any]:
    """The body of POST /v1/synthesize that a draft stands for: its lines that say something, or the one."""
    script = []
    for line in draft.lines:
        if not line["text"].strip() or line_id not in (None, line["id"]):
            continue
        entry = {
            "id": line["id"],
            "speaker_id": line["speaker_id"],
            "text": line["text"].strip(),
        }
        if line["speed"] is not None:
            entry["speed"] = line["speed"]
        if line.get("language"):
            entry["language"] = line["language"]
        if line.get("pause_after_ms") is not None:
            entry["pause_after_ms"] = line["pause_after_ms"]
        script.append(entry)
    return {"title": draft.title, "script": script, "output": dict(draft.output)}


def checked_request(draft: Draft, line_id: str | None = None) -> dict[str, Any]:
    """As request_of, as the API would take it. Raises DRF's ValidationError, or validation_error if
    nothing is said.
    """
    body = request_of(draft, line_id)
    if not body["script"] and line_id is not None:
        raise Refusal("validation_error", _("This line has no text yet. Write it first."))
    if not body["script"]:
        raise Refusal("validation_error", _("There is nothing to say yet. Write a line first."))
    asked = SynthesizeRequest(data=body)
    asked.is_valid(raise_exception=True)
    checked: dict[str, Any] = asked.validated_data
    return checked


def render_draft(caller: Caller, draft: Draft, line_id: str | None = None) -> Job:
    """Have a draft spoken: all of it, or one line of it alone, to hear it. Raises as submit_job.

    What is being spoken just now is not spoken again beside it: its job is the answer.
    """
    checked = checked_request(draft, line_id)
    fingerprint = fingerprint_of(checked)
    with transaction.atomic():
        # One render of a draft at a time, however often a key is pressed.
        Draft.objects.for_tenant(draft.tenant_id).select_for_update(no_key=True).get(pk=draft.pk)
        running = Job.objects.for_tenant(draft.tenant_id).filter(
            status__in=ACTIVE, metadata__draft=draft.pk, metadata__script=fingerprint
        )
        if (job := running.first()) is not None:
            job.tenant = draft.tenant
            return job
        job = submit_job(
            caller, {**checked, "metadata": {"draft": draft.pk, "script": fingerprint}}
        )
        if line_id is None:
            Draft.objects.for_tenant(draft.tenant_id).filter(pk=draft.pk).update(last_job_id=job.pk)
            draft.last_job_id = job.pk
    return job


def delete_draft(draft: Draft) -> None:
    """Forget a draft. What was rendered of it stays."""
    Draft.objects.for_tenant(draft.tenant_id).filter(pk=draft.pk).delete()
