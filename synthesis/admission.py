"""Whether a job may join the others: each tenant has room for so many, and so has the whole system."""

from datetime import timedelta

from django.conf import settings
from django.db.models import Count, F, Sum
from django.utils import timezone

from accounts.models import Tenant
from accounts.plans import allowance_of
from synthesis.models import Backlog, Job
from voicereel_site.errors import Refusal

_LINES_TO_SPEAK = Sum(F("lines_total") - F("lines_done"))
_ACTIVE = [Job.Status.QUEUED, Job.Status.PROCESSING]
_JOB_RETRY_AFTER_S, _BUSY_RETRY_AFTER_S = 10, 30
# Nobody has looked for so long: an old count is no reason to refuse work.
_OUTDATED = timedelta(minutes=2)


def admit_job(tenant_id: str, lines: int, *, live: bool) -> None:
    """Let one more job of a tenant's in. Inside the transaction that queues it.

    lines: how many it has to be spoken. Raises system_busy or too_many_concurrent_jobs.
    """
    if live and _is_busy():
        raise Refusal(
            "system_busy",
            "More is waiting to be spoken than we can do in good time. Nothing is wrong with your "
            f"request: send it again in {_BUSY_RETRY_AFTER_S} s.",
            503,
            headers={"Retry-After": str(_BUSY_RETRY_AFTER_S)},
        )
    # Holding the tenant's row lets simultaneous requests in one by one; NO KEY, so that nothing else
    # that is stored for the tenant waits.
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
    allowed = allowance_of(tenant.plan)
    active = Job.objects.for_tenant(tenant).filter(status__in=_ACTIVE)
    found = active.aggregate(jobs=Count("pk"), lines=_LINES_TO_SPEAK)
    waiting = found["lines"] or 0
    detail = ""
    if found["jobs"] >= allowed.jobs:
        detail = (
            f"Your plan allows {allowed.jobs:,} unfinished jobs at a time, and {found['jobs']:,} are "
            "queued or processing."
        )
    elif waiting and waiting + lines > allowed.lines:
        detail = (
            f"Your plan allows {allowed.lines:,} lines to wait at a time; {waiting:,} of your unfinished "
            f"jobs do, and this one has {lines:,}."
        )
    if detail:
        raise Refusal(
            "too_many_concurrent_jobs",
            f"{detail} Wait until one has finished, or cancel one.",
            429,
            headers={"Retry-After": str(_JOB_RETRY_AFTER_S)},
        )


def _is_busy() -> bool:
    recent = timezone.now() - _OUTDATED
    full = Backlog.objects.filter(measured_at__gte=recent, lines__gte=settings.MOST_WAITING_LINES)
    return full.exists()


def measure_backlog() -> None:
    """Count what waits, of all tenants, for those who may look at one alone."""
    waiting = Job.objects.filter(status=Job.Status.QUEUED, live=True)
    lines = waiting.aggregate(lines=_LINES_TO_SPEAK)["lines"] or 0
    Backlog.objects.update_or_create(pk=1, defaults={"lines": lines, "measured_at": timezone.now()})
