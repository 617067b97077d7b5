"""/v1/keys, /v1/audit-events"""

from collections.abc import Callable
from datetime import timedelta

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts import idempotency
from accounts.idempotency import body_fingerprint, fingerprint_of, once, once_with_secrets
from accounts.keys import NewKey, create_key, get_key, revoke_key, rotate_key
from accounts.models import ApiKey, AuditEvent
from accounts.scopes import Scope
from accounts.serializers import (
    AuditEventPage,
    AuditEventQuery,
    AuditEventResponse,
    CreateKeyRequest,
    KeyPage,
    KeyResponse,
    NewKeyResponse,
    RotateKeyRequest,
)
from voicereel_site.answers import Response
from voicereel_site.pagination import PageQuery, page
from voicereel_site.views import ApiView


class KeyListView(ApiView):
    """GET and POST /v1/keys"""

    scopes = {"GET": Scope.KEYS_READ, "POST": Scope.KEYS_WRITE}

    @extend_schema(operation_id="listKeys", parameters=[PageQuery], responses={200: KeyPage})
    def get(self, request: Request) -> Response:
        """List your API keys, newest first, those that work no more too."""
        query = PageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        rows = ApiKey.objects.for_tenant(request.auth.tenant)
        return Response(page(rows, query.validated_data, lambda row: KeyResponse(row).data))

    @extend_schema(
        operation_id="createKey",
        parameters=[idempotency.PARAMETER],
        request=CreateKeyRequest,
        responses={201: NewKeyResponse},
    )
    def post(self, request: Request) -> Response:
        """Make an API key with no more power than the one you use. It is shown this once."""
        body = CreateKeyRequest(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        return _made_once(
            request,
            "POST /v1/keys",
            lambda: create_key(
                request.auth,
                label=asked["label"],
                live=asked["mode"] == "live",
                scopes=asked.get("scopes"),
                expires_at=asked.get("expires_at"),
                networks=asked.get("networks"),
                require_signature=asked["require_signature"],
            ),
        )


class KeyView(ApiView):
    """GET /v1/keys/{id}"""

    scopes = {"GET": Scope.KEYS_READ}

    @extend_schema(operation_id="getKey", responses={200: KeyResponse})
    def get(self, request: Request, key_id: str) -> Response:
        """One API key: what it may do, and when it was last used."""
        return Response(KeyResponse(get_key(request.auth.tenant, key_id)).data)


class RevokeKeyView(ApiView):
    """POST /v1/keys/{id}/revoke"""

    scopes = {"POST": Scope.KEYS_WRITE}

    @extend_schema(
        operation_id="revokeKey",
        parameters=[idempotency.PARAMETER],
        request=None,
        responses={200: KeyResponse},
    )
    def post(self, request: Request, key_id: str) -> Response:
        """Revoke an API key. From the next request on it opens nothing; it stays in the list."""
        route = f"POST /v1/keys/{key_id}/revoke"
        row = get_key(request.auth.tenant, key_id)
        return once(
            request,
            route,
            fingerprint_of(None),
            lambda: Response(KeyResponse(revoke_key(row)).data),
        )


class RotateKeyView(ApiView):
    """POST /v1/keys/{id}/rotate"""

    scopes = {"POST": Scope.KEYS_WRITE}

    @extend_schema(
        operation_id="rotateKey",
        parameters=[idempotency.PARAMETER],
        request=RotateKeyRequest,
        responses={201: NewKeyResponse},
    )
    def post(self, request: Request, key_id: str) -> Response:
        """Make a key like this one, which goes on working for a while and then expires."""
        row = get_key(request.auth.tenant, key_id)
        body = RotateKeyRequest(data=request.data)
        body.is_valid(raise_exception=True)
        overlap = timedelta(hours=body.validated_data["overlap_hours"])
        return _made_once(
            request,
            f"POST /v1/keys/{key_id}/rotate",
            lambda: rotate_key(request.auth, row, overlap),
        )


class AuditEventListView(ApiView):
    """GET /v1/audit-events"""

    scopes = {"GET": Scope.AUDIT_READ}

    @extend_schema(
        operation_id="listAuditEvents",
        parameters=[AuditEventQuery],
        responses={200: AuditEventPage},
    )
    def get(self, request: Request) -> Response:
        """List who did what in your account, newest first. Nobody can change or remove an event."""
        query = AuditEventQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        rows = AuditEvent.objects.for_tenant(request.auth.tenant)
        if action := query.validated_data.get("action"):
            rows = rows.filter(action=action)
        return Response(page(rows, query.validated_data, lambda row: AuditEventResponse(row).data))


def _made_once(request: Request, route: str, make: Callable[[], NewKey]) -> Response:
    """The answer with the new key in it, once."""

    def work() -> tuple[Response, dict[str, str | None]]:
        new = make()
        headers = {"Location": f"/v1/keys/{new.row.pk}"}
        response = Response(KeyResponse(new.row).data, status=201, headers=headers)
        return response, {"key": new.key, "signing_secret": new.signing_secret}

    return once_with_secrets(request, route, body_fingerprint(request), work)
