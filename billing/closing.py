"""The monthly close: what does not agree, all drafts, one action that finalizes them, and the journal."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from django.db import transaction
from django.db.models import Count, F, Q, Sum
from django.utils import timezone

from accounts import audit
from accounts.models import Tenant
from accounts.tenancy import operating_for
from billing.accounts import account_of, audio_between
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
)
from billing.money import plain
from billing.periods import Month
from billing.rollups import mismatches, rebuild_rollups
from billing.sla import propose_credit

log = structlog.get_logger(__name__)

DRAFTED_FOR = timedelta(days=5)  # after a month's end drafts are made


class Kind(StrEnum):
    """What does not agree, by how it is resolved."""

    COUNT = "count"  # what was counted of a tenant's ledger: it is counted again
    LINE = "line"  # an invoice's line and its events: drafted anew, or credited
    STRIPE = "stripe"
    DEPOSIT = "deposit"  # is matched by hand


@dataclass(frozen=True)
class Mismatch:
    """Two books that do not agree. subject: the id of what; blocks: whether the tenant's invoices must not
    be finalized.
    """

    kind: Kind
    tenant_id: str
    subject: str
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
                drafted = draft_invoice(tenant, month)
                if drafted is not None:
                    propose_credit(tenant, month, drafted)
                    made += 1
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
            found += [
                Mismatch(Kind.COUNT, tenant.pk, tenant.pk, what) for what in mismatches(tenant)
            ]
            found += _running_total(tenant)
    found += _lines()
    found += _of_stripe()
    for deposit in UnmatchedDeposit.objects.order_by("received_at"):
        amount = plain(deposit.amount_minor, deposit.currency)
        what = f"deposit {deposit.reference} of {amount} {deposit.currency} fits no invoice"
        found.append(Mismatch(Kind.DEPOSIT, "", deposit.reference, what, blocks=False))
    return found


def _running_total(tenant: Tenant) -> Iterator[Mismatch]:
    row = BillingAccount.objects.for_tenant(tenant).first()
    if row is None:
        return
    ledger = audio_between(tenant.pk, row.since, row.until)
    if ledger != row.audio_ms:
        what = f"{tenant.pk}: the ledger has {ledger:,} ms since {row.since:%Y-%m-%dT%H:%MZ}, the "
        yield Mismatch(Kind.COUNT, tenant.pk, tenant.pk, f"{what}account {row.audio_ms:,}")


def recount(tenant: Tenant) -> None:
    """Count a tenant's usage again from its ledger, which is right: its rollups, and its running total."""
    with transaction.atomic():
        rebuild_rollups(tenant.pk)
        # Whoever records usage holds the account first, and its events are there when it lets go.
        row = BillingAccount.objects.for_tenant(tenant).select_for_update().first()
        if row is not None:
            row.audio_ms = audio_between(tenant.pk, row.since, row.until)
            row.save(update_fields=["audio_ms"])
        audit.record(tenant.pk, "usage.recounted", tenant.pk)


def _lines() -> Iterator[Mismatch]:
    summed = (
        InvoiceLine.objects.filter(kind__in=("audio", "late_audio"))
        .exclude(invoice__status=Invoice.Status.VOID)
        .annotate(sum=Sum("events__event__quantity"), count=Count("events"))
        .exclude(sum=F("quantity_ms"))
    )
    for line in summed:
        what = f"line {line.pk} bills {line.quantity_ms:,} ms, its events have {line.sum or 0:,}"
        yield Mismatch(Kind.LINE, line.tenant_id, line.invoice_id, what)
    twice = InvoiceLineEvent.objects.values("event").annotate(n=Count("line")).filter(n__gt=1)
    for row in twice:
        what = f"event {row['event']} is on {row['n']} lines"
        yield Mismatch(Kind.LINE, "", row["event"], what)


def _of_stripe() -> Iterator[Mismatch]:
    for row in StripeMirror.objects.exclude(
        state__in=[StripeMirror.State.PAID, StripeMirror.State.DROPPED]
    ).order_by("created_at"):
        what = f"{row.subject} is {row.state} at Stripe. {row.last_error}".strip()
        held = row.state == StripeMirror.State.HELD
        yield Mismatch(Kind.STRIPE, row.tenant_id, row.subject, what, blocks=held)


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
