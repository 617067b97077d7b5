"""The pages of comparisons: those of members, and that of listeners, who need no account."""

import io
from typing import Any

from django.contrib import messages
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from rest_framework.exceptions import ValidationError

from accounts.people.pages import page
from accounts.scopes import Scope, holds
from accounts.served_files import ranged
from speakers.lookup import offered_speakers
from speakers.models import Speaker
from synthesis.comparison.clips import clip
from synthesis.comparison.comparisons import (
    choose_winner,
    close_comparison,
    course_of,
    delete_comparison,
    get_comparison,
    jobs_of,
    link_token,
    list_comparisons,
    listener_of,
    open_link,
    refresh,
    standing_of,
    start_comparison,
    vote,
    welcome,
)
from synthesis.comparison.serializers import MOST_VARIANTS, CreateComparisonRequest
from synthesis.models import Comparison, Listener, Vote
from voicereel_site.errors import (
    Refusal,
    method_not_allowed,
    not_found,
    problem_response,
    refusal_of,
)

_COMPARISONS_SHOWN = 50
_VARIANTS_OFFERED = 4
_COOKIE_AGE_S = 90 * 24 * 3600
_SIDES = {"1": "first", "2": "second"}


@page("GET", scope=Scope.JOBS_READ)
def comparison_list(request: HttpRequest) -> HttpResponseBase:
    tenant = request.member.tenant
    rows = list(list_comparisons(tenant).order_by("-pk")[:_COMPARISONS_SHOWN])
    refresh(tenant.pk, rows)
    context = {
        "comparisons": rows,
        "may_write": holds(request.member.scopes, Scope.JOBS_WRITE),
    }
    return render(request, "pages/comparisons.html", context)


@page("GET", scope=Scope.JOBS_WRITE)
def new_comparison(request: HttpRequest) -> HttpResponseBase:
    return _form(request)


def _form(request: HttpRequest, refusal: Refusal | None = None, status: int = 200) -> HttpResponse:
    context = {
        "speakers": offered_speakers(request.member.tenant, Speaker.Status.READY),
        "rows": [
            (
                index,
                request.POST.get(f"speaker-{index}", ""),
                request.POST.get(f"speed-{index}", "1"),
            )
            for index in range(1, _VARIANTS_OFFERED + 1)
        ],
        "title": request.POST.get("title", ""),
        "texts": request.POST.get("texts", ""),
        "refusal": refusal,
    }
    return render(request, "pages/new_comparison.html", context, status=status)


@page("POST", scope=Scope.JOBS_WRITE)
def create(request: HttpRequest) -> HttpResponseBase:
    """Begin a comparison, as POST /v1/comparisons does."""
    variants = []
    for index in range(1, MOST_VARIANTS + 1):
        if speaker_id := request.POST.get(f"speaker-{index}", ""):
            speed = request.POST.get(f"speed-{index}", "") or "1"
            variants.append({"speaker_id": speaker_id, "speed": _number(speed)})
    texts = [row.strip() for row in request.POST.get("texts", "").splitlines() if row.strip()]
    body = CreateComparisonRequest(
        data={"title": request.POST.get("title", ""), "texts": texts, "variants": variants}
    )
    try:
        body.is_valid(raise_exception=True)
        with transaction.atomic():
            made = start_comparison(request.member, body.validated_data)
    except (ValidationError, Refusal) as exc:
        refusal = refusal_of(exc)
        return _form(request, refusal, refusal.status)
    return redirect("comparison", made.pk)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


@page("GET", scope=Scope.JOBS_READ)
def comparison(request: HttpRequest, comparison_id: str) -> HttpResponseBase:
    row = get_comparison(request.member.tenant, comparison_id)
    context = {
        **_state(row),
        "listen_url": request.build_absolute_uri(reverse("listen", args=[link_token(row)])),
        "may_write": holds(request.member.scopes, Scope.JOBS_WRITE),
        "may_choose": holds(request.member.scopes, Scope.SPEAKERS_WRITE),
        "speakers": offered_speakers(request.member.tenant, Speaker.Status.READY),
    }
    return render(request, "pages/comparison.html", context)


@page("GET", scope=Scope.JOBS_READ, refused_as="part")
def comparison_state(request: HttpRequest, comparison_id: str) -> HttpResponseBase:
    """What changes while variants are rendered and listeners vote."""
    row = get_comparison(request.member.tenant, comparison_id)
    response = render(request, "pages/comparison_state.html", _state(row))
    if request.GET.get("was") != row.status:
        response["HX-Refresh"] = "true"
    return response


def _state(row: Comparison) -> dict[str, Any]:
    standing = standing_of(row)
    variants, outcome = standing.variants, standing.outcome
    jobs = jobs_of(row) if row.status in ("preparing", "failed") else {}
    return {
        "comparison": row,
        "outcome": outcome,
        "variants": [(variant, outcome.shares[variant.position]) for variant in variants],
        "pairs": [
            (variants[one.first].label, variants[one.second].label, one) for one in outcome.pairs
        ],
        "leader": None if outcome.leader is None else variants[outcome.leader],
        "jobs": [jobs[position] for position in sorted(jobs)],
    }


@page("POST", scope=Scope.JOBS_WRITE)
def change(request: HttpRequest, comparison_id: str) -> HttpResponseBase:
    """Close a comparison, or erase it."""
    row = get_comparison(request.member.tenant, comparison_id)
    match request.POST.get("do"):
        case "close":
            close_comparison(row)
            messages.success(request, _("No more votes are taken."))
        case "delete":
            delete_comparison(row)
            messages.success(
                request, _("The comparison and what was rendered for it were deleted.")
            )
            return redirect("comparisons")
    return redirect("comparison", comparison_id)


@page("POST", scope=Scope.SPEAKERS_WRITE)
def choose(request: HttpRequest, comparison_id: str) -> HttpResponseBase:
    """Have a speaker speak like a variant from now on."""
    row = get_comparison(request.member.tenant, comparison_id)
    position = request.POST.get("position", "")
    known = {str(one.position): one.position for one in standing_of(row).variants}
    if position not in known:
        raise Refusal("validation_error", _("Choose one of the variants."))
    speaker_id = request.POST.get("speaker", "").replace("\0", "")
    speaker = choose_winner(row, known[position], speaker_id)
    messages.success(request, _("%(name)s speaks like that from now on.") % {"name": speaker.name})
    return redirect("comparison", comparison_id)


# ---------------------------------------------------------------- listeners


@never_cache
def listen(request: HttpRequest, token: str) -> HttpResponseBase:
    """What a link shows to whoever has it: a pair at a time, and in the end thanks."""
    if request.method not in ("GET", "HEAD", "POST"):
        return method_not_allowed(request, ["GET", "HEAD", "POST"])
    row = open_link(token)
    if row is None:
        return render(request, "pages/listening_over.html", status=404)
    listener = _listener(request, row, token)
    try:
        if request.method == "POST":
            if listener is None:
                return _begin(request, row, token)
            _take_vote(request, row, listener)
            return redirect("listen", token)
    except Refusal as refusal:
        context = {"comparison": row, "refusal": refusal}
        return render(request, "pages/listening_over.html", context, status=refusal.status)
    if row.status != Comparison.Status.OPEN:
        return render(request, "pages/listening_over.html", {"comparison": row})
    context = {"comparison": row, "token": token, "listener": listener}
    if listener is not None:
        course = course_of(row, listener)
        context |= {"course": course, "number": course.done + 1, "total": len(course.pairs)}
    return render(request, "pages/listen.html", context)


def _cookie(row: Comparison) -> str:
    return f"listener_{row.pk}"


def _listener(request: HttpRequest, row: Comparison, token: str) -> Listener | None:
    """Who listens at this browser, if they have begun."""
    try:
        listener_id = signing.Signer(salt=token).unsign(request.COOKIES.get(_cookie(row), ""))
    except signing.BadSignature:
        return None
    return listener_of(row, listener_id)


def _begin(request: HttpRequest, row: Comparison, token: str) -> HttpResponseBase:
    made = welcome(row)
    response = redirect("listen", token)
    response.set_cookie(
        _cookie(row),
        signing.Signer(salt=token).sign(made.pk),
        max_age=_COOKIE_AGE_S,
        path=reverse("listen", args=[token]),
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
    return response


def _take_vote(request: HttpRequest, row: Comparison, listener: Listener) -> None:
    choice, number = request.POST.get("choice", ""), request.POST.get("number", "")
    if choice not in Vote.Choice.values or not (number.isascii() and number.isdecimal()):
        raise Refusal(
            "validation_error", _("Choose one of the two, or that there is no difference.")
        )
    # What was voted on before, in another tab or by pressing twice, is simply passed.
    vote(row, listener, int(number[:4]) - 1, choice)


@never_cache
def listen_clip(request: HttpRequest, token: str, number: str, side: str) -> HttpResponseBase:
    """One side of a listener's pair. Nothing in the address or the file says whose voice it is."""
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed(request, ["GET", "HEAD"])
    try:
        sound, name = _clip_at(request, token, number, side)
    except Refusal as refusal:
        return problem_response(refusal.status, refusal.code, refusal.detail)
    # Some browsers play nothing that is not sent in the ranges they ask for.
    response = ranged(request, name, len(sound), lambda: io.BytesIO(sound))
    if response.status_code != 416:
        response["Content-Type"] = "audio/wav"
        response["X-Content-Type-Options"] = "nosniff"
    return response


def _clip_at(request: HttpRequest, token: str, number: str, side: str) -> tuple[bytes, str]:
    """What a listener hears now on one side, and a name for it that says no more than the address."""
    row = open_link(token)
    listener = None if row is None else _listener(request, row, token)
    if row is None or listener is None or row.status != Comparison.Status.OPEN:
        raise not_found("clip")
    course = course_of(row, listener)
    if course.next is None or number != str(course.done + 1) or side not in _SIDES:
        raise not_found("clip")
    sound = clip(row, course.next.line, getattr(course.next, _SIDES[side]))
    return sound, f"{listener.pk}/{number}/{side}"
