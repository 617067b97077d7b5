"""What beat has done for all apps: tidying up."""

from celery import shared_task
from django.contrib.sessions.models import Session
from django.utils import timezone

from accounts import idempotency, scratch, signatures, traffic
from accounts.models import IdempotentReply, UsedNonce
from accounts.privacy import erasures, exports
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


@shared_task(name=exports.BUILD_TASK)
def build_export(tenant_id: str, export_id: str) -> None:
    """Make the archive of everything of a tenant's."""
    with acting_for(tenant_id):
        exports.build_export(tenant_id, export_id)


@shared_task(name="accounts.sweep_exports")
def sweep_exports() -> None:
    """Ask again for exports that nobody makes."""
    exports.sweep_exports()


@shared_task(name="accounts.forget_exports")
def forget_exports() -> None:
    """Delete archives whose time is over."""
    exports.forget_exports()


@shared_task(name=erasures.ERASE_TENANT)
def erase_tenant(tenant_id: str, erasure_id: str) -> None:
    """Erase a tenant for good."""
    erasures.erase_tenant(erasure_id)


@shared_task(name="accounts.sweep_erasures")
def sweep_erasures() -> None:
    """Ask again for erasures that nobody finished."""
    erasures.sweep_erasures()


@shared_task(name="accounts.forget_traffic")
def forget_traffic() -> None:
    """Forget how many requests there were days ago."""
    traffic.forget_traffic()


@shared_task(name="accounts.forget_sessions")
def forget_sessions() -> None:
    """Forget sessions of browsers that were not seen for long."""
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
