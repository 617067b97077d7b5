"""The pages of people: home, their tenants, fellow members, invitations, the end of an impersonation."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.usersessions.views import list_usersessions
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
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
from accounts.tenancy import CONSOLE_PATH
from voicereel_site.errors import Refusal, method_not_allowed
from voicereel_site.shapes import NameText

_EVENTS_SHOWN = 100


def around_every_page(request: HttpRequest) -> dict[str, Any]:
    """For the frame of every page: whose it is, and whether an operator looks through it."""
    known = hasattr(request, "user") and request.user.is_authenticated
    return {
        "member": getattr(request, "member", None),
        "impersonation": impersonation_of(request) if known else None,
    }


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """A form without its token: another site's, or a page that was open for too long."""
    return render(request, "pages/forged.html", status=403)


View = Callable[..., HttpResponseBase]


def page(*methods: str, scope: str | None = None) -> Callable[[View], View]:
    """A page of a member's, who may see it; without a scope, of any person's who is logged in.

    methods: that it knows; GET stands for HEAD too.
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
                        require_scope(member, scope)
                    # What asks for nothing and changes something is about the operator's browser.
                    if impersonation is not None and (scope or request.method in ("GET", "HEAD")):
                        note_impersonated(request, member)
                return view(request, *args, **kwargs)
            except Refusal as refusal:
                context = {"refusal": refusal}
                return render(request, "pages/refused.html", context, status=refusal.status)

        @wraps(view)
        def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if ("GET" if request.method == "HEAD" else request.method) not in methods:
                return method_not_allowed(request, methods)
            return for_person(request, *args, **kwargs)

        shown.methods, shown.scope = methods, scope  # type: ignore[attr-defined]
        return shown

    return decorate


class _Organisation(forms.Form):
    """A new tenant. Names are checked as the API checks them."""

    name = forms.CharField(max_length=200, label="Name of your organisation")

    def clean_name(self) -> str:
        return _checked_name(self.cleaned_data["name"])


def _checked_name(name: str) -> str:
    try:
        return str(NameText(max_length=200).run_validation(name))
    except ValidationError as exc:
        raise forms.ValidationError([str(detail) for detail in exc.detail]) from exc


class _Invitation(forms.Form):
    email = forms.EmailField(max_length=254, label="E-mail address")
    role = forms.ChoiceField(choices=Role.choices, initial=Role.DEVELOPER)

    def clean_email(self) -> str:
        try:
            return normal_address(self.cleaned_data["email"])
        except ValueError as exc:
            raise forms.ValidationError(str(exc)) from exc

    def __init__(self, *args: Any, member: Member, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = _roles_to_give(member)


def _roles_to_give(member: Member) -> list[tuple[str, str]]:
    return [
        (role, label)
        for role, label in Role.choices
        if not beyond(member.scopes, ROLE_SCOPES[role])
    ]


@page("GET", "POST")
def home(request: HttpRequest) -> HttpResponseBase:
    """Where a person arrives: at their tenant, or at making one."""
    user, member = request.user, request.member
    form = _Organisation(request.POST or None)
    if request.method == "POST" and form.is_valid() and member is None:
        tenant = members.found_tenant(user, form.cleaned_data["name"])
        choose_tenant(request, tenant.pk)
        return redirect("home")
    context = {"form": form, "memberships": memberships_of(user.pk)}
    if member is not None:
        context["may_read_audit"] = holds(member.scopes, Scope.AUDIT_READ)
    return render(request, "pages/home.html", context)


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
    messages.success(request, f"{row.email} was invited.")
    return redirect("members")


@page("POST", scope=Scope.MEMBERS_WRITE)
def change_member(request: HttpRequest, member_id: str) -> HttpResponseBase:
    """Give a member another role, or remove them."""
    row = members.get_member(request.member.tenant, member_id)
    if request.POST.get("remove"):
        members.remove_member(request.member, row)
        messages.success(request, f"{row.user.email} is no member any more.")
    elif request.POST.get("role") in Role.values:
        members.change_role(request.member, row, request.POST["role"])
        messages.success(request, f"{row.user.email} is {request.POST['role']} now.")
    return redirect("members")


@page("POST", scope=Scope.MEMBERS_WRITE)
def withdraw(request: HttpRequest, invitation_id: str) -> HttpResponseBase:
    members.withdraw_invitation(request.member.tenant, invitation_id)
    messages.success(request, "The invitation was withdrawn.")
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
