"""A tenant whose last month is drafted and due, with a running total that is not what its ledger says.

    python -m tests.browser.last_month

Prints the tenant's id. The processes that run are told nothing of another time.
"""

import os
from datetime import timedelta

import django
import time_machine


def make() -> str:
    from django.utils import timezone

    from accounts.models import Tenant
    from billing.accounts import account_of
    from billing.invoicing import draft_invoice
    from billing.models import BillingAccount
    from billing.periods import Month
    from billing.usage import Measurement, record_usage

    now = timezone.now()
    month = Month.containing(now, "UTC").before()
    tenant = Tenant.objects.create(name="Late Books")
    Tenant.objects.filter(pk=tenant.pk).update(created_at=month.start)
    tenant.refresh_from_db()
    with time_machine.travel(month.start + timedelta(days=10), tick=False):
        account_of(tenant, timezone.now())
        measured = [Measurement("audio_ms", 600_000)]
        record_usage(tenant, measured, source="job:late", occurred_at=timezone.now())
    assert draft_invoice(tenant, month) is not None
    account_of(tenant, now)
    BillingAccount.objects.filter(tenant=tenant).update(audio_ms=5)
    return tenant.pk


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")
    django.setup()
    print(make())
