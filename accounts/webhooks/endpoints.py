"""The addresses that customers want to be told at."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.encryption import encrypt
from accounts.lookup import find_row
from accounts.models import Tenant, WebhookEndpoint
from accounts.scopes import EVERYTHING
from accounts.stored_sentences import SWITCHED_OFF_BY_YOU
from accounts.webhooks.addresses import ForbiddenTarget, resolve_target
from voicereel_site.errors import FieldError, Refusal

MOST_ENDPOINTS = 20
_SECRET_BYTES = 32
_SECRET_OVERLAP = timedelta(hours=24)


class NewSecret(NamedTuple):
    """An endpoint and the secret that was made for it just now: ``whsec_`` and base64."""

    row: WebhookEndpoint
    secret: str


def _make_secret(row: WebhookEndpoint) -> str:
    """Give an endpoint a new secret, which signs alone until an earlier one is kept beside it."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    row.secret = encrypt(secret, row.pk)
    return f"whsec_{base64.b64encode(secret).decode()}"


def check_url(url: str) -> None:
    """Raises validation_error unless webhooks may go there. It asks the name servers."""
    try:
        resolve_target(url)
    except ForbiddenTarget as exc:
        detail = str(exc)
        raise Refusal("validation_error", detail, errors=[FieldError("/url", detail)]) from exc


def create_endpoint(
    tenant: Tenant, url: str, *, description: str, events: Sequence[str] | None
) -> NewSecret:
    """Make an endpoint whose URL was checked; events: None is all. Inside a transaction.

    Raises validation_error (409) if there are too many.
    """
    # Holding the tenant's row lets simultaneous requests in one by one.
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    if WebhookEndpoint.objects.for_tenant(tenant).count() >= MOST_ENDPOINTS:
        detail = _("An account may have %(most)s endpoints. Delete one first.")
        detail %= {"most": MOST_ENDPOINTS}
        raise Refusal("validation_error", detail, 409)
    row = WebhookEndpoint(
        tenant=tenant,
        url=url,
        description=description,
        events=[EVERYTHING] if events is None else sorted(set(events)),
    )
    secret = _make_secret(row)
    row.save(force_insert=True)
    audit.record(tenant.pk, "webhook_endpoint.created", row.pk, url=url)
    return NewSecret(row, secret)


def get_endpoint(tenant: Tenant, endpoint_id: str) -> WebhookEndpoint:
    """This tenant's endpoint. Raises not_found."""
    found: WebhookEndpoint = find_row(
        WebhookEndpoint.objects.for_tenant(tenant), endpoint_id, "endpoint"
    )
    return found


def update_endpoint(row: WebhookEndpoint, changes: Mapping[str, Any]) -> WebhookEndpoint:
    """Change url, description, events, or whether it is enabled. Raises validation_error."""
    changed = dict(changes)
    if "url" in changed:
        check_url(changed["url"])
    if "events" in changed:
        changed["events"] = sorted(set(changed["events"]))
    enabled = changed.pop("enabled", None)
    if enabled is True:
        changed |= {"disabled_at": None, "disabled_reason": "", "failing_since": None}
    elif enabled is False and row.disabled_at is None:
        changed |= {"disabled_at": timezone.now(), "disabled_reason": SWITCHED_OFF_BY_YOU}
    if changed:
        with transaction.atomic():
            WebhookEndpoint.objects.for_tenant(row.tenant_id).filter(pk=row.pk).update(**changed)
            audit.record(row.tenant_id, "webhook_endpoint.changed", row.pk, fields=sorted(changes))
    row.refresh_from_db()
    return row


def rotate_secret(row: WebhookEndpoint) -> NewSecret:
    """Make a new secret; both sign for a day, so that the receiver may change over in between."""
    with transaction.atomic():
        rows = WebhookEndpoint.objects.for_tenant(row.tenant_id).filter(pk=row.pk)
        row = rows.select_for_update().get()
        row.earlier_secret = row.secret
        row.earlier_secret_until = timezone.now() + _SECRET_OVERLAP
        secret = _make_secret(row)
        row.save(update_fields=["secret", "earlier_secret", "earlier_secret_until"])
        audit.record(row.tenant_id, "webhook_endpoint.secret_rotated", row.pk)
    return NewSecret(row, secret)


def delete_endpoint(row: WebhookEndpoint) -> None:
    """Forget an endpoint and all that was delivered to it."""
    with transaction.atomic():
        WebhookEndpoint.objects.for_tenant(row.tenant_id).filter(pk=row.pk).delete()
        audit.record(row.tenant_id, "webhook_endpoint.deleted", row.pk, url=row.url)
