"""Delivering messages: again and again for a day, each attempt written down."""

import random
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts import stored_sentences as stored
from accounts.encryption import decrypt
from accounts.lookup import find_row
from accounts.mail import send_mail
from accounts.models import Tenant, TenantQuerySet, WebhookDelivery, WebhookEndpoint
from accounts.outbox import ask_again_for_task, ask_for_task
from accounts.people.members import addresses_of
from accounts.scopes import Role
from accounts.webhooks.events import DELIVER_TASK, TRIED_FOR
from accounts.webhooks.sending import Outcome, send
from voicereel_site.errors import Refusal
from voicereel_site.metrics import WEBHOOK_ATTEMPTS

log = structlog.get_logger(__name__)

# Whoever delivers a message holds it so long, which is longer than an attempt may take.
_HOLD = timedelta(minutes=1)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=5), timedelta(hours=1)
_DISABLED_AFTER = timedelta(days=5)  # of nothing but failures
KEPT = timedelta(days=30)
_ATTEMPTS_SHOWN = 30  # more than a day holds
_SWEPT_AT_A_TIME = 200


def deliver(tenant_id: str, delivery_id: str) -> None:
    """Make the attempt that is due, and ask for the next one if it fails."""
    now = timezone.now()
    rows = WebhookDelivery.objects.for_tenant(tenant_id).filter(
        pk=delivery_id, status=WebhookDelivery.Status.PENDING
    )
    # Two workers do not deliver it at the same time.
    if not rows.filter(next_attempt_at__lte=now).update(
        next_attempt_at=now + _HOLD, attempt_count=F("attempt_count") + 1
    ):
        return
    delivery = rows.select_related("endpoint").first()
    if delivery is None:
        return  # deleted meanwhile, with its endpoint
    endpoint = delivery.endpoint
    if endpoint.disabled_at is not None:
        outcome = Outcome(None, stored.SWITCHED_OFF, 0)
        _record(delivery, outcome, timezone.now(), final=True)
        return
    outcome = send(endpoint.url, delivery.pk, delivery.body.encode(), _secrets(endpoint))
    _record(delivery, outcome, timezone.now(), final=False)


def _secrets(endpoint: WebhookEndpoint) -> list[bytes]:
    secrets = [decrypt(bytes(endpoint.secret), endpoint.pk)]
    until = endpoint.earlier_secret_until
    if endpoint.earlier_secret and until is not None and until > timezone.now():
        secrets.append(decrypt(bytes(endpoint.earlier_secret), endpoint.pk))
    return secrets


def _wait(attempts: int) -> timedelta:
    """Before the next attempt: three times as long each time, and not all at the same moment."""
    wait = min(_FIRST_WAIT * 3 ** min(attempts - 1, 10), _LONGEST_WAIT)
    return wait * random.uniform(0.9, 1.1)


def _record(delivery: WebhookDelivery, outcome: Outcome, now: datetime, *, final: bool) -> None:
    """Write down what came of an attempt."""
    shown = {
        "at": now.isoformat().replace("+00:00", "Z"),
        "status": outcome.status,
        "error": outcome.error or None,
        "duration_ms": outcome.duration_ms,
    }
    wait = _wait(delivery.attempt_count)
    final = final or now + wait > delivery.give_up_at
    delivery.attempts = [*delivery.attempts, shown][-_ATTEMPTS_SHOWN:]
    if outcome.taken:
        delivery.status, delivery.delivered_at = WebhookDelivery.Status.DELIVERED, now
    elif final:
        delivery.status = WebhookDelivery.Status.FAILED
    pending = delivery.status == WebhookDelivery.Status.PENDING
    delivery.next_attempt_at = now + wait if pending else None
    with transaction.atomic():
        delivery.save(update_fields=["attempts", "status", "delivered_at", "next_attempt_at"])
        if pending:
            ask_for_task(DELIVER_TASK, delivery, after=wait)
        _judge(delivery.endpoint, outcome, now)
    WEBHOOK_ATTEMPTS.labels("taken" if outcome.taken else "refused").inc()
    log.info(
        "webhook.attempt",
        delivery_id=delivery.pk,
        endpoint_id=delivery.endpoint_id,
        status=outcome.status,
        taken=outcome.taken,
        attempt=delivery.attempt_count,
    )


def _judge(endpoint: WebhookEndpoint, outcome: Outcome, now: datetime) -> None:
    """Switch an endpoint off that has taken nothing for days, or says that it is gone."""
    row = WebhookEndpoint.objects.for_tenant(endpoint.tenant_id).filter(
        pk=endpoint.pk, disabled_at=None
    )
    if outcome.taken:
        row.exclude(failing_since=None).update(failing_since=None)
        return
    row.filter(failing_since=None).update(failing_since=now)
    reason = ""
    if outcome.status == 410:
        reason = stored.GONE
    elif endpoint.failing_since is not None and endpoint.failing_since < now - _DISABLED_AFTER:
        reason = stored.TOOK_NOTHING % {"days": _DISABLED_AFTER.days, "error": outcome.error}
    if reason and row.update(disabled_at=now, disabled_reason=reason[:300]):
        audit.record(endpoint.tenant_id, "webhook_endpoint.disabled", endpoint.pk, reason=reason)
        to = addresses_of(endpoint.tenant_id, Role.OWNER, Role.ADMIN, Role.DEVELOPER)
        send_mail(
            to,
            "webhook_disabled",
            of_tenant=endpoint.tenant_id,
            endpoint=endpoint,
            reason=reason,
        )
        log.warning("webhook.disabled", endpoint_id=endpoint.pk, reason=reason)


def list_deliveries(endpoint: WebhookEndpoint) -> TenantQuerySet:
    """An endpoint's deliveries."""
    return WebhookDelivery.objects.for_tenant(endpoint.tenant_id).filter(endpoint=endpoint)


def get_delivery(tenant: Tenant, delivery_id: str) -> WebhookDelivery:
    """This tenant's delivery. Raises not_found."""
    rows = WebhookDelivery.objects.for_tenant(tenant).select_related("endpoint")
    found: WebhookDelivery = find_row(rows, delivery_id, "delivery")
    return found


def replay(delivery: WebhookDelivery) -> WebhookDelivery:
    """Deliver a message again, for another day if need be, under the same id.

    Raises validation_error (409) if its endpoint is switched off.
    """
    if delivery.endpoint.disabled_at is not None:
        detail = _("The endpoint is switched off. Switch it on first.")
        raise Refusal("validation_error", detail, 409)
    now = timezone.now()
    with transaction.atomic():
        rows = WebhookDelivery.objects.for_tenant(delivery.tenant_id).filter(pk=delivery.pk)
        rows.update(
            status=WebhookDelivery.Status.PENDING,
            next_attempt_at=now,
            give_up_at=now + TRIED_FOR,
            attempt_count=0,
            delivered_at=None,
        )
        ask_for_task(DELIVER_TASK, delivery)
    delivery.refresh_from_db()
    return delivery


def sweep_deliveries() -> None:
    """Ask again for attempts that nobody made: their message or their worker was lost."""
    lost = timezone.now() - _HOLD
    waiting = WebhookDelivery.objects.filter(
        status=WebhookDelivery.Status.PENDING, next_attempt_at__lt=lost
    )
    ask_again_for_task(
        DELIVER_TASK, waiting.only("pk", "tenant_id").order_by("next_attempt_at")[:_SWEPT_AT_A_TIME]
    )


def forget_deliveries() -> None:
    """Forget messages of long ago."""
    WebhookDelivery.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
