"""What can be told: the types of events, and telling of one in the transaction that makes it true."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet, TextChoices
from django.utils import timezone

from accounts.models import WebhookDelivery, WebhookEndpoint
from accounts.outbox import ask_for_task
from accounts.prepared import prepared
from accounts.scopes import EVERYTHING
from voicereel_site.shapes import as_json

DELIVER_TASK = "accounts.deliver_webhook"
TRIED_FOR = timedelta(days=1)


class Event(TextChoices):
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    SPEAKER_READY = "speaker.ready"
    SPEAKER_FAILED = "speaker.failed"
    USAGE_THRESHOLD_REACHED = "usage.threshold_reached"
    INVOICE_FINALIZED = "invoice.finalized"


@prepared
def _enabled(tenant_id: str) -> QuerySet:
    return WebhookEndpoint.objects.for_tenant(tenant_id).filter(disabled_at=None)


def tell(tenant_id: str, event: str, data: Callable[[], Mapping[str, Any]]) -> None:
    """Have an event delivered to each of a tenant's endpoints that wants it. Inside a transaction.

    data: makes what happened to what, if anybody wants to know; without links, which would have expired
    on a later attempt.
    """
    now = timezone.now()
    endpoints = [row for row in _enabled(tenant_id) if {EVERYTHING, event} & set(row.events)]
    if not endpoints:
        return
    body = as_json({"type": event, "timestamp": now, "data": data()}).decode()
    for endpoint in endpoints:
        delivery = WebhookDelivery.objects.create(
            tenant_id=tenant_id,
            endpoint=endpoint,
            event=event,
            body=body,
            next_attempt_at=now,
            give_up_at=now + TRIED_FOR,
        )
        ask_for_task(DELIVER_TASK, delivery)
