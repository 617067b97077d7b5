"""Plans that begin later: whoever is due is put on theirs."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from accounts import audit, limits
from accounts.models import Tenant
from accounts.tenancy import operating_for
from billing.accounts import account_of, change_plan
from billing.models import PlanChange
from billing.periods import Month

_LOOKED_BACK = timedelta(days=7)


def apply_plans() -> int:
    """Put tenants on the plan that holds now, if it is another. Returns how many changed."""
    now = timezone.now()
    latest = PlanChange.objects.filter(tenant=OuterRef("pk"), at__lte=now).order_by("-at")
    due = PlanChange.objects.filter(at__lte=now, at__gt=now - _LOOKED_BACK).values("tenant")
    changed = 0
    rows = Tenant.objects.filter(pk__in=due).annotate(due=Subquery(latest.values("plan")[:1]))
    for tenant in rows:
        if tenant.due != tenant.plan:
            changed += put_on_plan(tenant, tenant.due)
    return changed


def move_to_plan(tenant: Tenant, plan: str, *, next_month: bool) -> datetime:
    """Have a tenant pay for a plan, and have its limits: at once, or from the next month on, as downgrades
    are. Returns from when on.
    """
    now = timezone.now()
    at = now
    if next_month:
        at = Month.containing(now, account_of(tenant, now).time_zone).end
    with transaction.atomic():
        change_plan(tenant, plan, at)
    if not next_month:
        put_on_plan(tenant, plan)
    return at


def put_on_plan(tenant: Tenant, plan: str) -> int:
    """Give a tenant a plan's limits, from the next request on."""
    with operating_for(tenant.pk), transaction.atomic():
        limits.note_change(tenant.pk)
        changed = Tenant.objects.filter(pk=tenant.pk).exclude(plan=plan).update(plan=plan)
        if changed:
            audit.record(tenant.pk, "plan.changed", tenant.pk, plan=plan)
    return changed
