"""What a tenant used: by hour, day and month, by key, speaker and project; and the report of a month."""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import ApiKey, Tenant
from billing.accounts import account_of, audio_between, parts_of
from billing.models import BillingAccount, UsageEvent
from billing.money import half_up
from billing.periods import Month
from billing.pricing import Step, amount_of, steps_of
from billing.rollups import GROUPS, Granularity, bucket_end, sums_between
from voicereel_site.errors import FieldError, Refusal

# What customers are shown; the rest is ours.
_MONTHS_OFFERED = 13
METERS = (UsageEvent.Meter.AUDIO_MS, UsageEvent.Meter.CHARACTERS, UsageEvent.Meter.STORED_BYTES)
MOST_BUCKETS = 1_000
GROUP_NAMES = {"key": "api_key_id", "speaker": "speaker_id", "project": "project"}


@dataclass(frozen=True)
class UsageRow:
    """Usage in a bucket, of a group. groups: by column; quantities: by meter."""

    starts_at: datetime
    ends_at: datetime
    groups: Mapping[str, str]
    quantities: Mapping[str, int]


def usage_between(
    account: BillingAccount,
    start: datetime,
    end: datetime,
    granularity: str,
    group_by: Sequence[str] = (),
) -> list[UsageRow]:
    """Usage in the buckets that begin in [start, end), those alone in which there was some.

    group_by: some of GROUPS. Raises validation_error if these are more buckets than a page can show.
    """
    zone = account.time_zone
    seconds = (end - start).total_seconds()
    length_s = {"hour": 3_600, "day": 86_400, "month": 28 * 86_400}[granularity]
    if seconds > MOST_BUCKETS * length_s:
        detail = {
            "hour": _("These are more than %(most)s hours. Ask for fewer, or for longer ones."),
            "day": _("These are more than %(most)s days. Ask for fewer, or for longer ones."),
            "month": _("These are more than %(most)s months. Ask for fewer, or for longer ones."),
        }[granularity] % {"most": f"{MOST_BUCKETS:,}"}
        raise Refusal("validation_error", detail, errors=[FieldError("/end", detail)])
    sums = sums_between(account.tenant_id, granularity, start, end, zone, group_by)
    found: dict[tuple[datetime, tuple[str, ...]], dict[str, int]] = defaultdict(
        lambda: dict.fromkeys(METERS, 0)
    )
    for bucket, quantity in sums.items():
        if bucket.meter in METERS:
            group = tuple(str(getattr(bucket, name)) for name in group_by)
            found[bucket.starts_at, group][bucket.meter] += quantity
    return [
        UsageRow(
            starts_at,
            bucket_end(starts_at, granularity, zone),
            dict(zip(group_by, group, strict=True)),
            quantities,
        )
        for (starts_at, group), quantities in sorted(found.items())
    ]


@dataclass(frozen=True)
class ReportPart:
    """A part of a month with one plan: what it costs, before credits and tax, in minor units."""

    starts_at: datetime
    ends_at: datetime
    plan: str
    days: int
    base_fee_minor: int
    audio_ms: int
    steps: Sequence[Step]

    @property
    def audio_minor(self) -> int:
        return half_up(amount_of(self.steps))


@dataclass(frozen=True)
class MonthReport:
    """A month of a tenant's. is_over: whether nothing more can occur in it."""

    tenant: Tenant
    month: Month
    currency: str
    language: str
    made_at: datetime
    is_over: bool
    totals: Mapping[str, int]
    days: Sequence[UsageRow]
    groups: Mapping[str, Sequence[UsageRow]]  # by column of GROUPS, the largest first
    parts: Sequence[ReportPart]
    key_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def net_minor(self) -> int:
        return sum(part.base_fee_minor + part.audio_minor for part in self.parts)


def months_of(tenant: Tenant, account: BillingAccount) -> list[str]:
    """The last months that a tenant was there, the running one first."""
    month = Month.containing(timezone.now(), account.time_zone)
    first = Month.containing(tenant.created_at, account.time_zone)
    found: list[str] = []
    while len(found) < _MONTHS_OFFERED and month.end > first.start:
        found.append(month.name)
        month = month.before()
    return found


def find_month(tenant: Tenant, account: BillingAccount, name: str) -> Month:
    """A month such as ``2026-11`` in which a tenant was there, in its billing zone. Raises not_found."""
    try:
        month = Month.parse(name, account.time_zone)
    except ValueError as exc:
        detail = _("Name a month as 2026-11.")
        raise Refusal("not_found", detail, 404) from exc
    if month.start > timezone.now() or month.end <= tenant.created_at:
        detail = _("There is no %(month)s of yours: your account began in %(first)s.") % {
            "month": name,
            "first": Month.containing(tenant.created_at, month.zone).name,
        }
        raise Refusal("not_found", detail, 404)
    return month


def month_report(tenant: Tenant, name: str) -> MonthReport:
    """The report of a month such as ``2026-11``, in the tenant's billing zone. Raises not_found."""
    now = timezone.now()
    account = account_of(tenant, now)
    month = find_month(tenant, account, name)
    span = (month.start, month.end, month.zone)
    daily = sums_between(tenant.pk, Granularity.DAY, *span, groups=())
    whole = sums_between(tenant.pk, Granularity.MONTH, *span)
    totals = dict.fromkeys(METERS, 0)
    days: dict[datetime, dict[str, int]] = defaultdict(lambda: dict.fromkeys(METERS, 0))
    groups: dict[str, dict[str, dict[str, int]]] = {
        name: defaultdict(lambda: dict.fromkeys(METERS, 0)) for name in GROUPS
    }
    for bucket, quantity in daily.items():
        if bucket.meter in METERS:
            totals[bucket.meter] += quantity
            days[bucket.starts_at][bucket.meter] += quantity
    for bucket, quantity in whole.items():
        if bucket.meter in METERS and bucket.meter != UsageEvent.Meter.STORED_BYTES:
            for column in GROUPS:
                groups[column][getattr(bucket, column)][bucket.meter] += quantity
    # Stored bytes are a level, and not a flow: a month has what its days have on average.
    totals[UsageEvent.Meter.STORED_BYTES] //= max(1, len(days))
    return MonthReport(
        tenant,
        month,
        account.currency,
        account.language,
        now,
        now >= month.end,
        totals,
        [
            UsageRow(start, bucket_end(start, Granularity.DAY, month.zone), {}, quantities)
            for start, quantities in sorted(days.items())
        ],
        {
            column: [
                UsageRow(month.start, month.end, {column: value}, quantities)
                for value, quantities in sorted(
                    rows.items(), key=lambda item: (-item[1][UsageEvent.Meter.AUDIO_MS], item[0])
                )
            ]
            for column, rows in groups.items()
        },
        _parts(account, month),
        dict(ApiKey.objects.for_tenant(tenant).values_list("pk", "label")),
    )


def _parts(account: BillingAccount, month: Month) -> list[ReportPart]:
    found = []
    for part in parts_of(account, month):
        audio_ms = audio_between(account.tenant_id, part.start, part.end)
        steps = steps_of(audio_ms, part.price.tariff, part.included_ms)
        found.append(
            ReportPart(
                part.start, part.end, part.plan, part.days, part.base_fee_minor, audio_ms, steps
            )
        )
    return found


def report_csv(report: MonthReport) -> str:
    """A month by day, key, speaker and project, for spreadsheets: one kind of row after another."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["kind", "name", *METERS, "time_zone"])
    zone = ZoneInfo(report.month.zone)
    for row in report.days:
        day = row.starts_at.astimezone(zone).date().isoformat()
        writer.writerow(["day", day, *row.quantities.values(), report.month.zone])
    for column, rows in report.groups.items():
        kind = next(name for name, its in GROUP_NAMES.items() if its == column)
        for row in rows:
            writer.writerow(
                [kind, _safe(row.groups[column]), *row.quantities.values(), report.month.zone]
            )
    writer.writerow(["month", report.month.name, *report.totals.values(), report.month.zone])
    return out.getvalue()


def _safe(text: str) -> str:
    """Spreadsheets take for a formula what begins like one (OWASP, "CSV Injection")."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
