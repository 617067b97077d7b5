"""The studio: drafts, the editor, and what it asks for while somebody writes."""

import json
from typing import Any

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError

from accounts.models import Tenant
from accounts.people.pages import page
from accounts.scopes import Scope, holds
from billing.money import shown
from speakers.lookup import get_speaker, offered_speakers
from speakers.models import Speaker
from synthesis.formats import FORMATS
from synthesis.models import Draft, Job
from synthesis.pages import state_of
from synthesis.request_examples import examples_of
from synthesis.serializers import SynthesizeRequest
from synthesis.studio.drafts import (
    SAMPLE_RATES,
    SaveDraftRequest,
    blank_line,
    checked_request,
    delete_draft,
    get_draft,
    lines_of_import,
    list_drafts,
    render_draft,
    request_of,
    save_draft,
    start_draft,
)
from synthesis.studio.imports import decoded, read_script
from synthesis.studio.samples import add_sample_voices, sample_script
from synthesis.submission import get_job, preview_job, submit_job
from voicereel_site.errors import Refusal, refusal_response

_DRAFTS_SHOWN = 60
_LARGEST_IMPORT = 2 * 1024 * 1024  # bytes
_LINES_OF_NEW = 2


@page("GET", scope=Scope.JOBS_READ)
def studio(request: HttpRequest) -> HttpResponseBase:
    """All drafts, and ways to begin one."""
    tenant = request.member.tenant
    words = request.GET.get("q", "").strip().replace("\0", "")[:200]
    rows = list_drafts(tenant)
    if words:
        rows = rows.filter(title__icontains=words)
    page_number = _page_number(request)
    start = (page_number - 1) * _DRAFTS_SHOWN
    drafts = list(rows[start : start + _DRAFTS_SHOWN + 1])
    context = {
        "words": words,
        "newer": page_number - 1,
        "older": page_number + 1 if len(drafts) > _DRAFTS_SHOWN else 0,
        "drafts": [
            (draft, sum(bool(line["text"].strip()) for line in draft.lines))
            for draft in drafts[:_DRAFTS_SHOWN]
        ],
        "may_write": holds(request.member.scopes, Scope.JOBS_WRITE),
    }
    return render(request, "pages/studio.html", context)


def _page_number(request: HttpRequest) -> int:
    """Drafts are few, and change their places: they are turned by pages, unlike jobs."""
    asked = request.GET.get("page", "")
    return max(1, int(asked)) if asked.isascii() and asked.isdecimal() and len(asked) < 4 else 1


@page("POST", scope=Scope.JOBS_WRITE)
def new_draft(request: HttpRequest) -> HttpResponseBase:
    """Begin a draft: an empty one, the sample, or what somebody brings along."""
    tenant = request.member.tenant
    title, lines = "", []
    match request.POST.get("from"):
        case "sample":
            title, imported = sample_script(request.LANGUAGE_CODE)
            lines = lines_of_import(tenant, imported)
        case "import":
            content, filename = _brought(request)
            lines = lines_of_import(tenant, read_script(content, filename))
            title = filename.rpartition(".")[0].replace("\0", "")[:200]
        case _:
            lines = _empty_lines(tenant)
    made = start_draft(tenant, title, lines)
    if request.POST.get("from") == "import":
        messages.success(request, _("%(count)s lines were imported.") % {"count": len(lines)})
    return redirect("draft", made.pk)


def _brought(request: HttpRequest) -> tuple[str, str]:
    """The text that was pasted or uploaded, and the file's name. Raises validation_error."""
    file: UploadedFile | None = request.FILES.get("file")
    if file is None:
        return request.POST.get("text", ""), ""
    if (file.size or 0) > _LARGEST_IMPORT:
        raise Refusal("payload_too_large", _("A script may have 2 MB. Split the file."), 413)
    return decoded(file.read()), str(file.name)


def _empty_lines(tenant: Tenant) -> list[dict[str, Any]]:
    """Two lines to begin with, by the two speakers who were there first."""
    ready = Speaker.objects.for_tenant(tenant).present().filter(status=Speaker.Status.READY)
    ids = [*ready.order_by("pk").values_list("pk", flat=True)[:_LINES_OF_NEW], "", ""]
    return [blank_line(f"l{index + 1}", ids[index]) for index in range(_LINES_OF_NEW)]


@page("GET", scope=Scope.JOBS_READ)
def draft(request: HttpRequest, draft_id: str) -> HttpResponseBase:
    """The editor."""
    tenant = request.member.tenant
    row = get_draft(tenant, draft_id)
    job = _last_job(tenant, row)
    statuses = Speaker.Status.READY, Speaker.Status.PROCESSING
    offered = offered_speakers(tenant, *statuses)
    # Those that the draft has already, however many others there are.
    used = {line["speaker_id"] for line in row.lines} - {speaker.pk for speaker in offered}
    if used:
        present = Speaker.objects.for_tenant(tenant).present()
        offered += present.filter(pk__in=used, status__in=statuses)
    names = {speaker.pk: speaker.name for speaker in offered}
    context = {
        "draft": row,
        # Whoever was deleted since has to be replaced.
        "lines": [
            {**line, "speaker_id": known, "speaker_name": names.get(known, "")}
            for line in row.lines
            for known in [line["speaker_id"] if line["speaker_id"] in names else ""]
        ],
        "blank_line": blank_line(""),
        "speakers": offered,
        "formats": list(FORMATS),
        "sample_rates": SAMPLE_RATES,
        "may_write": holds(request.member.scopes, Scope.JOBS_WRITE),
        "last": job,
        "estimate": _estimate(request, row),
        "examples": examples_of(request_of(row), request.build_absolute_uri("/").rstrip("/")),
        **(state_of(request, job) if job else {}),
    }
    return render(request, "pages/draft.html", context)


def _last_job(tenant: Tenant, row: Draft) -> Job | None:
    """What was rendered of a draft last, if it was not deleted."""
    if not row.last_job_id:
        return None
    try:
        return get_job(tenant, row.last_job_id)
    except Refusal:
        return None


@page("POST", scope=Scope.JOBS_WRITE, refused_as="problem")
def save(request: HttpRequest, draft_id: str) -> HttpResponseBase:
    """Keep what the editor has, and say what it would cost and what is missing."""
    row = get_draft(request.member.tenant, draft_id)
    sent = _sent(request)
    body = SaveDraftRequest(data=sent)
    try:
        body.is_valid(raise_exception=True)
    except ValidationError as exc:
        return refusal_response(exc, sent)
    row = save_draft(row, body.validated_data)
    return JsonResponse({"version": row.version, "estimate": _estimate(request, row)})


def _sent(request: HttpRequest) -> Any:
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError) as exc:
        raise Refusal("validation_error", _("The body is no JSON."), 400) from exc


def _estimate(request: HttpRequest, row: Draft) -> dict[str, Any]:
    """The length and the price of a draft as it is, and what keeps it from being rendered, by line."""
    try:
        preview = preview_job(request.member, checked_request(row))
    except (ValidationError, Refusal) as exc:
        problem = json.loads(refusal_response(exc, request_of(row)).content)
        return {
            "ready": False,
            "waits": False,
            "detail": problem["detail"],
            "lines": _by_line(problem.get("errors", [])),
            "expected_ms": None,
            "longest_ms": None,
            "price": None,
        }
    errors = [error.as_json() for error in preview.errors]
    detail = errors[0]["detail"] if errors else ""
    if preview.refusal is not None:
        detail = preview.refusal.detail
    return {
        "ready": not detail,
        "waits": any(error.code == "speaker_not_ready" for error in preview.errors),
        "detail": detail,
        "lines": _by_line(errors),
        "expected_ms": preview.foreseen.expected_ms,
        "longest_ms": preview.foreseen.longest_ms,
        "price": shown(preview.quoted.amount_minor, preview.quoted.currency),
    }


def _by_line(errors: list[dict[str, str]]) -> dict[str, str]:
    """The first error of each line."""
    found: dict[str, str] = {}
    for error in errors:
        if line_id := error.get("line_id"):
            found.setdefault(line_id, error["detail"])
    return found


@page("GET", scope=Scope.JOBS_READ, refused_as="problem")
def estimate(request: HttpRequest, draft_id: str) -> HttpResponseBase:
    """What a draft would cost and what is missing, again: a voice may be ready by now."""
    return JsonResponse(_estimate(request, get_draft(request.member.tenant, draft_id)))


@page("POST", scope=Scope.JOBS_WRITE, refused_as="problem")
def parse(request: HttpRequest) -> HttpResponseBase:
    """What was pasted into the editor, as lines."""
    sent = _sent(request)
    text = sent.get("text") if isinstance(sent, dict) else None
    if not isinstance(text, str):
        raise Refusal("validation_error", _("Send the script as “text”."))
    return JsonResponse({"lines": lines_of_import(request.member.tenant, read_script(text))})


@page("POST", scope=Scope.JOBS_WRITE, refused_as="part")
def render_now(request: HttpRequest, draft_id: str) -> HttpResponseBase:
    """Have a draft spoken, or one line of it to hear it. Answers with how far it is."""
    row = get_draft(request.member.tenant, draft_id)
    line_id = request.POST.get("line") or None
    try:
        job = render_draft(request.member, row, line_id)
    except ValidationError as exc:
        problem = json.loads(refusal_response(exc, request_of(row, line_id)).content)
        raise Refusal(problem["code"], problem["detail"], problem["status"]) from exc
    return _progress(request, row, job)


@page("GET", scope=Scope.JOBS_READ, refused_as="part")
def progress(request: HttpRequest, draft_id: str, job_id: str) -> HttpResponseBase:
    """How far a draft's job is, line by line."""
    tenant = request.member.tenant
    return _progress(request, get_draft(tenant, draft_id), get_job(tenant, job_id))


def _progress(request: HttpRequest, row: Draft, job: Job) -> HttpResponseBase:
    done = job.lines.exclude(audio_key="").values_list("line_id", flat=True)
    context = {
        **state_of(request, job),
        "draft": row,
        "spoken": ",".join(done),
        "whole": job.pk == row.last_job_id,
    }
    return render(request, "pages/draft_progress.html", context)


@page("POST", scope=Scope.JOBS_WRITE)
def delete(request: HttpRequest, draft_id: str) -> HttpResponseBase:
    delete_draft(get_draft(request.member.tenant, draft_id))
    messages.success(
        request, _("The draft was deleted. What was rendered of it is still under Jobs.")
    )
    return redirect("studio")


@page("POST", scope=Scope.SPEAKERS_WRITE)
def sample_voices(request: HttpRequest) -> HttpResponseBase:
    """Register the sample voices, and begin the sample script where there is none yet."""
    member = request.member
    add_sample_voices(member)
    if not holds(member.scopes, Scope.JOBS_WRITE):
        return redirect("speakers")
    found = list_drafts(member.tenant).first()
    if found is None:
        title, imported = sample_script(request.LANGUAGE_CODE)
        found = start_draft(member.tenant, title, lines_of_import(member.tenant, imported))
    return redirect("draft", found.pk)


_LONGEST_PREVIEW = 300  # characters


@page("POST", scope=Scope.JOBS_WRITE, refused_as="part")
def preview_speaker(request: HttpRequest, speaker_id: str) -> HttpResponseBase:
    """Have a speaker say a sentence."""
    speaker = get_speaker(request.member.tenant, speaker_id)
    text = request.POST.get("text", "")[:_LONGEST_PREVIEW]
    body = {"title": speaker.name, "script": [{"speaker_id": speaker.pk, "text": text}]}
    asked = SynthesizeRequest(data=body)
    if not asked.is_valid():
        raise Refusal("validation_error", _("Write a sentence to hear."))
    with transaction.atomic():
        job = submit_job(request.member, asked.validated_data)
    return _preview(request, job)


@page("GET", scope=Scope.JOBS_READ, refused_as="part")
def preview_state(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """How far a preview is; then, its sound."""
    return _preview(request, get_job(request.member.tenant, job_id))


def _preview(request: HttpRequest, job: Job) -> HttpResponseBase:
    return render(request, "pages/preview.html", state_of(request, job))
