"""What we promise of the service, and how well it was kept: availability and processing, by tenant and month.

A month is cut into intervals of five minutes. An interval was unavailable to a tenant by the greater of two
shares: of its five minutes, those in which no web process of ours reached the database (accounts.traffic); of the
tenant's own requests, those that were answered with a status of 500 and more. One in which nothing was asked
and somebody could have been answered was available. The month's availability is the mean over the intervals that
have passed since it began, or since the tenant, or the service, did.

Sums are exact: fractions until they are shown.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import structlog
from django.db import transaction
from django.db.models import Min, Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import override

from accounts import audit
from accounts.models import RequestCount, ServiceInterval, Tenant
from accounts.traffic import INTERVAL, interval_start
from billing.credits import grant_credit
from billing.models import BillingAccount, Invoice, InvoiceLine, ServiceCredit
from billing.periods import Month
from billing.reports import find_month

log = structlog.get_logger(__name__)

TARGET = Fraction(999, 1000)
# A job's processing, from its first line to its files: a minute and twice as long as its audio.
PROMISED_AT_LEAST = timedelta(minutes=1)
PROMISED_BY_AUDIO = 2
# Why a job may fail that is no fault of the script's: a promise that was broken.
OUR_FAILURES = frozenset({"line_failed", "worker_lost"})
# What a month is worth less that fell short: below which share, by how many percent.
CREDIT_TIERS = ((Fraction(95, 100), 50), (Fraction(99, 100), 25), (TARGET, 10))
# Of fewer jobs one that was late would say too much.
_JOBS_TO_TELL = 100
# Web processes write a minute's row within it, or a moment after.
_MINUTES_BEHIND = timedelta(minutes=2)
_MINUTE = timedelta(minutes=1)
_MINUTES_OF_INTERVAL = INTERVAL // _MINUTE


def promised(audio_ms: int) -> timedelta:
    """How long the processing of a job may take whose audio is so long."""
    return PROMISED_AT_LEAST + timedelta(milliseconds=PROMISED_BY_AUDIO * audio_ms)


@dataclass(frozen=True)
class ServiceLevel:
    """How well a month was kept, so far. unavailable: by day, the sum of its intervals' shares; intervals: by
    day, how many have passed; affected: how many were not wholly available; jobs_late: that broke the promise;
    credit: what was proposed for it.
    """

    month: Month
    until: datetime
    intervals: Mapping[date, int]
    unavailable: Mapping[date, Fraction]
    affected: int
    requests: int
    failures: int
    jobs: int
    jobs_late: int
    credit: ServiceCredit | None

    @property
    def availability(self) -> Fraction | None:
        """The share of the time; None before the first interval is over."""
        passed = sum(self.intervals.values())
        return 1 - sum(self.unavailable.values(), Fraction()) / passed if passed else None

    def availability_on(self, day: date) -> Fraction | None:
        """Likewise, of one day."""
        passed = self.intervals.get(day, 0)
        return 1 - self.unavailable.get(day, Fraction()) / passed if passed else None

    @property
    def on_time(self) -> Fraction | None:
        """The share of the jobs that kept the promise; None without one."""
        return 1 - Fraction(self.jobs_late, self.jobs) if self.jobs else None

    @property
    def credit_percent(self) -> int:
        """What the month is worth less, by the worse of both."""
        shares = [self.availability]
        if self.jobs >= _JOBS_TO_TELL:
            shares.append(self.on_time)
        return max((_percent_below(share) for share in shares if share is not None), default=0)


def _percent_below(share: Fraction) -> int:
    return next((percent for below, percent in CREDIT_TIERS if share < below), 0)


def level_of_month(account: BillingAccount, name: str | None) -> ServiceLevel:
    """Of a month such as ``2026-11``, or of the running one. Raises not_found."""
    now, tenant = timezone.now(), account.tenant
    month = find_month(tenant, account, name) if name else Month.containing(now, account.time_zone)
    return service_level(tenant, month)


def service_level(tenant: Tenant, month: Month) -> ServiceLevel:
    """How well a month was kept for a tenant, up to now."""
    end = min(month.end, interval_start(timezone.now() - _MINUTES_BEHIND))
    first = RequestCount.objects.aggregate(first=Min("minute"))["first"]
    start = max(month.start, _next_interval(tenant.created_at), _next_interval(first or end))
    zone = ZoneInfo(month.zone)
    unavailable: dict[datetime, Fraction] = {
        at: Fraction(minutes, _MINUTES_OF_INTERVAL)
        for at, minutes in _minutes_away(start, end).items()
    }
    counted = ServiceInterval.objects.for_tenant(tenant).filter(
        starts_at__gte=start, starts_at__lt=max(start, end)
    )
    for at, requests, failures in counted.exclude(failures=0).values_list(
        "starts_at", "requests", "failures"
    ):
        unavailable[at] = max(unavailable.get(at, Fraction()), Fraction(failures, requests))
    sums = counted.aggregate(
        *(Sum(name, default=0) for name in ("requests", "failures", "jobs", "jobs_late"))
    )
    intervals: dict[date, int] = defaultdict(int)
    at = start
    while at < end:
        intervals[at.astimezone(zone).date()] += 1
        at += INTERVAL
    by_day: dict[date, Fraction] = defaultdict(Fraction)
    for at, share in unavailable.items():
        by_day[at.astimezone(zone).date()] += share
    return ServiceLevel(
        month,
        max(start, end),
        dict(intervals),
        dict(by_day),
        len(unavailable),
        sums["requests__sum"],
        sums["failures__sum"],
        sums["jobs__sum"],
        sums["jobs_late__sum"],
        ServiceCredit.objects.for_tenant(tenant).filter(month=month.name).first(),
    )


def _next_interval(at: datetime) -> datetime:
    """The first interval that begins at an instant or later."""
    start = interval_start(at)
    return start if start == at else start + INTERVAL


def _minutes_away(start: datetime, end: datetime) -> dict[datetime, int]:
    """Intervals with minutes in which no web process reached the database, and how many of them."""
    rows = RequestCount.objects.filter(minute__gte=start, minute__lt=end)
    expected = max(0, (end - start) // _MINUTE)
    if rows.count() >= expected:
        return {}
    there: dict[datetime, int] = defaultdict(int)
    for minute in rows.values_list("minute", flat=True).iterator():
        there[interval_start(minute)] += 1
    away = {}
    at = start
    while at < end:
        if missing := _MINUTES_OF_INTERVAL - there.get(at, 0):
            away[at] = missing
        at += INTERVAL
    return away


def propose_credit(tenant: Tenant, month: Month, invoice: Invoice) -> ServiceCredit | None:
    """Propose what a month that fell short is worth, once it is over and drafted; None if nothing.

    Proposed again, it is reckoned anew, until an operator has decided.
    """
    level = service_level(tenant, month)
    percent = level.credit_percent
    base = invoice.lines.exclude(kind=InvoiceLine.Kind.CREDIT).aggregate(
        sum=Sum("amount_minor", default=0)
    )["sum"]
    amount = max(0, base) * percent // 100
    rows = ServiceCredit.objects.for_tenant(tenant).filter(month=month.name)
    with transaction.atomic():
        held = rows.select_for_update().first()
        if held is not None and held.status != ServiceCredit.Status.PROPOSED:
            return held
        if not amount:
            rows.delete()
            return None
        row: ServiceCredit
        row, __ = ServiceCredit.objects.update_or_create(
            tenant=tenant,
            month=month.name,
            defaults={
                "availability": decimal_of(level.availability or Fraction(1)),
                "on_time": None if level.on_time is None else decimal_of(level.on_time),
                "percent": percent,
                "base_minor": base,
                "amount_minor": amount,
                "currency": invoice.currency,
            },
        )
    return row


def decide(row: ServiceCredit, *, grant: bool) -> bool:
    """Grant a proposed credit, which the next invoice has, or decline it. Returns whether it was open."""
    with transaction.atomic():
        rows = ServiceCredit.objects.for_tenant(row.tenant_id).filter(
            pk=row.pk, status=ServiceCredit.Status.PROPOSED
        )
        if not rows.select_for_update().exists():
            return False
        credit = None
        if grant:
            account = BillingAccount.objects.for_tenant(row.tenant_id).get()
            credit = grant_credit(
                row.tenant,
                row.amount_minor,
                row.currency,
                _reason(row, account.language),
            )
        status = ServiceCredit.Status.GRANTED if grant else ServiceCredit.Status.DECLINED
        rows.update(status=status, decided_at=timezone.now(), credit=credit)
        audit.record(row.tenant_id, f"service_credit.{status}", row.pk, month=row.month)
    log.info("sla.decided", tenant_id=row.tenant_id, month=row.month, status=status)
    return True


def _reason(row: ServiceCredit, language: str) -> str:
    with override(language):
        named = {"month": row.month, "percent": row.percent}
        return _("Service level of %(month)s: %(percent)s %% of the month") % named


def percent_of(share: Fraction | None) -> str | None:
    """A share as it is shown: ``99.95``, with as many places as it needs, six at most."""
    if share is None:
        return None
    return f"{(decimal_of(share) * 100).quantize(Decimal('1.000000'), ROUND_DOWN).normalize():f}"


def decimal_of(share: Fraction) -> Decimal:
    """A share with ten places, rounded down: what is short of a promise is never shown as keeping it."""
    return Decimal(share.numerator * 10**10 // share.denominator).scaleb(-10)
