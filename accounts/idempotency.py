"""``Idempotency-Key``: the same POST twice does its work once and gets the same answer."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from accounts.models import IdempotentReply
from voicereel_site.answers import Response
from voicereel_site.errors import Refusal
from voicereel_site.shapes import as_json

KEPT = timedelta(hours=24)  # as Stripe keeps them

PARAMETER = OpenApiParameter(
    "Idempotency-Key",
    # 1 to 255 printable ASCII characters; HTTP takes spaces at the ends away.
    {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
    OpenApiParameter.HEADER,
    description="Makes a repeated request return the first one's answer, for 24 hours.",
)


def fingerprint_of(request_body: Any) -> str:
    """SHA-256 over a request's meaning: JSON with sorted keys."""
    text = json.dumps(request_body, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def body_fingerprint(request: Request) -> str:
    """That of a request's body; "" where it comes without a key, and nobody will compare."""
    return "" if _key(request) is None else fingerprint_of(request.data)


def earlier_reply(request: Request, route: str, fingerprint: str) -> Response | None:
    """The answer this key already got, if any.

    Raises idempotency_key_reuse if the key was used for something else.
    """
    key = _key(request)
    if key is None:
        return None
    row = IdempotentReply.objects.for_tenant(request.auth.tenant).filter(key=key).first()
    if row is None:
        return None
    if row.created_at < timezone.now() - KEPT:
        row.delete()
        return None
    if (row.route, row.fingerprint) != (route, fingerprint):
        raise Refusal(
            "idempotency_key_reuse",
            _("This Idempotency-Key was used for a different request. Use a new key for new work."),
        )
    return Response(
        json.loads(row.body),
        status=row.status,
        headers=row.headers | {"Idempotent-Replayed": "true"},
    )


def once(request: Request, route: str, fingerprint: str, work: Callable[[], Response]) -> Response:
    """Run ``work`` and keep its answer, in one transaction, unless this key has an answer.

    ``work`` runs inside a transaction: database work only. A refusal rolls all of it back, so the
    key stays free for the corrected request.
    """
    key = _key(request)
    if key is None:
        with transaction.atomic():
            return work()
    if reply := earlier_reply(request, route, fingerprint):
        return reply
    tenant = request.auth.tenant
    try:
        with transaction.atomic():
            # On PostgreSQL a second request with the key waits here until the first commits.
            row = IdempotentReply.objects.create(
                tenant=tenant, key=key, route=route, fingerprint=fingerprint
            )
            response = work()
            row.status, row.body = response.status_code, as_json(response.data).decode()
            row.headers = {
                name: value for name, value in response.headers.items() if name == "Location"
            }
            row.save(update_fields=["status", "body", "headers"])
    except IntegrityError:
        if reply := earlier_reply(request, route, fingerprint):
            return reply
        raise
    return response


def once_with_secrets(
    request: Request,
    route: str,
    fingerprint: str,
    work: Callable[[], tuple[Response, dict[str, str | None]]],
) -> Response:
    """As ``once``, for work that makes secrets, which it returns beside its answer, by field.

    They are in the answer to the request that made them. In what is kept for a repeated one they are
    null: no secret stands in the database.
    """
    made: dict[str, str | None] = {}

    def without_secrets() -> Response:
        response, secrets = work()
        made.update(secrets)
        response.data = {**response.data, **dict.fromkeys(secrets)}
        return response

    response = once(request, route, fingerprint, without_secrets)
    if "Idempotent-Replayed" not in response.headers:
        response.data |= made
    response.headers["Cache-Control"] = "no-store"
    return response


def _key(request: Request) -> str | None:
    key: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is not None and not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise Refusal(
            "validation_error",
            _("An Idempotency-Key has 1 to 255 printable ASCII characters."),
            400,
        )
    return key
