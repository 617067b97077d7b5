"""The shapes of usage, reports, invoices and billing in the API."""

from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers

from accounts.plans import Plan
from billing.models import BillingAccount, CreditNote, Invoice, InvoiceLine, ServiceCredit
from billing.money import Currency
from billing.reports import GROUP_NAMES, METERS, MonthReport, ReportPart, UsageRow
from billing.sla import (
    PROMISED_AT_LEAST,
    PROMISED_BY_AUDIO,
    TARGET,
    ServiceLevel,
    percent_of,
)
from billing.wording import LANGUAGES
from voicereel_site.pagination import PageQuery
from voicereel_site.shapes import EncodableText, NameText, StrictSerializer

GRANULARITIES = ["hour", "day", "month"]
LARGEST_AMOUNT = 10**12  # minor units


class UsageQuery(StrictSerializer):
    """The query parameters of GET /v1/usage"""

    is_json = False
    start = serializers.DateTimeField(
        required=False, help_text="Not given: when the running month began, in your billing zone."
    )
    end = serializers.DateTimeField(required=False, help_text="Not given: now.")
    granularity = serializers.ChoiceField(GRANULARITIES, required=False, default="day")
    group_by = serializers.CharField(
        required=False,
        max_length=40,
        default="",
        help_text=f"Any of {', '.join(GROUP_NAMES)}, with commas.",
    )

    def validate_group_by(self, value: str) -> list[str]:
        names = [name for name in value.split(",") if name]
        if unknown := [name for name in names if name not in GROUP_NAMES]:
            raise serializers.ValidationError(
                _("There is no %(name)s; group by any of %(names)s.")
                % {"name": unknown[0], "names": ", ".join(GROUP_NAMES)}
            )
        return [GROUP_NAMES[name] for name in dict.fromkeys(names)]


class UsageBucket(serializers.Serializer):
    """Usage in an hour, a day or a month, of a group."""

    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    api_key_id = serializers.CharField(required=False)
    speaker_id = serializers.CharField(required=False)
    project = serializers.CharField(required=False)
    audio_ms = serializers.IntegerField()
    characters = serializers.IntegerField()
    stored_bytes = serializers.IntegerField(help_text="of audio files, at the end of the day")

    def to_representation(self, row: UsageRow) -> dict[str, Any]:
        return {
            "starts_at": row.starts_at,
            "ends_at": row.ends_at,
            **row.groups,
            **row.quantities,
        }


class UsageTotals(serializers.Serializer):
    audio_ms = serializers.IntegerField()
    characters = serializers.IntegerField()


class UsageResponse(serializers.Serializer):
    """Usage, exact to the millisecond and up to now. Buckets without any are left out."""

    time_zone = serializers.CharField(help_text="in which days and months begin")
    granularity = serializers.ChoiceField(GRANULARITIES)
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    totals = UsageTotals()
    data = UsageBucket(many=True)


class StepResponse(serializers.Serializer):
    """The audio that fell into a tier."""

    audio_ms = serializers.IntegerField()
    per_minute = serializers.CharField(
        allow_null=True, help_text="minor units, a decimal number; null: included"
    )


class ReportPartResponse(serializers.Serializer):
    """A part of the month with one plan: what it costs before credits and tax."""

    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    plan = serializers.ChoiceField(Plan.choices)
    days = serializers.IntegerField()
    base_fee_minor = serializers.IntegerField()
    audio_ms = serializers.IntegerField()
    audio_minor = serializers.IntegerField()
    steps = StepResponse(many=True)

    def to_representation(self, part: ReportPart) -> dict[str, Any]:
        return {
            "starts_at": part.starts_at,
            "ends_at": part.ends_at,
            "plan": part.plan,
            "days": part.days,
            "base_fee_minor": part.base_fee_minor,
            "audio_ms": part.audio_ms,
            "audio_minor": part.audio_minor,
            "steps": [step.as_json() for step in part.steps],
        }


class MonthReportResponse(serializers.Serializer):
    """A month's usage and what it costs, in the billing zone."""

    month = serializers.CharField()
    time_zone = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    is_over = serializers.BooleanField()
    totals = UsageTotals()
    stored_bytes = serializers.IntegerField(help_text="on average over the days")
    currency = serializers.ChoiceField(Currency.choices)
    net_minor = serializers.IntegerField(help_text="before credits and tax")
    parts = ReportPartResponse(many=True)
    days = UsageBucket(many=True)
    by_key = UsageBucket(many=True)
    by_speaker = UsageBucket(many=True)
    by_project = UsageBucket(many=True)

    def to_representation(self, report: MonthReport) -> dict[str, Any]:
        shown = UsageBucket().to_representation
        return {
            "month": report.month.name,
            "time_zone": report.month.zone,
            "starts_at": report.month.start,
            "ends_at": report.month.end,
            "is_over": report.is_over,
            "totals": totals(report.totals),
            "stored_bytes": report.totals["stored_bytes"],
            "currency": report.currency,
            "net_minor": report.net_minor,
            "parts": [ReportPartResponse().to_representation(part) for part in report.parts],
            "days": [shown(row) for row in report.days],
            **{
                f"by_{name}": [shown(row) for row in report.groups[column]]
                for name, column in GROUP_NAMES.items()
            },
        }


def totals(quantities: Any) -> dict[str, int]:
    """What can be added up over time."""
    return {str(name): quantities[name] for name in METERS[:2]}


class ServiceLevelQuery(StrictSerializer):
    """The query parameters of GET /v1/sla"""

    is_json = False
    month = serializers.CharField(
        required=False, max_length=7, help_text="Such as 2026-11. Not given: the running one."
    )


class AvailabilityResponse(serializers.Serializer):
    """How often we answered, by intervals of five minutes."""

    percent = serializers.CharField(
        allow_null=True, help_text="Exact, rounded down; null before the first interval is over."
    )
    promised_percent = serializers.CharField()
    intervals = serializers.IntegerField(help_text="that have passed")
    affected_intervals = serializers.IntegerField(help_text="not wholly available")
    requests = serializers.IntegerField()
    failures = serializers.IntegerField(help_text="answered with a status of 500 and more")


class ProcessingResponse(serializers.Serializer):
    """How many live jobs were processed as fast as promised: in at_least_ms and audio_factor times as long
    as their audio.
    """

    percent = serializers.CharField(allow_null=True, help_text="null without a job")
    promised_percent = serializers.CharField()
    jobs = serializers.IntegerField()
    late = serializers.IntegerField(help_text="took longer, or failed by our fault")
    at_least_ms = serializers.IntegerField()
    audio_factor = serializers.IntegerField()


class ServiceCreditResponse(serializers.Serializer):
    """What the month is worth less because it fell short."""

    percent = serializers.IntegerField()
    amount_minor = serializers.IntegerField()
    currency = serializers.ChoiceField(Currency.choices)
    status = serializers.ChoiceField(
        ServiceCredit.Status.choices, help_text="granted: it is on an invoice, or will be"
    )

    def to_representation(self, row: ServiceCredit) -> dict[str, Any]:
        return {name: getattr(row, name) for name in self.fields}


class ServiceDayResponse(serializers.Serializer):
    date = serializers.DateField()
    percent = serializers.CharField()


class ServiceLevelResponse(serializers.Serializer):
    """How well we kept what we promise, in a month, in the billing zone."""

    month = serializers.CharField()
    time_zone = serializers.CharField()
    until = serializers.DateTimeField(help_text="what is later is not counted yet")
    availability = AvailabilityResponse()
    processing = ProcessingResponse()
    days = ServiceDayResponse(many=True)
    credit = ServiceCreditResponse(allow_null=True)

    def to_representation(self, level: ServiceLevel) -> dict[str, Any]:
        credit = level.credit
        return {
            "month": level.month.name,
            "time_zone": level.month.zone,
            "until": level.until,
            "availability": {
                "percent": percent_of(level.availability),
                "promised_percent": percent_of(TARGET),
                "intervals": sum(level.intervals.values()),
                "affected_intervals": level.affected,
                "requests": level.requests,
                "failures": level.failures,
            },
            "processing": {
                "percent": percent_of(level.on_time),
                "promised_percent": percent_of(TARGET),
                "jobs": level.jobs,
                "late": level.jobs_late,
                "at_least_ms": PROMISED_AT_LEAST // timedelta(milliseconds=1),
                "audio_factor": PROMISED_BY_AUDIO,
            },
            "days": [
                {"date": day.isoformat(), "percent": percent_of(level.availability_on(day))}
                for day in sorted(level.intervals)
            ],
            "credit": None if credit is None else ServiceCreditResponse().to_representation(credit),
        }


class InvoiceLineResponse(serializers.Serializer):
    id = serializers.CharField()
    kind = serializers.ChoiceField(InvoiceLine.Kind.choices)
    plan = serializers.CharField(allow_null=True)
    starts_at = serializers.DateTimeField(help_text="what the line is for, [starts_at, ends_at)")
    ends_at = serializers.DateTimeField()
    audio_ms = serializers.IntegerField()
    days = serializers.IntegerField(allow_null=True, help_text="of a base fee")
    steps = StepResponse(many=True)
    reason = serializers.CharField(allow_null=True, help_text="of a credit")
    amount_minor = serializers.IntegerField()

    def to_representation(self, line: InvoiceLine) -> dict[str, Any]:
        return {
            "id": line.pk,
            "kind": line.kind,
            "plan": line.plan or None,
            "starts_at": line.starts_at,
            "ends_at": line.ends_at,
            "audio_ms": line.quantity_ms,
            "days": line.days,
            "steps": line.steps,
            "reason": line.reason or None,
            "amount_minor": line.amount_minor,
        }


class CreditNoteResponse(serializers.Serializer):
    id = serializers.CharField()
    number = serializers.CharField()
    reason = serializers.CharField()
    net_minor = serializers.IntegerField()
    tax_minor = serializers.IntegerField()
    total_minor = serializers.IntegerField()
    issued_at = serializers.DateTimeField()

    def to_representation(self, note: CreditNote) -> dict[str, Any]:
        return {
            "id": note.pk,
            "number": note.number,
            "reason": note.reason,
            "net_minor": note.net_minor,
            "tax_minor": note.tax_minor,
            "total_minor": note.total_minor,
            "issued_at": note.issued_at,
        }


class PartyResponse(serializers.Serializer):
    name = serializers.CharField()
    address = serializers.CharField()
    country = serializers.CharField()
    tax_id = serializers.CharField()


class InvoiceResponse(serializers.Serializer):
    """An invoice. Amounts are in the currency's smallest unit."""

    id = serializers.CharField()
    number = serializers.CharField(allow_null=True, help_text="null: a draft")
    status = serializers.ChoiceField(Invoice.Status.choices)
    month = serializers.CharField()
    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField(help_text="not of the period any more")
    time_zone = serializers.CharField()
    currency = serializers.ChoiceField(Currency.choices)
    net_minor = serializers.IntegerField(help_text="in Korea the supply value")
    tax_minor = serializers.IntegerField()
    tax_percent = serializers.CharField()
    total_minor = serializers.IntegerField()
    open_minor = serializers.IntegerField(help_text="yet to be paid; below zero: goes back")
    pays_by = serializers.ChoiceField(BillingAccount.PaysBy.choices)
    finalized_at = serializers.DateTimeField(allow_null=True)
    due_at = serializers.DateTimeField(allow_null=True)
    paid_at = serializers.DateTimeField(allow_null=True)
    seller = PartyResponse()
    buyer = PartyResponse()
    tax_approval_number = serializers.CharField(
        allow_null=True, help_text="of the Korean electronic tax invoice, which this is not"
    )
    lines = InvoiceLineResponse(many=True)
    credit_notes = CreditNoteResponse(many=True)

    def to_representation(self, row: Invoice) -> dict[str, Any]:
        from billing.invoicing import open_minor

        is_open = row.status in (Invoice.Status.FINALIZED, Invoice.Status.PAID)
        return {
            "id": row.pk,
            "number": row.number or None,
            "status": row.status,
            "month": row.month,
            "period_start": row.period_start,
            "period_end": row.period_end,
            "time_zone": row.time_zone,
            "currency": row.currency,
            "net_minor": row.net_minor,
            "tax_minor": row.tax_minor,
            "tax_percent": f"{row.tax_percent.normalize():f}",
            "total_minor": row.total_minor,
            "open_minor": open_minor(row) if is_open else 0,
            "pays_by": row.pays_by,
            "finalized_at": row.finalized_at,
            "due_at": row.due_at,
            "paid_at": row.paid_at,
            "seller": _party(row.seller),
            "buyer": _party(row.buyer),
            "tax_approval_number": row.tax_approval_number or None,
            "lines": [InvoiceLineResponse().to_representation(line) for line in row.lines.all()],
            "credit_notes": [
                CreditNoteResponse().to_representation(note)
                for note in row.credit_notes.order_by("issued_at", "number")
            ],
        }


def _party(party: dict[str, str]) -> dict[str, str]:
    return {name: party.get(name, "") for name in ("name", "address", "country", "tax_id")}


class InvoiceQuery(PageQuery):
    """The query parameters of GET /v1/invoices"""

    status = serializers.ChoiceField(Invoice.Status.choices, required=False)


class InvoicePage(serializers.Serializer):
    data = InvoiceResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class RunningMonth(serializers.Serializer):
    """The month that runs, before credits and tax."""

    month = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    spent_minor = serializers.IntegerField(help_text="rounded up")
    audio_ms = serializers.IntegerField(help_text="in the part of the month with this plan")
    included_ms = serializers.IntegerField(help_text="of that part")


class BillingResponse(serializers.Serializer):
    """Who pays, how, and how much at most."""

    plan = serializers.ChoiceField(Plan.choices)
    standing = serializers.ChoiceField(
        BillingAccount.Standing.choices,
        help_text="restricted: an invoice is long overdue, and no new jobs are taken",
    )
    currency = serializers.ChoiceField(Currency.choices)
    time_zone = serializers.CharField(help_text="in which months begin")
    country = serializers.CharField(help_text="ISO 3166-1, two letters")
    legal_name = serializers.CharField()
    address = serializers.CharField()
    email = serializers.CharField(help_text="for invoices; empty: the members who may see them")
    language = serializers.ChoiceField(LANGUAGES, help_text="of invoices and mails")
    tax_id = serializers.CharField(help_text="in Korea the business registration number")
    representative = serializers.CharField()
    business_type = serializers.CharField()
    business_item = serializers.CharField()
    pays_by = serializers.ChoiceField(BillingAccount.PaysBy.choices)
    has_card = serializers.BooleanField()
    cap_minor = serializers.IntegerField(
        allow_null=True, help_text="the most that a month may cost, before tax; null: no end"
    )
    running = RunningMonth()


class UpdateBillingRequest(StrictSerializer):
    """PATCH /v1/billing"""

    currency = serializers.ChoiceField(
        Currency.choices, required=False, help_text="Can be changed until something is used."
    )
    time_zone = serializers.CharField(
        max_length=50,
        required=False,
        help_text="IANA, such as Asia/Seoul. Can be changed until the first invoice.",
    )
    country = serializers.RegexField(
        r"^[A-Z]{2}$",
        required=False,
        error_messages={
            "invalid": gettext_lazy("Use two letters as ISO 3166-1 has them, such as KR.")
        },
    )
    legal_name = NameText(max_length=200, required=False, allow_blank=True)
    address = EncodableText(max_length=500, required=False, allow_blank=True)
    email = serializers.EmailField(max_length=254, required=False, allow_blank=True)
    language = serializers.ChoiceField(LANGUAGES, required=False)
    tax_id = EncodableText(max_length=30, required=False, allow_blank=True)
    representative = NameText(max_length=100, required=False, allow_blank=True)
    business_type = NameText(max_length=100, required=False, allow_blank=True)
    business_item = NameText(max_length=100, required=False, allow_blank=True)
    pays_by = serializers.ChoiceField(BillingAccount.PaysBy.choices, required=False)
    cap_minor = serializers.IntegerField(
        min_value=0,
        max_value=LARGEST_AMOUNT,
        allow_null=True,
        required=False,
        help_text="The most that a month may cost, before tax: beyond it, jobs are refused.",
    )

    def validate_time_zone(self, value: str) -> str:
        if value not in available_timezones():
            raise serializers.ValidationError(
                _("Use a name of the IANA database, such as Asia/Seoul.")
            )
        return value


class ReturnRequest(StrictSerializer):
    """POST /v1/billing/card and /v1/billing/portal"""

    return_url = serializers.URLField(
        max_length=2_000, help_text="Where the person comes back to; https."
    )

    def validate_return_url(self, value: str) -> str:
        if not value.startswith("https://") and not value.startswith("http://127.0.0.1"):
            raise serializers.ValidationError(_("Use an address that begins with https://."))
        return value


class PageResponse(serializers.Serializer):
    url = serializers.URLField(help_text="Stripe's; it opens once and for a while")
