"""Where a person arrives: at what VoiceReel is, at making an organisation, or at what comes next."""

from dataclasses import dataclass

from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts.callers import choose_tenant, memberships_of
from accounts.keys import create_key
from accounts.models import ApiKey
from accounts.people import members
from accounts.people.pages import OrganisationForm, page
from accounts.scopes import Scope, holds
from speakers.models import Speaker
from synthesis.models import Job
from synthesis.request_examples import examples_of
from synthesis.studio.drafts import list_drafts, request_of
from voicereel_site.errors import method_not_allowed

_DRAFTS_SHOWN, _JOBS_SHOWN = 4, 6


@dataclass(frozen=True)
class FirstSteps:
    """What somebody new has done already. next: the first step that is left; "": none."""

    voices: bool
    voices_ready: bool
    script: bool
    audio: bool
    key: bool

    @property
    def next(self) -> str:
        for name in ("voices", "script", "audio", "key"):
            if not getattr(self, name):
                return name
        return ""


def front(request: HttpRequest) -> HttpResponseBase:
    """The address of the site itself."""
    if request.user.is_authenticated:
        return home(request)
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed(request, ["GET", "HEAD"])
    return render(request, "pages/front.html")


@page("GET", "POST")
def home(request: HttpRequest) -> HttpResponseBase:
    """What a member does next, and did last; or, for nobody's member, making an organisation."""
    user, member = request.user, request.member
    if member is None:
        form = OrganisationForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            tenant = members.found_tenant(user, form.cleaned_data["name"])
            choose_tenant(request, tenant.pk)
            return redirect("home")
        return render(request, "pages/first_organisation.html", {"form": form})
    tenant = member.tenant
    suspended = tenant.suspended_at is not None and member.impersonation is None
    may_see = holds(member.scopes, Scope.JOBS_READ) and not suspended
    context = {
        "memberships": memberships_of(user.pk),
        "steps": _first_steps(request) if may_see else None,
        "drafts": list_drafts(tenant)[:_DRAFTS_SHOWN] if may_see else [],
        "jobs": Job.objects.for_tenant(tenant).order_by("-pk")[:_JOBS_SHOWN] if may_see else [],
    }
    return render(request, "pages/home.html", context)


def _first_steps(request: HttpRequest) -> FirstSteps:
    tenant = request.member.tenant
    statuses = set(
        Speaker.objects.for_tenant(tenant)
        .present()
        .order_by()
        .values_list("status", flat=True)[:50]
    )
    jobs = Job.objects.for_tenant(tenant)
    return FirstSteps(
        voices=bool(statuses - {Speaker.Status.FAILED}),
        voices_ready=Speaker.Status.READY in statuses,
        script=list_drafts(tenant).exists() or jobs.exists(),
        audio=jobs.filter(status=Job.Status.SUCCEEDED).exists(),
        key=ApiKey.objects.for_tenant(tenant).exists()
        or not holds(request.member.scopes, Scope.KEYS_WRITE),
    )


@page("GET", scope=Scope.JOBS_READ, refused_as="part")
def first_steps(request: HttpRequest) -> HttpResponseBase:
    """The steps again, while the sample voices are prepared."""
    return render(request, "pages/first_steps.html", {"steps": _first_steps(request)})


@page("POST", scope=Scope.KEYS_WRITE)
def first_key(request: HttpRequest) -> HttpResponseBase:
    """Make a key, and show with it what the pages did so far, as a program asks for it."""
    member = request.member
    if ApiKey.objects.for_tenant(member.tenant).exists():
        return redirect("keys")  # the page was sent again
    with transaction.atomic():
        made = create_key(
            member,
            label=_("My first key"),
            live=True,
            scopes=None,
            expires_at=None,
            networks=None,
            require_signature=False,
        )
    draft = list_drafts(member.tenant).first() if holds(member.scopes, Scope.JOBS_READ) else None
    asked = {"script": []} if draft is None else request_of(draft)
    context = {
        "new_key": made.key,
        "examples": examples_of(asked, request.build_absolute_uri("/").rstrip("/"), made.key)
        if asked["script"]
        else [],
    }
    return render(request, "pages/first_key.html", context)
