"""The shapes of webhook endpoints and deliveries in the API."""

import json
from typing import Any

from rest_framework import serializers

from accounts.models import WebhookDelivery, WebhookEndpoint
from accounts.scopes import EVERYTHING
from accounts.webhooks.events import Event
from voicereel_site.shapes import BoundedList, EncodableText, NameText, StrictSerializer
from voicereel_site.stored_text import translated

EVENTS = [*Event.values, EVERYTHING]
_EVENTS_HELP = "Which events it wants to be told of; * is all, those that come later too."


class CreateWebhookEndpointRequest(StrictSerializer):
    """POST /v1/webhook-endpoints"""

    url = EncodableText(
        max_length=2_000, help_text="An https address of yours, on port 443 or 8443."
    )
    description = NameText(max_length=200, required=False, allow_blank=True, default="")
    events = BoundedList(
        child=serializers.ChoiceField(EVENTS),
        min_length=1,
        max_length=len(EVENTS),
        required=False,
        help_text=f"{_EVENTS_HELP} Not given: all.",
    )


class UpdateWebhookEndpointRequest(StrictSerializer):
    """PATCH /v1/webhook-endpoints/{id}"""

    url = EncodableText(max_length=2_000, required=False)
    description = NameText(max_length=200, required=False, allow_blank=True)
    events = BoundedList(
        child=serializers.ChoiceField(EVENTS),
        min_length=1,
        max_length=len(EVENTS),
        required=False,
        help_text=_EVENTS_HELP,
    )
    enabled = serializers.BooleanField(
        required=False, help_text="false: nothing is sent to it; true: from the next event on."
    )


class WebhookEndpointResponse(serializers.Serializer):
    """An endpoint as the API shows it."""

    id = serializers.CharField()
    url = serializers.CharField()
    description = serializers.CharField()
    events = serializers.ListField(child=serializers.ChoiceField(EVENTS))
    enabled = serializers.BooleanField()
    disabled_reason = serializers.CharField(
        allow_null=True, help_text="why it is switched off, if it is"
    )
    failing_since = serializers.DateTimeField(
        allow_null=True,
        help_text="every attempt since has failed; after five days it is switched off",
    )
    created_at = serializers.DateTimeField()

    def to_representation(self, row: WebhookEndpoint) -> dict[str, Any]:
        row.enabled = row.disabled_at is None
        shown: dict[str, Any] = super().to_representation(row)
        shown["disabled_reason"] = translated(shown["disabled_reason"]) or None
        return shown


class NewWebhookEndpointResponse(WebhookEndpointResponse):
    """An endpoint with a secret that was made just now."""

    secret = serializers.CharField(
        allow_null=True,
        help_text="What its messages are signed with: shown this once. null when an Idempotency-Key "
        "repeats; then rotate it.",
    )


class WebhookEndpointPage(serializers.Serializer):
    data = WebhookEndpointResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class DeliveryAttempt(serializers.Serializer):
    at = serializers.DateTimeField()
    status = serializers.IntegerField(allow_null=True, help_text="HTTP's, if there was an answer")
    error = serializers.CharField(allow_null=True)
    duration_ms = serializers.IntegerField()


class WebhookDeliveryResponse(serializers.Serializer):
    """A message to an endpoint, and every attempt to deliver it."""

    id = serializers.CharField(help_text="the webhook-id, the same in every attempt")
    endpoint_id = serializers.CharField()
    event = serializers.ChoiceField(Event.choices)
    status = serializers.ChoiceField(WebhookDelivery.Status.choices)
    created_at = serializers.DateTimeField()
    delivered_at = serializers.DateTimeField(allow_null=True)
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    attempts = DeliveryAttempt(many=True)
    message = serializers.DictField(help_text="what is sent: type, timestamp, data")

    def to_representation(self, row: WebhookDelivery) -> dict[str, Any]:
        row.message = json.loads(row.body)
        shown: dict[str, Any] = super().to_representation(row)
        for attempt in shown["attempts"]:
            attempt["error"] = attempt["error"] and translated(attempt["error"])
        return shown


class WebhookDeliveryPage(serializers.Serializer):
    data = WebhookDeliveryResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
