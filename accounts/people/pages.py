"""The pages of people: their tenants, fellow members, invitations, the end of an impersonation."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.usersessions.views import list_usersessions
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from rest_framework.exceptions import ValidationError

from accounts import audit
from accounts.authentication import note_impersonated, require_scope
from accounts.callers import (
    Member,
    choose_tenant,
    impersonation_of,
    leave,
    member_of,
    memberships_of,
)
from accounts.impersonation import end_impersonation
from accounts.limits import count_request
from accounts.models import AuditEvent, User
from accounts.people import members
from accounts.people.addresses import normal_address
from accounts.people.recording import record_of_person
from accounts.scopes import ROLE_SCOPES, Role, Scope, beyond, holds
from accounts.suspension import refuse_suspended
from accounts.tenancy import CONSOLE_PATH
from voicereel_site.errors import Refusal, method_not_allowed, refusal_of, refusal_response
from voicereel_site.pages import zone_of
from voicereel_site.shapes import NameText
from voicereel_site.shown import ROLE_WORDS

_EVENTS_SHOWN = 100
_OF_ALLAUTH = "/account/"  # pages of a library, which knows no members


def around_every_page(request: HttpRequest) -> dict[str, Any]:
    """For the frame of every page: whose it is, and whether an operator looks through it."""
    known = hasattr(request, "user") and request.user.is_authenticated
    if known and not hasattr(request, "member") and request.path.startswith(_OF_ALLAUTH):
        request.member = member_of(request)
    return {
        "member": getattr(request, "member", None),
        "impersonation": impersonation_of(request) if known else None,
    }


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """A form without its token: another site's, or a page that was open for too long."""
    part = bool(request.headers.get("HX-Request"))
    return render(request, f"pages/forged{'_part' if part else ''}.html", status=403)


View = Callable[..., HttpResponseBase]


def page(
    *methods: str, scope: str | None = None, refused_as: str = "page"
) -> Callable[[View], View]:
    """A page of a member's, who may see it; without a scope, of any person's who is logged in.

    methods: that it knows; GET stands for HEAD too. refused_as: "page", "part" of one, or "problem",
    the JSON of the API's errors, for what scripts of ours ask.
    """

    def decorate(view: View) -> View:
        @never_cache
        @login_required
        def for_person(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            member = member_of(request)
            request.member = member
            impersonation = None if member is None else member.impersonation
            audit.act_as(audit.person_actor(request, request.user, impersonation))
            if member is None and scope is not None:
                return redirect("home")
            try:
                if member is not None:
                    count_request(request, member.tenant)
                    if scope is not None:
                        if impersonation is None:
                            refuse_suspended(member.tenant)
                        require_scope(member, scope)
                    # What asks for nothing and changes something is about the operator's browser.
                    if impersonation is not None and (scope or request.method in ("GET", "HEAD")):
                        note_impersonated(request, member)
                with timezone.override(zone_of(request)):
                    return view(request, *args, **kwargs)
            except (ValidationError, Refusal) as exc:
                if refused_as == "problem":
                    return refusal_response(exc)
                refusal = refusal_of(exc)
                template = f"pages/refused{'_part' if refused_as == 'part' else ''}.html"
                return render(request, template, {"refusal": refusal}, status=refusal.status)

        @wraps(view)
        def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if ("GET" if request.method == "HEAD" else request.method) not in methods:
                return method_not_allowed(request, methods)
            if request.htmx and not request.user.is_authenticated:
                # Not the log-in form in a corner of the page, nor another page for what is written here.
                return HttpResponse(status=401)
            return for_person(request, *args, **kwargs)

        shown.methods, shown.scope = methods, scope  # type: ignore[attr-defined]
        return shown

    return decorate


class OrganisationForm(forms.Form):
    """A new tenant. Names are checked as the API checks them."""

    name = forms.CharField(max_length=200, label=gettext_lazy("Name of your organisation"))

    def clean_name(self) -> str:
        return _checked_name(self.cleaned_data["name"])


def _checked_name(name: str) -> str:
    try:
        return str(NameText(max_length=200).run_validation(name))
    except ValidationError as exc:
        raise forms.ValidationError([str(detail) for detail in exc.detail]) from exc


class _Invitation(forms.Form):
    email = forms.EmailField(max_length=254, label=gettext_lazy("E-mail address"))
    role = forms.ChoiceField(
        label=gettext_lazy("Role"), choices=Role.choices, initial=Role.DEVELOPER
    )

    def clean_email(self) -> str:
        try:
            return normal_address(self.cleaned_data["email"])
        except ValueError as exc:
            raise forms.ValidationError(str(exc)) from exc

    def __init__(self, *args: Any, member: Member, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = _roles_to_give(member)


def _roles_to_give(member: Member) -> list[tuple[str, str | Promise]]:
    return [
        (role, ROLE_WORDS[Role(role)])
        for role in Role.values
        if not beyond(member.scopes, ROLE_SCOPES[role])
    ]


@page("POST")
def switch(request: HttpRequest) -> HttpResponseBase:
    """Look at another tenant of one's own."""
    wanted = request.POST.get("tenant", "")
    if wanted in {row.tenant_id for row in memberships_of(request.user.pk)}:
        choose_tenant(request, wanted)
    return redirect("home")


@page("GET", scope=Scope.MEMBERS_READ)
def member_list(request: HttpRequest) -> HttpResponseBase:
    return _member_list(request, _Invitation(member=request.member))


def _member_list(request: HttpRequest, form: _Invitation, status: int = 200) -> HttpResponse:
    tenant = request.member.tenant
    context = {
        "rows": members.list_members(tenant).order_by("joined_at"),
        "invitations": members.list_invitations(tenant).order_by("-pk"),
        "form": form,
        "roles": _roles_to_give(request.member),
        "may_write": holds(request.member.scopes, Scope.MEMBERS_WRITE),
    }
    return render(request, "pages/members.html", context, status=status)


@page("POST", scope=Scope.MEMBERS_WRITE)
def invite(request: HttpRequest) -> HttpResponseBase:
    form = _Invitation(request.POST, member=request.member)
    if not form.is_valid():
        return _member_list(request, form, status=422)
    try:
        row = members.invite_by_mail(
            request.member,
            form.cleaned_data["email"],
            form.cleaned_data["role"],
            request.build_absolute_uri("/").rstrip("/"),
        )
    except Refusal as refusal:
        form.add_error("email", refusal.detail)
        return _member_list(request, form, status=422)
    messages.success(request, _("%(email)s was invited.") % {"email": row.email})
    return redirect("members")


@page("POST", scope=Scope.MEMBERS_WRITE)
def change_member(request: HttpRequest, member_id: str) -> HttpResponseBase:
    """Give a member another role, or remove them."""
    row = members.get_member(request.member.tenant, member_id)
    if request.POST.get("remove"):
        members.remove_member(request.member, row)
        messages.success(request, _("%(email)s is no member any more.") % {"email": row.user.email})
    elif request.POST.get("role") in Role.values:
        members.change_role(request.member, row, request.POST["role"])
        messages.success(request, _("%(email)s has another role now.") % {"email": row.user.email})
    return redirect("members")


@page("POST", scope=Scope.MEMBERS_WRITE)
def withdraw(request: HttpRequest, invitation_id: str) -> HttpResponseBase:
    members.withdraw_invitation(request.member.tenant, invitation_id)
    messages.success(request, _("The invitation was withdrawn."))
    return redirect("members")


@never_cache
def invitation(request: HttpRequest, token: str) -> HttpResponseBase:
    """What an invitation's link shows to whoever has it; a person who is logged in may accept."""
    if request.method not in ("GET", "HEAD", "POST"):
        return method_not_allowed(request, ["GET", "HEAD", "POST"])
    row = members.open_invitation(token)
    if row is None:
        return render(request, "pages/invitation_over.html", status=404)
    user = request.user
    refusal = None
    if request.method == "POST" and isinstance(user, User):
        audit.act_as(audit.person_actor(request, user))
        try:
            members.accept_invitation(row, user)
        except Refusal as exc:
            refusal = exc
        else:
            choose_tenant(request, row.tenant_id)
            return redirect("home")
    context = {"invitation": row, "refusal": refusal}
    return render(request, "pages/invitation.html", context, status=403 if refusal else 200)


@page("GET", scope=Scope.AUDIT_READ)
def audit_log(request: HttpRequest) -> HttpResponseBase:
    rows = AuditEvent.objects.for_tenant(request.member.tenant).order_by("-pk")[:_EVENTS_SHOWN]
    return render(request, "pages/audit.html", {"rows": rows})


@page("POST")
def end(request: HttpRequest) -> HttpResponseBase:
    """End an impersonation before its time."""
    member = request.member
    if member is not None and member.impersonation is not None:
        end_impersonation(member.impersonation)
    leave(request)
    return redirect(CONSOLE_PATH)


@never_cache
def sessions(request: HttpRequest) -> HttpResponseBase:
    """A person's browsers, and the end of all others, which goes on record."""
    response = list_usersessions(request)
    if request.method == "POST" and isinstance(request.user, User):
        with audit.acting_as(audit.person_actor(request, request.user)):
            record_of_person(request.user, "sessions.ended")
    return response
