"""How the service is right now, of all tenants: what the operators' front page shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q, Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.identifiers import first_id
from accounts.models import Tenant, WebhookEndpoint
from accounts.traffic import requests_since
from billing.models import BillingAccount, UsageEvent
from synthesis.backlog import LINES_TO_SPEAK
from synthesis.models import Job, Worker
from synthesis.workers import SILENT

_RECENT = timedelta(hours=1)
_REQUESTS_OF = timedelta(minutes=5)
_TENANTS_SHOWN = 20


@dataclass(frozen=True)
class Trouble:
    """A tenant that something is wrong with, and what."""

    tenant: Tenant
    what: Sequence[str]


@dataclass(frozen=True)
class Overview:
    """requests, failures: answers of the last minutes, and those of 500 and more; oldest_s: how long the
    first of the waiting jobs waits; ended, failed: jobs of the last hour; gpu_factor: time of the GPU by
    length of audio in the last hour, None without one; revenue: (currency, minor units) of audio since
    midnight, UTC; workers: that say they are there, silent: that do not any more.
    """

    at: datetime
    requests: int
    failures: int
    waiting_jobs: int
    waiting_lines: int
    oldest_s: int | None
    working_jobs: int
    working_lines: int
    ended: int
    failed: int
    gpu_factor: float | None
    revenue: Sequence[tuple[str, int]]
    workers: int
    silent: int
    troubles: Sequence[Trouble]

    @property
    def failed_share(self) -> float | None:
        return self.failed / self.ended if self.ended else None

    @property
    def failures_share(self) -> float | None:
        return self.failures / self.requests if self.requests else None


@dataclass(frozen=True)
class Queue:
    """Live jobs that wait for a worker. oldest: when the first was asked for."""

    jobs: int
    lines: int
    oldest: datetime | None


def queue_now() -> Queue:
    """What waits, of all tenants; not of the suspended, whose jobs wait on purpose."""
    waiting = Job.objects.waiting().filter(live=True, tenant__suspended_at=None)
    found = waiting.aggregate(jobs=Count("pk"), lines=LINES_TO_SPEAK, oldest=Min("created_at"))
    return Queue(found["jobs"], found["lines"] or 0, found["oldest"])


def age_s(since: datetime | None, now: datetime) -> float:
    """Seconds since an instant; 0 if there is none."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def overview() -> Overview:
    """Everything of the front page, in as many queries whatever there is."""
    now = timezone.now()
    requests, failures = requests_since(now - _REQUESTS_OF)
    queue = queue_now()
    work = Job.objects.in_hand().aggregate(jobs=Count("pk"), lines=LINES_TO_SPEAK)
    recent = Job.objects.filter(finished_at__gte=now - _RECENT)
    ended = recent.aggregate(
        all=Count("pk", filter=~Q(status=Job.Status.CANCELED)),
        failed=Count("pk", filter=Q(status=Job.Status.FAILED)),
    )
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    sold = Job.objects.filter(finished_at__gte=midnight, cost__isnull=False)
    revenue = sold.values_list("currency").annotate(Sum("cost")).order_by("currency")
    workers = Worker.objects.aggregate(
        there=Count("pk", filter=Q(seen_at__gte=now - SILENT)),
        silent=Count("pk", filter=Q(seen_at__lt=now - SILENT)),
    )
    return Overview(
        now,
        requests,
        failures,
        queue.jobs,
        queue.lines,
        None if queue.oldest is None else round(age_s(queue.oldest, now)),
        work["jobs"],
        work["lines"] or 0,
        ended["all"],
        ended["failed"],
        _gpu_factor(now),
        [(currency, round(amount)) for currency, amount in revenue],
        workers["there"],
        workers["silent"],
        troubles(now),
    )


def _gpu_factor(now: datetime) -> float | None:
    """Milliseconds of the GPU for each of audio: the real-time factor of what it spoke in the last hour."""
    events = UsageEvent.objects.filter(pk__gte=first_id("evt", now - _RECENT))
    meters = [UsageEvent.Meter.GPU_MS, UsageEvent.Meter.AUDIO_MS]
    summed = events.filter(meter__in=meters).values_list("meter").annotate(Sum("quantity"))
    sums = dict(summed.order_by())
    gpu_ms, audio_ms = (sums.get(meter, 0) for meter in meters)
    return gpu_ms / audio_ms if gpu_ms and audio_ms > 0 else None


def troubles(now: datetime) -> list[Trouble]:
    """Tenants with jobs that failed in the last hour, with overdue invoices, or with webhooks that nobody
    takes; those with the most first.
    """
    what: dict[str, list[str]] = {}
    failed = Job.objects.filter(finished_at__gte=now - _RECENT, status=Job.Status.FAILED)
    by_tenant = failed.values_list("tenant").annotate(n=Count("pk")).order_by("-n")
    for tenant_id, count in by_tenant[:_TENANTS_SHOWN]:
        told = ngettext("%(n)s job failed", "%(n)s jobs failed", count) % {"n": count}
        what.setdefault(tenant_id, []).append(told)
    standing = BillingAccount.objects.exclude(standing=BillingAccount.Standing.GOOD)
    for tenant_id, called in standing.order_by("-pk").values_list("tenant", "standing")[
        :_TENANTS_SHOWN
    ]:
        what.setdefault(tenant_id, []).append(_("payment: %(standing)s") % {"standing": called})
    endpoints = WebhookEndpoint.objects.filter(
        Q(failing_since__lt=now - _RECENT) | Q(disabled_at__gte=now - timedelta(days=1))
    )
    for tenant_id in endpoints.order_by("-pk").values_list("tenant", flat=True)[:_TENANTS_SHOWN]:
        what.setdefault(tenant_id, []).append(_("webhooks fail"))
    tenants = Tenant.objects.in_bulk(list(what)[:_TENANTS_SHOWN])
    found = [
        Trouble(tenants[pk], list(dict.fromkeys(of))) for pk, of in what.items() if pk in tenants
    ]
    return sorted(found, key=lambda one: -len(one.what))
