"""The page of API keys: made, rotated and revoked; each is shown once."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import ValidationError

from accounts.keys import NewKey, create_key, get_key, revoke_key, rotate_key
from accounts.models import ApiKey
from accounts.people.pages import page
from accounts.scopes import Scope, holds
from accounts.serializers import CreateKeyRequest
from voicereel_site.errors import refusal_of, show_on_form

_KEYS_SHOWN = 100
_OVERLAP = timedelta(hours=24)
_DAYS = [
    ("", gettext_lazy("never")),
    ("30", gettext_lazy("in 30 days")),
    ("90", gettext_lazy("in 90 days")),
    ("365", gettext_lazy("in a year")),
]


class _Key(forms.Form):
    label = forms.CharField(
        label=gettext_lazy("What it is for"),
        max_length=200,
        help_text=gettext_lazy("Such as the program that uses it."),
    )
    mode = forms.ChoiceField(
        label=gettext_lazy("Kind"),
        choices=[
            ("live", gettext_lazy("live: speaks, and costs")),
            ("test", gettext_lazy("test: answers in tones, and costs nothing")),
        ],
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("What it may do"),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=gettext_lazy("Leave empty for all that you may do yourself."),
    )
    days = forms.ChoiceField(label=gettext_lazy("Expires"), choices=_DAYS, required=False)
    networks = forms.CharField(
        label=gettext_lazy("From where it may be used"),
        required=False,
        max_length=1_000,
        help_text=gettext_lazy("Networks such as 203.0.113.0/24, with commas. Empty: anywhere."),
    )
    require_signature = forms.BooleanField(
        label=gettext_lazy("Requests with it have to be signed"), required=False
    )

    def __init__(self, *args: Any, scopes: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scopes"].choices = [(scope, scope) for scope in scopes]


@page("GET", scope=Scope.KEYS_READ)
def key_list(request: HttpRequest) -> HttpResponseBase:
    return _key_list(request, _Key(scopes=request.member.scopes))


def _key_list(
    request: HttpRequest, form: _Key, *, made: NewKey | None = None, status: int = 200
) -> HttpResponse:
    """made: the key that is shown, this once."""
    now = timezone.now()
    rows = ApiKey.objects.for_tenant(request.member.tenant).order_by("-pk")[:_KEYS_SHOWN]
    context = {
        "keys": [(row, row.is_dead(now)) for row in rows],
        "form": form,
        "made": made,
        "here": request.build_absolute_uri("/").rstrip("/"),
        "may_write": holds(request.member.scopes, Scope.KEYS_WRITE),
    }
    return render(request, "pages/keys.html", context, status=status)


@page("POST", scope=Scope.KEYS_WRITE)
def new_key(request: HttpRequest) -> HttpResponseBase:
    form = _Key(request.POST, scopes=request.member.scopes)
    if not form.is_valid():
        return _key_list(request, form, status=422)
    asked = form.cleaned_data
    networks = [part.strip() for part in asked["networks"].split(",") if part.strip()]
    body = CreateKeyRequest(
        data={
            "label": asked["label"],
            "mode": asked["mode"],
            "require_signature": asked["require_signature"],
            **({"scopes": asked["scopes"]} if asked["scopes"] else {}),
            **({"networks": networks} if networks else {}),
        }
    )
    try:
        body.is_valid(raise_exception=True)
    except ValidationError as exc:
        show_on_form(form, refusal_of(exc).errors)
        return _key_list(request, form, status=422)
    checked = body.validated_data
    days = asked["days"]
    with transaction.atomic():
        made = create_key(
            request.member,
            label=checked["label"],
            live=checked["mode"] == "live",
            scopes=checked.get("scopes"),
            expires_at=timezone.now() + timedelta(days=int(days)) if days else None,
            networks=checked.get("networks"),
            require_signature=checked["require_signature"],
        )
    return _key_list(request, _Key(scopes=request.member.scopes), made=made)


@page("POST", scope=Scope.KEYS_WRITE)
def change_key(request: HttpRequest, key_id: str) -> HttpResponseBase:
    """End a key, or make the one that takes its place."""
    row = get_key(request.member.tenant, key_id)
    match request.POST.get("do"):
        case "rotate":
            made = rotate_key(request.member, row, _OVERLAP)
            return _key_list(request, _Key(scopes=request.member.scopes), made=made)
        case "revoke":
            revoke_key(row)
            messages.success(request, _("The key was revoked: it opens nothing any more."))
    return redirect("keys")
