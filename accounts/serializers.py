"""The shapes of API keys and of the audit log in the API."""

import ipaddress
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from accounts.models import ApiKey, AuditEvent
from accounts.scopes import EVERYTHING, Scope
from voicereel_site.pagination import PageQuery
from voicereel_site.shapes import BoundedList, NameText, StrictSerializer

MODES = ["live", "test"]
SCOPES = [*Scope.values, EVERYTHING]
LONGEST_OVERLAP_HOURS = 7 * 24
MOST_NETWORKS = 20
_IPV4_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class _NetworkField(serializers.CharField):
    """An IPv4 or IPv6 network in CIDR notation; a lone address is a network of one."""

    def to_internal_value(self, data: Any) -> str:
        text: str = super().to_internal_value(data)
        try:
            network = ipaddress.ip_network(text)
            if network.version == 6 and network.subnet_of(_IPV4_MAPPED):
                raise serializers.ValidationError(_("Write it as an IPv4 network."))
            return str(network)
        except ValueError as exc:
            try:
                meant = {"network": ipaddress.ip_network(text, strict=False)}
                detail = _("This is no network. Did you mean %(network)s?") % meant
            except ValueError:
                detail = _("This is no network. Write it as 203.0.113.0/24 or 2001:db8::/32.")
            raise serializers.ValidationError(detail) from exc


class CreateKeyRequest(StrictSerializer):
    """POST /v1/keys"""

    label = NameText(max_length=200, required=False, allow_blank=True, default="")
    mode = serializers.ChoiceField(MODES, required=False, default="live")
    scopes = BoundedList(
        child=serializers.ChoiceField(SCOPES),
        min_length=1,
        max_length=len(SCOPES),
        required=False,
        help_text="What the key may do; * is everything. Not given: what the key that asks may do.",
    )
    expires_at = serializers.DateTimeField(
        required=False,
        help_text="When it stops working. Not given: when the key that asks does, or never.",
    )

    networks = BoundedList(
        child=_NetworkField(max_length=50),
        max_length=MOST_NETWORKS,
        required=False,
        help_text="From where it may be used, in CIDR notation such as 203.0.113.0/24; empty: from "
        "anywhere. Not given: as the key that asks.",
    )
    require_signature = serializers.BooleanField(
        required=False,
        default=False,
        help_text="Have every request with the key signed (RFC 9421); the answer has the secret.",
    )


class RotateKeyRequest(StrictSerializer):
    """POST /v1/keys/{id}/rotate"""

    overlap_hours = serializers.IntegerField(
        min_value=0,
        max_value=LONGEST_OVERLAP_HOURS,
        required=False,
        default=24,
        help_text="How long the old key goes on working beside the new one.",
    )


class KeyResponse(serializers.Serializer):
    """A key as the API shows it."""

    id = serializers.CharField()
    label = serializers.CharField()
    prefix = serializers.CharField(help_text="how the key begins, to recognise it by")
    mode = serializers.ChoiceField(MODES)
    scopes = serializers.ListField(child=serializers.ChoiceField(SCOPES))
    networks = serializers.ListField(
        child=serializers.CharField(), help_text="from where it may be used; none: from anywhere"
    )
    require_signature = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="to the minute")
    replaced_by = serializers.CharField(
        source="replaced_by_id", allow_null=True, help_text="the key that took its place"
    )

    def to_representation(self, row: ApiKey) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(row)
        shown["replaced_by"] = shown["replaced_by"] or None
        return shown


class NewKeyResponse(KeyResponse):
    """A key that was made just now."""

    key = serializers.CharField(
        allow_null=True,
        help_text="The key itself: shown this once. null when an Idempotency-Key repeats; then "
        "revoke this key and make another.",
    )
    signing_secret = serializers.CharField(
        allow_null=True, help_text="32 bytes in base64, shown this once, if it requires signatures"
    )


class KeyPage(serializers.Serializer):
    data = KeyResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class AuditEventQuery(PageQuery):
    """The query parameters of GET /v1/audit-events"""

    action = serializers.RegexField(
        r"^[a-z_.]{1,60}\Z",
        required=False,
        help_text="only events of this kind, such as key.created",
    )


class AuditActor(serializers.Serializer):
    """Who did it."""

    kind = serializers.ChoiceField(AuditEvent.Actor.values, source="actor_kind")
    id = serializers.CharField(source="actor_id", allow_null=True)
    name = serializers.CharField(
        source="actor_name", allow_null=True, help_text="a person's address, a key's label"
    )
    in_place_of = serializers.CharField(
        allow_null=True, help_text="the member, where an operator of ours impersonated one"
    )
    address = serializers.CharField(allow_null=True, help_text="from which IP address")

    def to_representation(self, row: AuditEvent) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(row)
        return {name: value or None for name, value in shown.items()}


class AuditEventResponse(serializers.Serializer):
    """One thing that somebody did."""

    id = serializers.CharField()
    at = serializers.DateTimeField()
    action = serializers.CharField(help_text="what it was done to, and what: key.created")
    actor = AuditActor(source="*")
    target = serializers.CharField(help_text="the id, or the address, of what it was done to")
    details = serializers.DictField()
    request_id = serializers.CharField(allow_null=True)

    def to_representation(self, row: AuditEvent) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(row)
        shown["request_id"] = shown["request_id"] or None
        return shown


class AuditEventPage(serializers.Serializer):
    data = AuditEventResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
