"""The pages of webhook endpoints: where they go, what was delivered, and sending it again."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import ValidationError

from accounts.models import WebhookEndpoint
from accounts.people.pages import page
from accounts.scopes import EVERYTHING, Scope, holds
from accounts.webhooks.deliveries import get_delivery, list_deliveries, replay
from accounts.webhooks.endpoints import (
    NewSecret,
    check_url,
    create_endpoint,
    delete_endpoint,
    get_endpoint,
    rotate_secret,
    update_endpoint,
)
from accounts.webhooks.events import Event
from accounts.webhooks.serializers import CreateWebhookEndpointRequest
from voicereel_site.errors import Refusal

_DELIVERIES_SHOWN = 50


class _Endpoint(forms.Form):
    """A new endpoint; what the API refuses, this does."""

    url = forms.CharField(max_length=2_000, label=gettext_lazy("Address (https)"))
    description = forms.CharField(
        label=gettext_lazy("What it is for"), max_length=200, required=False
    )
    events = forms.MultipleChoiceField(
        label=gettext_lazy("Events"),
        choices=[(value, value) for value in (*Event.values, EVERYTHING)],
        initial=[EVERYTHING],
        help_text=gettext_lazy("* is all, those that come later too."),
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        asked = CreateWebhookEndpointRequest(data=cleaned)
        try:
            asked.is_valid(raise_exception=True)
            check_url(asked.validated_data["url"])
        except ValidationError as exc:
            for name, details in exc.detail.items():
                self.add_error(name if name in self.fields else None, [str(one) for one in details])
        except Refusal as refusal:
            self.add_error("url", refusal.detail)
        return cleaned


@page("GET", scope=Scope.WEBHOOKS_READ)
def endpoint_list(request: HttpRequest) -> HttpResponseBase:
    return _endpoint_list(request, _Endpoint())


def _endpoint_list(
    request: HttpRequest, form: _Endpoint, *, made: NewSecret | None = None, status: int = 200
) -> HttpResponse:
    """made: whose secret is shown, this once."""
    rows = WebhookEndpoint.objects.for_tenant(request.member.tenant).order_by("-pk")
    context = {
        "rows": rows,
        "form": form,
        "made": made,
        "may_write": holds(request.member.scopes, Scope.WEBHOOKS_WRITE),
    }
    return render(request, "pages/webhooks.html", context, status=status)


@page("POST", scope=Scope.WEBHOOKS_WRITE)
def create(request: HttpRequest) -> HttpResponseBase:
    form = _Endpoint(request.POST)
    if not form.is_valid():
        return _endpoint_list(request, form, status=422)
    asked = form.cleaned_data
    with transaction.atomic():
        made = create_endpoint(
            request.member.tenant,
            asked["url"],
            description=asked["description"],
            events=asked["events"],
        )
    return _endpoint_list(request, _Endpoint(), made=made)


@page("GET", scope=Scope.WEBHOOKS_READ)
def endpoint(request: HttpRequest, endpoint_id: str) -> HttpResponseBase:
    """One endpoint, with what was sent to it."""
    row = get_endpoint(request.member.tenant, endpoint_id)
    context = {
        "row": row,
        "deliveries": list_deliveries(row).order_by("-pk")[:_DELIVERIES_SHOWN],
        "may_write": holds(request.member.scopes, Scope.WEBHOOKS_WRITE),
    }
    return render(request, "pages/webhook.html", context)


@page("POST", scope=Scope.WEBHOOKS_WRITE)
def change(request: HttpRequest, endpoint_id: str) -> HttpResponseBase:
    """Switch an endpoint off or on, make a new secret, or forget it."""
    row = get_endpoint(request.member.tenant, endpoint_id)
    match request.POST.get("do"):
        case "enable" | "disable" as what:
            update_endpoint(row, {"enabled": what == "enable"})
        case "rotate":
            return _endpoint_list(request, _Endpoint(), made=rotate_secret(row))
        case "delete":
            delete_endpoint(row)
            messages.success(request, _("%(url)s was forgotten.") % {"url": row.url})
            return redirect("webhooks")
    return redirect("webhook", endpoint_id)


@page("POST", scope=Scope.WEBHOOKS_WRITE)
def send_again(request: HttpRequest, delivery_id: str) -> HttpResponseBase:
    delivery = replay(get_delivery(request.member.tenant, delivery_id))
    messages.success(request, _("%(delivery)s is being sent again.") % {"delivery": delivery.pk})
    return redirect("webhook", delivery.endpoint_id)
