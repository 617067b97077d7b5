"""Bearer key -> ``request.auth``, an ApiKey, whose tenant every query goes through."""

from typing import Any

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.keys import find_key, note_use
from accounts.limits import count_request
from accounts.models import ApiKey
from accounts.networks import client_address, is_within
from accounts.scopes import holds
from accounts.signatures import check_signature
from accounts.tenancy import act_for
from voicereel_site.errors import Refusal


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer vr_live_...``"""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationFailed("Send the key as `Authorization: Bearer vr_live_...`.")
        row = find_key(key.strip())
        if row is None:
            raise AuthenticationFailed(
                "This API key is unknown, mistyped, expired or revoked. Check that it was copied "
                "whole."
            )
        act_for(row.tenant_id)
        _refuse_other_networks(request._request, row)
        count_request(request._request, row.tenant)
        check_signature(request._request, row)
        note_use(row)
        return None, row

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="voicereel"'


def _refuse_other_networks(request: HttpRequest, row: ApiKey) -> None:
    if not row.networks:
        return
    address = client_address(request)
    if not is_within(address, row.networks):
        raise Refusal(
            "insufficient_scope",
            f"This key may not be used from {address or 'an unknown address'}, but only from "
            f"{', '.join(row.networks)}.",
            403,
        )


class HasApiKey(BasePermission):
    """Every route needs a key, and the key the scope that the view names for the method."""

    message = "Send an API key as `Authorization: Bearer vr_live_...`."

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, ApiKey):
            return False
        method = "GET" if request.method == "HEAD" else request.method
        # OPTIONS describes the route; what the view has no method for is a 405 anyway.
        if method == "OPTIONS" or not hasattr(view, str(method).lower()):
            return True
        scope = view.scopes[method]
        if not holds(request.auth.scopes, scope):
            raise Refusal(
                "insufficient_scope",
                f"This key lacks the scope {scope}. It holds: "
                f"{', '.join(request.auth.scopes) or 'none'}. Use a key that has it.",
                403,
            )
        return True


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """Names the scheme in the OpenAPI document."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "vr_live_... or vr_test_..."}
