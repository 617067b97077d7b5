"""What beat has done for billing, and what follows an invoice that was finalized."""

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from accounts.tenancy import operating_for
from billing import (
    cards,
    closing,
    dunning,
    invoicing,
    plan_changes,
    quotas,
    rollups,
    sending,
    stripe_mirror,
)
from billing.invoicing import CHARGE_TASK, MIRROR_TASK, SEND_TASK
from billing.models import Invoice


@shared_task(name="billing.count_usage")
def count_usage() -> None:
    """Add what is settled of the ledger to the rollups."""
    rollups.count_all()


@shared_task(name="billing.watch_spending")
def watch_spending() -> None:
    """Tell of limits that are half, four fifths, or all spent."""
    quotas.watch_spending()


@shared_task(name="billing.apply_plans")
def apply_plans() -> None:
    """Have tenants on the plans that hold from now on."""
    plan_changes.apply_plans()


@shared_task(name="billing.draft_last_month")
def draft_last_month() -> None:
    """Draft the invoices of the month before, where it is over."""
    closing.draft_last_month()


@shared_task(name="billing.close_month")
def close_month() -> None:
    """Finalize the drafts whose grace period is over and whose books agree."""
    if closing.drafts(timezone.now()):
        closing.close_month()


@shared_task(name="billing.remind")
def remind() -> None:
    """Remind of invoices that are overdue, and restrict accounts that leave them so."""
    dunning.remind()


@shared_task(name=SEND_TASK)
def send_invoice(tenant_id: str, invoice_id: str) -> None:
    """Keep a finalized invoice's PDF, and mail it."""
    with operating_for(tenant_id):
        invoice = Invoice.objects.for_tenant(tenant_id).filter(pk=invoice_id).first()
        if invoice is not None:
            sending.send_invoice(invoice)


@shared_task(name=CHARGE_TASK)
def charge_invoice(tenant_id: str, invoice_id: str) -> None:
    """Charge an invoice to the card, as a member asked."""
    with operating_for(tenant_id):
        invoice = Invoice.objects.for_tenant(tenant_id).filter(pk=invoice_id).first()
        if invoice is not None:
            invoicing.charge_invoice(invoice)


@shared_task(name=MIRROR_TASK)
def mirror(tenant_id: str, subject: str) -> None:
    """Go on with writing an invoice or a credit note down at Stripe."""
    with operating_for(tenant_id):
        stripe_mirror.mirror(tenant_id, subject)


@shared_task(name="billing.sweep_stripe")
def sweep_stripe() -> None:
    """Go on with what Stripe has to know, and take what it told."""
    if settings.STRIPE_KEY:
        stripe_mirror.sweep_mirrors()
        cards.take_events()
