"""The shapes of members and invitations in the API."""

from typing import Any

from rest_framework import serializers

from accounts.people.addresses import LONGEST, normal_address
from accounts.scopes import Role
from voicereel_site.shapes import StrictSerializer


class _AddressField(serializers.EmailField):
    """An address that mail can be sent to, in lower case."""

    def to_internal_value(self, data: Any) -> str:
        try:
            return normal_address(super().to_internal_value(data))
        except ValueError as exc:
            raise serializers.ValidationError(str(exc)) from exc


class ChangeMemberRequest(StrictSerializer):
    """PATCH /v1/members/{id}"""

    role = serializers.ChoiceField(Role.values)


class InviteRequest(StrictSerializer):
    """POST /v1/invitations"""

    email = _AddressField(max_length=LONGEST)
    role = serializers.ChoiceField(Role.values)


class MemberResponse(serializers.Serializer):
    """A person of an account."""

    id = serializers.CharField()
    name = serializers.CharField(source="user.name")
    email = serializers.EmailField(source="user.email")
    role = serializers.ChoiceField(Role.values)
    second_factor = serializers.BooleanField(
        source="has_second_factor", help_text="whether they log in with one"
    )
    joined_at = serializers.DateTimeField()
    last_login_at = serializers.DateTimeField(source="user.last_login", allow_null=True)


class MemberPage(serializers.Serializer):
    data = MemberResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class InvitationResponse(serializers.Serializer):
    """A person who may join."""

    id = serializers.CharField()
    email = serializers.EmailField()
    role = serializers.ChoiceField(Role.values)
    invited_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class InvitationPage(serializers.Serializer):
    data = InvitationResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
