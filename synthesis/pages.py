"""The pages of jobs: all of them, one with its player, and what can be done with it."""

import time
from itertools import islice
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts.identifiers import is_id
from accounts.people.pages import page
from accounts.scopes import Scope, holds
from accounts.served_files import served_inline
from synthesis.models import ACTIVE, Job, JobQuerySet, Line
from synthesis.player import player_data
from synthesis.request_examples import examples_of
from synthesis.serializers import shown_job
from synthesis.storage import link_paths, media_type, storage_key
from synthesis.studio.drafts import lines_of_job, output_of_job, start_draft
from synthesis.submission import cancel_job, delete_job, get_job, retry_job
from voicereel_site.errors import not_found

_JOBS_SHOWN = 25
_JOBS_SEARCHED = 10_000  # for words, at once
_LINES_SHOWN = 200


@page("GET", scope=Scope.JOBS_READ)
def job_list(request: HttpRequest) -> HttpResponseBase:
    """Jobs, the newest first: some of them, by status and by words of the title, or by id."""
    tenant = request.member.tenant
    status = request.GET.get("status", "")
    words = request.GET.get("q", "").strip().replace("\0", "")[:200]
    before = request.GET.get("before", "")
    rows = Job.objects.for_tenant(tenant).order_by("-pk")
    if status in Job.Status.values:
        rows = rows.filter(status=status)
    if before:
        rows = rows.filter(pk__lt=before.replace("\0", ""))
    # Where the next page begins, if this one is not full: title by title, not all jobs of years are searched.
    searched_to = ""
    if is_id(words):
        rows = rows.filter(pk=words)
    elif words:
        rows, searched_to = _called(rows, words)
    found = list(rows[: _JOBS_SHOWN + 1])
    for job in found:
        job.tenant = tenant
    is_full = len(found) > _JOBS_SHOWN
    context = {
        "jobs": found[:_JOBS_SHOWN],
        "older": found[_JOBS_SHOWN - 1].pk if is_full else searched_to,
        "searched": _JOBS_SEARCHED if searched_to and not is_full else 0,
        "statuses": Job.Status.choices,
        "status": status,
        "words": words,
        "filtered": bool(status or words or before),
    }
    part = request.htmx and not request.htmx.boosted
    return render(request, f"pages/jobs{'_rows' if part else ''}.html", context)


def _called(rows: JobQuerySet, words: str) -> tuple[JobQuerySet, str]:
    """Those of the next ``_JOBS_SEARCHED`` rows whose titles contain the words, and the id of the last of
    them if there are more.

    The database would not go through the newest first: it takes any condition on a text for one that few
    rows meet, and reads them all. And SQLite knows no capitals but A to Z.
    """
    titles = list(rows.values_list("pk", "title")[: _JOBS_SEARCHED + 1])
    words = words.casefold()
    found = (pk for pk, title in titles[:_JOBS_SEARCHED] if words in title.casefold())
    searched_to = titles[_JOBS_SEARCHED - 1][0] if len(titles) > _JOBS_SEARCHED else ""
    return rows.filter(pk__in=list(islice(found, _JOBS_SHOWN + 1))), searched_to


def state_of(request: HttpRequest, job: Job) -> dict[str, Any]:
    """What pages/job_state.html shows."""
    return {
        "job": job,
        "shown": shown_job(job, ""),
        "active": job.status in ACTIVE,
        "may_write": holds(request.member.scopes, Scope.JOBS_WRITE),
    }


@page("GET", scope=Scope.JOBS_READ)
def job(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """One job: how far it is, and what came of it."""
    row = get_job(request.member.tenant, job_id)
    lines = Line.objects.for_tenant(row.tenant_id).filter(job=row)
    shown = list(lines.with_names().defer("words")[:_LINES_SHOWN])
    asked = {
        "title": row.title,
        "output": {name: row.output[name] for name in ("format", "sample_rate")},
        "script": [
            {"speaker_id": line.speaker_id, "text": line.text}
            | ({"speed": line.speed} if line.speed != line.speaker.default_speed else {})
            | ({} if line.pause_after_ms is None else {"pause_after_ms": line.pause_after_ms})
            for line in shown
        ],
    }
    context = {
        **state_of(request, row),
        "lines": shown,
        "lines_left": row.lines_total - len(shown),
        "examples": examples_of(asked, request.build_absolute_uri("/").rstrip("/")),
    }
    return render(request, "pages/job.html", context)


@page("GET", scope=Scope.JOBS_READ, refused_as="part")
def job_state(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """The part of a job's page that changes while it is worked on."""
    row = get_job(request.member.tenant, job_id)
    response = render(request, "pages/job_state.html", state_of(request, row))
    if row.status not in ACTIVE:
        # The rest of the page has changed too.
        response["HX-Refresh"] = "true"
    return response


@page("GET", scope=Scope.JOBS_READ, refused_as="problem")
def job_player(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """A finished job's words in time, for the player."""
    return JsonResponse(player_data(_finished(request, job_id)))


@page("GET", scope=Scope.JOBS_READ, refused_as="problem")
def job_audio(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """A finished job's audio, to be played: for as long as the page is open, unlike a link."""
    row = _finished(request, job_id)
    return served_inline(request, row.audio_key, media_type(row, "audio"))


@page("GET", scope=Scope.JOBS_READ)
def job_file(request: HttpRequest, job_id: str, kind: str) -> HttpResponseBase:
    """To a fresh link to a file."""
    row = _finished(request, job_id)
    if storage_key(row, kind) is None:
        raise not_found("file")
    return redirect(link_paths(row, [kind], int(time.time()) + settings.LINK_TTL_S)[kind])


def _finished(request: HttpRequest, job_id: str) -> Job:
    row = get_job(request.member.tenant, job_id)
    if row.status != Job.Status.SUCCEEDED:
        raise not_found("file")
    return row


@page("POST", scope=Scope.JOBS_WRITE)
def change_job(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """Cancel a job, try it again, write on from it, or delete it."""
    row = get_job(request.member.tenant, job_id)
    match request.POST.get("do"):
        case "cancel":
            cancel_job(row)
            messages.success(
                request, _("The job was canceled. What was spoken is kept for a retry.")
            )
        case "retry":
            retry_job(row)
            messages.success(request, _("The job is tried again; only what is missing is spoken."))
        case "draft":
            draft = start_draft(
                row.tenant,
                row.title,
                lines_of_job(row),
                output_of_job(row),
            )
            return redirect("draft", draft.pk)
        case "delete":
            delete_job(row)
            messages.success(request, _("The job and its files were deleted."))
            return redirect("jobs")
    return redirect("job", job_id)
