"""What becomes of accounts whose invoices are not paid: reminded, then restricted, then closed.

Nothing is deleted: restricted accounts take no new jobs, and are good again the moment all is paid.
"""

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.mail import send_mail
from accounts.tenancy import operating_for
from billing.models import BillingAccount, Invoice
from billing.money import shown
from billing.quotas import billing_addresses

log = structlog.get_logger(__name__)

# After an invoice was due: when it is reminded of, and what follows.
REMINDED_AFTER = (timedelta(0), timedelta(days=7), timedelta(days=14))
RESTRICTED_AFTER, CLOSED_AFTER = timedelta(days=21), timedelta(days=60)
Standing = BillingAccount.Standing


def standing_of(tenant_id: str, at: datetime) -> str:
    """What an account's standing has to be, by its oldest invoice that is overdue."""
    overdue = Invoice.objects.for_tenant(tenant_id).filter(
        status=Invoice.Status.FINALIZED, due_at__lte=at
    )
    oldest = overdue.order_by("due_at").values_list("due_at", flat=True).first()
    if oldest is None:
        return Standing.GOOD
    if at >= oldest + CLOSED_AFTER:
        return Standing.CLOSED
    return Standing.RESTRICTED if at >= oldest + RESTRICTED_AFTER else Standing.PAST_DUE


def review_standing(tenant_id: str) -> str:
    """Bring an account to the standing that its invoices say. Returns it."""
    standing = standing_of(tenant_id, timezone.now())
    rows = BillingAccount.objects.for_tenant(tenant_id).exclude(standing=standing)
    if rows.update(standing=standing):
        audit.record(tenant_id, "billing.standing", tenant_id, standing=standing)
        log.info("billing.standing", tenant_id=tenant_id, standing=standing)
    return standing


def remind() -> int:
    """Remind of what is overdue, and review the accounts that it is of. Returns how many mails went out."""
    now = timezone.now()
    sent = 0
    overdue = Invoice.objects.filter(status=Invoice.Status.FINALIZED, due_at__lte=now)
    for row in overdue.order_by("due_at"):
        due = sum(row.due_at + after <= now for after in REMINDED_AFTER)
        with operating_for(row.tenant_id), transaction.atomic():
            standing = review_standing(row.tenant_id)
            ours = Invoice.objects.for_tenant(row.tenant_id).filter(pk=row.pk, reminders__lt=due)
            if ours.update(reminders=due, reminded_at=now):
                _mail(row, standing)
                sent += 1
    return sent


def _mail(row: Invoice, standing: str) -> None:
    from billing.invoicing import open_minor

    account = BillingAccount.objects.for_tenant(row.tenant_id).get()
    send_mail(
        billing_addresses(account),
        "invoice_overdue",
        of_tenant=row.tenant_id,
        number=row.number,
        amount=shown(open_minor(row), row.currency),
        due_at=row.due_at,
        restricted_at=row.due_at + RESTRICTED_AFTER,
        is_restricted=standing in (Standing.RESTRICTED, Standing.CLOSED),
        by_card=row.pays_by == BillingAccount.PaysBy.CARD,
        language=row.language,
    )
