"""What beat has done for all apps: tidying up."""

from celery import shared_task
from django.utils import timezone

from accounts import idempotency, scratch, signatures
from accounts.models import IdempotentReply, UsedNonce
from accounts.tenancy import acting_for
from accounts.webhooks import deliveries
from accounts.webhooks.events import DELIVER_TASK


@shared_task(name="accounts.forget_replies")
def forget_replies() -> None:
    """Forget answers that a repeated Idempotency-Key would no longer get."""
    IdempotentReply.objects.filter(created_at__lt=timezone.now() - idempotency.KEPT).delete()


@shared_task(name="accounts.forget_nonces")
def forget_nonces() -> None:
    """Forget nonces whose signatures are too old to be taken again."""
    UsedNonce.objects.filter(used_at__lt=timezone.now() - signatures.NONCES_KEPT).delete()


@shared_task(name=DELIVER_TASK)
def deliver_webhook(tenant_id: str, delivery_id: str) -> None:
    """Make the attempt to deliver a message that is due."""
    with acting_for(tenant_id):
        deliveries.deliver(tenant_id, delivery_id)


@shared_task(name="accounts.sweep_deliveries")
def sweep_deliveries() -> None:
    """Ask again for attempts to deliver webhooks that nobody made."""
    deliveries.sweep_deliveries()


@shared_task(name="accounts.forget_deliveries")
def forget_deliveries() -> None:
    """Forget what was delivered to webhooks long ago."""
    deliveries.forget_deliveries()


@shared_task(name="accounts.sweep_scratch")
def sweep_scratch() -> None:
    """Remove the scratch files of processes that were killed."""
    scratch.sweep_scratch()
