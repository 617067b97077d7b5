"""How much audio is kept for each tenant, once a day."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from accounts.models import Tenant
from accounts.tenancy import operating_for
from billing.accounts import account_of
from billing.models import UsageEvent
from billing.rollups import Granularity, bucket_start
from billing.usage import Measurement, record_usage
from synthesis.models import Job

_LAST_MOMENT = timedelta(milliseconds=1)


def measure_stored_bytes() -> int:
    """Write down what is kept of the day that has ended where the tenant is billed, once for each day.

    Returns of how many tenants. As an operator.
    """
    kept = (
        Job.objects.filter(status=Job.Status.SUCCEEDED)
        .values_list("tenant")
        .annotate(bytes=Sum("audio_bytes"))
    )
    return sum(_measure(tenant_id, count or 0) for tenant_id, count in kept.order_by("tenant"))


def _measure(tenant_id: str, stored_bytes: int) -> bool:
    now = timezone.now()
    with operating_for(tenant_id), transaction.atomic():
        tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
        zone = account_of(tenant, now).time_zone
        ended = bucket_start(now, Granularity.DAY, zone) - _LAST_MOMENT
        day = bucket_start(ended, Granularity.DAY, zone)
        source = f"stored:{tenant_id}:{day:%Y-%m-%dT%H:%MZ}"
        known = UsageEvent.objects.for_tenant(tenant_id).filter(source=source)
        if ended < tenant.created_at or known.exists():
            return False
        measured = Measurement(UsageEvent.Meter.STORED_BYTES, stored_bytes)
        record_usage(tenant, [measured], source=source, occurred_at=ended)
    return True
