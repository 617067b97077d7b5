"""Sums of the ledger by hour, day and month: quick to ask for, and made of it anew at will.

They count events up to a mark, which stays some minutes behind: an event's id carries the time at which
it was made, and by then its transaction has been committed or will never be. What is younger is added up
when it is asked for, so that a sum is never behind the ledger.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce, TruncHour
from django.utils import timezone

from accounts.identifiers import first_id
from accounts.models import Tenant
from accounts.prepared import as_stored
from accounts.tenancy import operating_for
from billing.models import BillingAccount, RollupMark, UsageEvent, UsageRollup
from billing.periods import Month, midnight

# Longer than any transaction of ours may last (settings: a statement 60 s, an idle one 60 s).
_SETTLED_AFTER = timedelta(minutes=10)
_ROWS_AT_A_TIME = 500
_READS = 3  # of sums; they are added to every few minutes
Granularity = UsageRollup.Granularity
GROUPS = ("api_key_id", "speaker_id", "project")


class Bucket(NamedTuple):
    """What a sum is of; by what it was not grouped is empty."""

    granularity: str
    starts_at: datetime
    meter: str
    api_key_id: str = ""
    speaker_id: str = ""
    project: str = ""


Sums = Counter[Bucket]


def bucket_start(at: datetime, granularity: str, zone: str) -> datetime:
    """When the hour, day or month that an instant lies in began, where the tenant is billed."""
    local = at.astimezone(ZoneInfo(zone))
    if granularity == Granularity.MONTH:
        return Month(local.year, local.month, zone).start
    if granularity == Granularity.DAY:
        return midnight(local.date(), zone)
    return at - timedelta(
        minutes=local.minute, seconds=local.second, microseconds=local.microsecond
    )


def bucket_end(start: datetime, granularity: str, zone: str) -> datetime:
    """When the next one begins."""
    if granularity == Granularity.HOUR:
        return start + timedelta(hours=1)
    local = start.astimezone(ZoneInfo(zone))
    if granularity == Granularity.MONTH:
        return Month(local.year, local.month, zone).end
    return midnight(local.date() + timedelta(days=1), zone)


def count_usage(tenant_id: str, *, settled_after: timedelta = _SETTLED_AFTER) -> int:
    """Add the events that are settled by now to a tenant's rollups. Returns how many there were."""
    upto = first_id("evt", timezone.now() - settled_after)
    with transaction.atomic():
        mark = _held_mark(tenant_id)
        events = _events(tenant_id).filter(pk__gt=mark.counted_to, pk__lte=upto)
        counted = events.count()
        if counted:
            _add(tenant_id, _sums(events, _zone(tenant_id)))
        if upto > mark.counted_to:
            RollupMark.objects.for_tenant(tenant_id).update(counted_to=upto)
    return counted


def count_all() -> int:
    """As count_usage, of all tenants that used something since. Returns how many events there were."""
    behind = Tenant.objects.filter(
        Exists(
            UsageEvent.objects.filter(tenant=OuterRef("pk")).filter(
                pk__gt=Coalesce(
                    Subquery(
                        RollupMark.objects.filter(tenant=OuterRef("tenant")).values("counted_to")[
                            :1
                        ]
                    ),
                    Value(""),
                )
            )
        )
    )
    counted = 0
    for tenant_id in behind.order_by("pk").values_list("pk", flat=True):
        with operating_for(tenant_id):
            counted += count_usage(tenant_id)
    return counted


def rebuild_rollups(tenant_id: str) -> None:
    """Make a tenant's rollups of the ledger anew: after a change of its time zone, or out of mistrust."""
    with transaction.atomic():
        mark = _held_mark(tenant_id)
        UsageRollup.objects.for_tenant(tenant_id).delete()
        events = _events(tenant_id).filter(pk__lte=mark.counted_to)
        _add(tenant_id, _sums(events, _zone(tenant_id)))


def sums_between(
    tenant_id: str,
    granularity: str,
    start: datetime,
    end: datetime,
    zone: str,
    groups: Sequence[str] = GROUPS,
) -> Sums:
    """Usage in the buckets that begin in [start, end): what is counted, and what is younger than that.

    groups: those of GROUPS that sums are kept apart by.
    """
    counted_to = _counted_to(tenant_id)
    for _ in range(_READS):
        sums = _sums_with(counted_to, tenant_id, granularity, start, end, zone, groups)
        # What was counted meanwhile would be in both parts.
        before, counted_to = counted_to, _counted_to(tenant_id)
        if counted_to == before:
            break
    return sums


def _counted_to(tenant_id: str) -> str:
    marks = RollupMark.objects.for_tenant(tenant_id)
    return marks.values_list("counted_to", flat=True).first() or ""


def _sums_with(
    counted_to: str,
    tenant_id: str,
    granularity: str,
    start: datetime,
    end: datetime,
    zone: str,
    groups: Sequence[str],
) -> Sums:
    rows = UsageRollup.objects.for_tenant(tenant_id).filter(
        granularity=granularity, starts_at__gte=start, starts_at__lt=end
    )
    sums: Sums = Counter()
    summed = rows.values_list("starts_at", "meter", *groups).annotate(sum=Sum("quantity"))
    for starts_at, meter, *values, quantity in summed.order_by():
        sums[_bucket(granularity, starts_at, meter, groups, values)] += quantity
    young = _events(tenant_id).filter(occurred_at__gte=start, pk__gt=counted_to)
    for bucket, quantity in _sums(young, zone, [granularity], groups).items():
        if start <= bucket.starts_at < end:
            sums[bucket] += quantity
    return sums


def ledger_sums(tenant_id: str, granularity: str, zone: str) -> Sums:
    """What the rollups have to come to."""
    return _sums(_events(tenant_id), zone, [granularity])


def _events(tenant_id: str) -> QuerySet[UsageEvent]:
    return UsageEvent.objects.for_tenant(tenant_id)


def _zone(tenant_id: str) -> str:
    found = BillingAccount.objects.for_tenant(tenant_id).values_list("time_zone", flat=True).first()
    return found or str(BillingAccount._meta.get_field("time_zone").default)


def _held_mark(tenant_id: str) -> RollupMark:
    rows = RollupMark.objects.for_tenant(tenant_id)
    rows.get_or_create(tenant_id=tenant_id, defaults={"counted_to": ""})
    row: RollupMark = rows.select_for_update().get()
    return row


def _sums(
    events: QuerySet[UsageEvent],
    zone: str,
    granularities: Sequence[str] = tuple(Granularity.values),
    groups: Sequence[str] = GROUPS,
) -> Sums:
    """The database adds up by hours, and what is longer is added up of those."""
    hourly = (
        events.annotate(hour=TruncHour("occurred_at", tzinfo=ZoneInfo(zone)))
        .values_list("hour", "meter", *groups)
        .annotate(sum=Sum("quantity"))
        .order_by()
    )
    sums: Sums = Counter()
    for hour, meter, *values, quantity in hourly:
        for granularity in granularities:
            start = bucket_start(hour, granularity, zone)
            sums[_bucket(granularity, start, meter, groups, values)] += quantity
    return sums


def _bucket(
    granularity: str, starts_at: datetime, meter: str, groups: Sequence[str], values: Sequence[str]
) -> Bucket:
    return Bucket(granularity, starts_at, meter, **dict(zip(groups, values, strict=True)))


def _add(tenant_id: str, sums: Sums) -> None:
    columns = ["tenant_id", "granularity", "starts_at", "meter", *GROUPS, "quantity"]
    unique = ", ".join(columns[:-1])
    for rows in _chunks(
        [
            tenant_id,
            b.granularity,
            as_stored(b.starts_at),
            b.meter,
            b.api_key_id,
            b.speaker_id,
            b.project,
            n,
        ]
        for b, n in sums.items()
    ):
        one = f"({', '.join(['%s'] * len(columns))})"
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO billing_usagerollup ({', '.join(columns)}) "  # nosec B608
                f"VALUES {', '.join([one] * len(rows))} ON CONFLICT ({unique}) "
                "DO UPDATE SET quantity = billing_usagerollup.quantity + excluded.quantity",
                [value for row in rows for value in row],
            )


def _chunks(rows: Iterable[list[Any]]) -> Iterable[list[list[Any]]]:
    found: list[list[Any]] = []
    for row in rows:
        found.append(row)
        if len(found) == _ROWS_AT_A_TIME:
            yield found
            found = []
    if found:
        yield found


def mismatches(tenant: Tenant) -> list[str]:
    """Where a tenant's counted rollups do not say what the ledger says, a sentence each."""
    mark = RollupMark.objects.for_tenant(tenant).first()
    if mark is None:
        return []
    zone = _zone(tenant.pk)
    expected = _sums(_events(tenant.pk).filter(pk__lte=mark.counted_to), zone)
    found: Sums = Counter()
    for row in UsageRollup.objects.for_tenant(tenant):
        bucket = Bucket(
            *(row.granularity, row.starts_at, row.meter),
            *(row.api_key_id, row.speaker_id, row.project),
        )
        found[bucket] += row.quantity
    return [
        f"{tenant.pk}: the ledger has {expected[b]:,} {b.meter} in the {b.granularity} from "
        f"{b.starts_at:%Y-%m-%dT%H:%MZ} on, the rollups {found[b]:,}"
        for b in sorted({*expected, *found}, key=lambda b: (b.starts_at, b.granularity, b.meter))
        if expected[b] != found[b]
    ]
