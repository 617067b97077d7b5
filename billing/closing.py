"""The monthly close: what does not agree, all drafts, one action that finalizes them, and the journal."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db.models import Count, F, Q, Sum
from django.utils import timezone

from accounts.models import Tenant
from accounts.tenancy import operating_for
from billing.accounts import account_of
from billing.invoicing import draft_invoice, finalize_invoice, is_due, month_to_draft
from billing.models import (
    BillingAccount,
    CreditNote,
    Invoice,
    InvoiceLine,
    InvoiceLineEvent,
    Payment,
    StripeMirror,
    UnmatchedDeposit,
    UsageEvent,
)
from billing.money import plain
from billing.periods import Month
from billing.rollups import mismatches

log = structlog.get_logger(__name__)

DRAFTED_FOR = timedelta(days=5)  # after a month's end drafts are made


@dataclass(frozen=True)
class Mismatch:
    """Two books that do not agree. blocks: whether the invoice must not be finalized."""

    tenant_id: str
    what: str
    blocks: bool = True


def draft_last_month() -> int:
    """Draft the month before for every tenant whose month has ended. Returns how many drafts there are."""
    now = timezone.now()
    made = 0
    for tenant in Tenant.objects.order_by("pk").iterator():
        with operating_for(tenant.pk):
            account = account_of(tenant, now)
            month = month_to_draft(account, now)
            if tenant.created_at < month.end and now < month.end + DRAFTED_FOR:
                made += draft_invoice(tenant, month) is not None
    return made


def drafts(at: datetime) -> list[Invoice]:
    """The drafts whose grace period is over."""
    rows = Invoice.objects.filter(status=Invoice.Status.DRAFT).select_related("tenant")
    return [row for row in rows.order_by("period_end", "pk") if is_due(row, at)]


def find_mismatches() -> list[Mismatch]:
    """Everything that does not agree: ledger and rollups, ledger and running totals, lines and their
    events, our invoices and Stripe's, deposits and invoices.
    """
    found = []
    for tenant in Tenant.objects.order_by("pk").iterator():
        with operating_for(tenant.pk):
            found += [Mismatch(tenant.pk, what) for what in mismatches(tenant)]
            found += _running_total(tenant)
    found += _lines()
    found += _of_stripe()
    for deposit in UnmatchedDeposit.objects.order_by("received_at"):
        amount = plain(deposit.amount_minor, deposit.currency)
        what = f"deposit {deposit.reference} of {amount} {deposit.currency} fits no invoice"
        found.append(Mismatch("", what, blocks=False))
    return found


def _running_total(tenant: Tenant) -> Iterator[Mismatch]:
    row = BillingAccount.objects.for_tenant(tenant).first()
    if row is None:
        return
    events = UsageEvent.objects.for_tenant(tenant).filter(
        meter=UsageEvent.Meter.AUDIO_MS, occurred_at__gte=row.since, occurred_at__lt=row.until
    )
    ledger = events.aggregate(sum=Sum("quantity"))["sum"] or 0
    if ledger != row.audio_ms:
        what = f"{tenant.pk}: the ledger has {ledger:,} ms since {row.since:%Y-%m-%dT%H:%MZ}, the "
        yield Mismatch(tenant.pk, f"{what}account {row.audio_ms:,}")


def _lines() -> Iterator[Mismatch]:
    summed = (
        InvoiceLine.objects.filter(kind__in=("audio", "late_audio"))
        .exclude(invoice__status=Invoice.Status.VOID)
        .annotate(sum=Sum("events__event__quantity"), count=Count("events"))
        .exclude(sum=F("quantity_ms"))
    )
    for line in summed:
        what = f"line {line.pk} bills {line.quantity_ms:,} ms, its events have {line.sum or 0:,}"
        yield Mismatch(line.tenant_id, what)
    twice = InvoiceLineEvent.objects.values("event").annotate(n=Count("line")).filter(n__gt=1)
    for row in twice:
        yield Mismatch("", f"event {row['event']} is on {row['n']} lines")


def _of_stripe() -> Iterator[Mismatch]:
    for row in StripeMirror.objects.exclude(state=StripeMirror.State.PAID).order_by("created_at"):
        what = f"{row.subject} is {row.state} at Stripe. {row.last_error}".strip()
        yield Mismatch(row.tenant_id, what, blocks=row.state == StripeMirror.State.HELD)


@dataclass(frozen=True)
class Closed:
    """What a close did."""

    finalized: list[Invoice]
    held: list[Mismatch]


def close_month() -> Closed:
    """Finalize all drafts whose grace period is over, but for those of tenants whose books do not agree."""
    held = [one for one in find_mismatches() if one.blocks]
    held_tenants = {one.tenant_id for one in held}
    finalized = []
    for row in drafts(timezone.now()):
        if row.tenant_id in held_tenants or "" in held_tenants:
            continue
        with operating_for(row.tenant_id):
            done = finalize_invoice(row)
        if done.status != Invoice.Status.DRAFT:
            finalized.append(done)
    log.info("billing.closed", finalized=len(finalized), held=len(held))
    return Closed(finalized, held)


_COLUMNS = (
    *("date", "kind", "number", "tenant", "buyer", "tax_id", "currency", "net", "tax", "total"),
    *("reference",),
)


def journal(month: Month) -> str:
    """All that was finalized, credited, voided and paid in a month, as CSV, in order."""
    start, end = month.start, month.end
    rows: list[tuple[datetime, list[str]]] = []
    for row in Invoice.objects.filter(finalized_at__gte=start, finalized_at__lt=end):
        rows.append((row.finalized_at, _entry("invoice", row, row.number, 1)))
    for row in Invoice.objects.filter(voided_at__gte=start, voided_at__lt=end).exclude(number=""):
        rows.append((row.voided_at, _entry("void", row, row.number, -1)))
    notes = CreditNote.objects.filter(issued_at__gte=start, issued_at__lt=end)
    for note in notes.select_related("invoice"):
        entry = _entry("credit_note", note.invoice, note.number, 0)
        amounts = (note.net_minor, note.tax_minor, note.total_minor)
        entry[6:9] = [plain(-amount, note.invoice.currency) for amount in amounts]
        entry[-1] = note.invoice.number
        rows.append((note.issued_at, entry))
    payments = Payment.objects.filter(Q(received_at__gte=start, received_at__lt=end))
    for payment in payments.select_related("invoice"):
        entry = _entry("payment", payment.invoice, payment.invoice.number, 0)
        entry[6:9] = ["", "", plain(payment.amount_minor, payment.currency)]
        entry[-1] = payment.reference
        rows.append((payment.received_at, entry))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for at, entry in sorted(rows, key=lambda row: (row[0], row[1])):
        writer.writerow([at.isoformat(), *entry])
    return out.getvalue()


def _entry(kind: str, invoice: Invoice, number: str, sign: int) -> list[str]:
    amounts = (invoice.net_minor, invoice.tax_minor, invoice.total_minor)
    return [
        *(kind, number, invoice.tenant_id, invoice.buyer.get("name", "")),
        *(invoice.buyer.get("tax_id", ""), invoice.currency),
        *(plain(sign * amount, invoice.currency) for amount in amounts),
        "",
    ]
