"""Money off a tenant's next invoices."""

from datetime import datetime

from django.db import transaction

from accounts import audit
from accounts.models import Tenant
from billing.models import Credit


def grant_credit(
    tenant: Tenant,
    amount_minor: int,
    currency: str,
    reason: str,
    expires_at: datetime | None = None,
) -> Credit:
    """Take money off a tenant's next invoices, before tax. reason: as the invoice says it.

    Raises ValueError unless it is more than nothing.
    """
    if amount_minor <= 0:
        raise ValueError("A credit is more than nothing.")
    with transaction.atomic():
        row: Credit = Credit.objects.create(
            tenant=tenant,
            amount_minor=amount_minor,
            currency=currency,
            reason=reason,
            expires_at=expires_at,
        )
        audit.record(
            tenant.pk, "credit.granted", row.pk, amount_minor=amount_minor, reason=row.reason
        )
    return row
