"""Bearer key -> ``request.auth``, an ApiKey, whose tenant every query goes through."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.keys import find_key
from accounts.models import ApiKey


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
                "This API key is unknown, mistyped or revoked. Check that it was copied whole."
            )
        return None, row

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="voicereel"'


class HasApiKey(BasePermission):
    """Every route needs a key."""

    message = "Send an API key as `Authorization: Bearer vr_live_...`."

    def has_permission(self, request: Request, view: object) -> bool:
        return isinstance(request.auth, ApiKey)


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """Names the scheme in the OpenAPI document."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "vr_live_... or vr_test_..."}
