"""Whether a job may join the others: each tenant has room for so many, and so has the whole system."""

from collections.abc import Mapping
from typing import NamedTuple

from django.conf import settings
from django.db.models import Count, QuerySet, Subquery, Sum
from django.db.models.functions import JSONObject
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Tenant
from accounts.plans import allowance_of
from accounts.prepared import prepared
from billing.accounts import up_to_date
from billing.models import BillingAccount
from synthesis.backlog import LINES_TO_SPEAK, last_seen
from synthesis.models import ACTIVE, Job
from voicereel_site.errors import Refusal

_JOB_RETRY_AFTER_S, _BUSY_RETRY_AFTER_S = 10, 30


class Admitted(NamedTuple):
    """account: who pays for the job, up to date; reserved_ms: of audio that the tenant's unfinished jobs may
    come to.
    """

    account: BillingAccount
    reserved_ms: int


def admit_job(tenant: Tenant, lines: int, *, live: bool) -> Admitted:
    """Let one more job of a tenant's in. Inside the transaction that queues it.

    tenant: as this request has read it. lines: how many it has to be spoken. Raises system_busy or
    too_many_concurrent_jobs.
    """
    if live and _is_busy():
        raise Refusal(
            "system_busy",
            _(
                "More is waiting to be spoken than we can do in good time. Nothing is wrong with your "
                "request: send it again in %(seconds)s s."
            )
            % {"seconds": _BUSY_RETRY_AFTER_S},
            503,
            headers={"Retry-After": str(_BUSY_RETRY_AFTER_S)},
        )
    # Holding the tenant's row lets simultaneous requests in one by one; NO KEY, so that nothing else
    # that is stored for the tenant waits.
    read = next(iter(_account_and_unfinished.after(_held_tenant, tenant.pk)), None)
    account = up_to_date(read, tenant, timezone.now())
    # Who has no account yet has no job.
    unfinished: Mapping[str, int] = (read and read.unfinished) or {}
    jobs, waiting = unfinished.get("jobs", 0), unfinished.get("lines", 0)
    allowed = allowance_of(tenant.plan, tenant.own_limits)
    detail = ""
    if jobs >= allowed.jobs:
        detail = _(
            "Your plan allows %(allowed)s unfinished jobs at a time, and %(jobs)s are queued or "
            "processing. Wait until one has finished, or cancel one."
        ) % {"allowed": f"{allowed.jobs:,}", "jobs": f"{jobs:,}"}
    elif waiting and waiting + lines > allowed.lines:
        detail = _(
            "Your plan allows %(allowed)s lines to wait at a time; %(waiting)s of your unfinished jobs "
            "do, and this one has %(lines)s. Wait until one has finished, or cancel one."
        ) % {"allowed": f"{allowed.lines:,}", "waiting": f"{waiting:,}", "lines": f"{lines:,}"}
    if detail:
        raise Refusal(
            "too_many_concurrent_jobs",
            detail,
            429,
            headers={"Retry-After": str(_JOB_RETRY_AFTER_S)},
        )
    return Admitted(account, unfinished.get("longest_ms", 0))


@prepared
def _held_tenant(tenant_id: str) -> "QuerySet[Tenant]":
    held = Tenant.objects.select_for_update(no_key=True).filter(pk=tenant_id)
    return held.values_list("pk")


@prepared
def _account_and_unfinished(tenant_id: str) -> "QuerySet[BillingAccount]":
    """The tenant's account, and in the same answer how many unfinished jobs it has, of them lines that are yet
    to be spoken, and milliseconds that they may come to; null where there are none.
    """
    active = Job.objects.for_tenant(tenant_id).filter(status__in=ACTIVE).values("tenant")
    counts = JSONObject(jobs=Count("pk"), lines=LINES_TO_SPEAK, longest_ms=Sum("longest_ms"))
    counted = Subquery(active.annotate(counts=counts).values("counts"))
    accounts = BillingAccount.objects.for_tenant(tenant_id).select_related("price")
    return accounts.annotate(unfinished=counted)


def _is_busy() -> bool:
    row = last_seen.get()
    return row is not None and row.lines >= settings.MOST_WAITING_LINES
