"""Invoices: drafted for a month, finalized after a grace period, and from then on never changed.

A draft is made of the ledger as often as one likes. What was reported late, after its month's invoice
was finalized, is on the next one, priced as if it had come in time.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.lookup import find_row
from accounts.models import Tenant, TenantOwned
from accounts.outbox import ask_for_task
from accounts.prepared import as_stored
from billing.accounts import Part, account_of, parts_of
from billing.models import (
    GRACE,
    TERM,
    BillingAccount,
    Credit,
    CreditNote,
    Invoice,
    InvoiceLine,
    InvoiceLineEvent,
    InvoiceSeries,
    Payment,
    StripeMirror,
    UsageEvent,
)
from billing.money import half_up, shown, truncated
from billing.periods import Month
from billing.pricing import amount_of, steps_of
from billing.taxes import tax_of
from voicereel_site.errors import Refusal

log = structlog.get_logger(__name__)

SEND_TASK, MIRROR_TASK = "billing.send_invoice", "billing.mirror"
CHARGE_TASK = "billing.charge_invoice"


def get_invoice(tenant: Tenant, invoice_id: str) -> Invoice:
    """This tenant's invoice. Raises not_found."""
    found: Invoice = find_row(Invoice.objects.for_tenant(tenant), invoice_id, "invoice")
    return found


def month_to_draft(account: BillingAccount, at: datetime) -> Month:
    """The month before the one that an instant lies in, where the tenant is billed."""
    return Month.containing(at, account.time_zone).before()


def draft_invoice(tenant: Tenant, month: Month) -> Invoice | None:
    """Make or remake the draft of a tenant's month; None if there is nothing to ask for.

    An invoice that is finalized is returned as it is. Raises ValueError if the month is not over.
    """
    if timezone.now() < month.end:
        raise ValueError(f"{month.name} is not over in {month.zone}.")
    account_of(tenant, timezone.now())
    with transaction.atomic():
        # Holding the account lets simultaneous drafts, and what changes prices, in one by one.
        account = BillingAccount.objects.for_tenant(tenant).select_for_update().get()
        account.tenant = tenant
        invoice: Invoice | None = (
            Invoice.objects.for_tenant(tenant)
            .filter(month=month.name)
            .exclude(status=Invoice.Status.VOID)
            .first()
        )
        if invoice is None:
            invoice = Invoice(
                tenant=tenant,
                month=month.name,
                period_start=month.start,
                period_end=month.end,
                time_zone=month.zone,
                currency=account.currency,
                language=account.language,
                pays_by=account.pays_by,
            )
        elif invoice.status != Invoice.Status.DRAFT:
            return invoice
        return _fill(invoice, account, month)


def _fill(invoice: Invoice, account: BillingAccount, month: Month) -> Invoice | None:
    """Make the lines of a draft of the ledger, in place of those that it has."""
    if invoice._state.adding:
        invoice.save(force_insert=True)
    else:
        invoice.lines.all().delete()
    lines: list[InvoiceLine] = []
    for part in _earlier_parts(account, month):
        lines += _audio_line(invoice, part, InvoiceLine.Kind.LATE_AUDIO, len(lines))
    for part in parts_of(account, month):
        if part.base_fee_minor:
            lines.append(_base_fee_line(invoice, part, len(lines)))
        lines += _audio_line(invoice, part, InvoiceLine.Kind.AUDIO, len(lines))
    lines += _credit_lines(invoice, lines)
    if not lines:
        invoice.delete()
        return None
    invoice.buyer = buyer_of(account)
    invoice.seller = dict(settings.SELLER)
    tax = tax_of(
        ((line.amount_minor, line.price is not None and line.price.tax_included) for line in lines),
        seller=invoice.seller["country"],
        buyer=invoice.buyer["country"],
    )
    invoice.net_minor, invoice.tax_minor = tax.net_minor, tax.tax_minor
    invoice.total_minor = tax.total_minor
    invoice.tax_percent, invoice.tax_note = tax.percent, tax.note
    invoice.language, invoice.pays_by = account.language, account.pays_by
    invoice.save()
    return invoice


def buyer_of(account: BillingAccount) -> dict[str, str]:
    """Who is asked to pay, as an invoice names them."""
    return {
        "name": account.legal_name or account.tenant.name,
        "address": account.address,
        "country": account.country,
        "tax_id": account.tax_id,
        "representative": account.representative,
        "business_type": account.business_type,
        "business_item": account.business_item,
        "email": account.email,
    }


def _earlier_parts(account: BillingAccount, month: Month) -> list[Part]:
    """Of earlier months, those of which something has come late."""
    late = (
        UsageEvent.objects.for_tenant(account.tenant_id)
        .filter(meter=UsageEvent.Meter.AUDIO_MS, occurred_at__lt=month.start, invoicelineevent=None)
        .values_list("occurred_at", flat=True)
    )
    moments = list(late)
    months = {Month.containing(at, month.zone) for at in moments}
    found = []
    for earlier in sorted(months, key=lambda one: one.start):
        for part in parts_of(account, earlier):
            if any(part.start <= at < part.end for at in moments):
                found.append(part)
    return found


def _base_fee_line(invoice: Invoice, part: Part, position: int) -> InvoiceLine:
    line: InvoiceLine = invoice.lines.create(
        tenant_id=invoice.tenant_id,
        position=position,
        kind=InvoiceLine.Kind.BASE_FEE,
        plan=part.plan,
        starts_at=part.start,
        ends_at=part.end,
        days=part.days,
        price=part.price,
        amount_minor=part.base_fee_minor,
    )
    return line


def _audio_line(invoice: Invoice, part: Part, kind: str, position: int) -> list[InvoiceLine]:
    """The audio of a part of a month that no line has yet; no line if there is none."""
    billed = InvoiceLineEvent.objects.for_tenant(invoice.tenant_id).filter(
        event__meter=UsageEvent.Meter.AUDIO_MS,
        event__occurred_at__gte=part.start,
        event__occurred_at__lt=part.end,
    )
    before_ms = billed.aggregate(sum=Sum("event__quantity"))["sum"] or 0
    line = InvoiceLine(
        tenant_id=invoice.tenant_id,
        invoice=invoice,
        position=position,
        kind=kind,
        plan=part.plan,
        starts_at=part.start,
        ends_at=part.end,
        price=part.price,
        amount_minor=0,
    )
    line.save(force_insert=True)
    # First they are tied and then they are added up: what is reported in between is on the next draft.
    if not _tie(line):
        line.delete()
        return []
    line.quantity_ms = line.events.aggregate(sum=Sum("event__quantity"))["sum"]
    steps = steps_of(line.quantity_ms, part.price.tariff, part.included_ms, after_ms=before_ms)
    line.amount_minor = half_up(amount_of(steps))
    line.steps = [step.as_json() for step in steps]
    line.save()
    return [line]


def _tie(line: InvoiceLine) -> int:
    """Tie to a line all the audio of its time that no line has. Returns how many events that is."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_invoicelineevent (event_id, line_id, tenant_id) "
            "SELECT id, %s, tenant_id FROM billing_usageevent AS event "
            "WHERE tenant_id = %s AND meter = 'audio_ms' AND occurred_at >= %s AND occurred_at < %s "
            # Not by NOT EXISTS, for which PostgreSQL may read all ties that there are.
            "ON CONFLICT (event_id) DO NOTHING",
            [line.pk, line.tenant_id, as_stored(line.starts_at), as_stored(line.ends_at)],
        )
        return int(cursor.rowcount)


def _credit_lines(invoice: Invoice, lines: Sequence[InvoiceLine]) -> list[InvoiceLine]:
    """What credits take off, those first that expire first; never below nothing."""
    left = sum(line.amount_minor for line in lines)
    found: list[InvoiceLine] = []
    for credit in open_credits(invoice.tenant_id, invoice.currency, invoice.period_end):
        amount = min(left, credit_left(credit))
        if amount <= 0:
            continue
        line: InvoiceLine = invoice.lines.create(
            tenant_id=invoice.tenant_id,
            position=len(lines) + len(found),
            kind=InvoiceLine.Kind.CREDIT,
            starts_at=invoice.period_start,
            ends_at=invoice.period_end,
            reason=credit.reason,
            credit=credit,
            price=next((one.price for one in lines if one.price is not None), None),
            amount_minor=-amount,
        )
        found.append(line)
        left -= amount
    return found


def open_credits(tenant_id: str, currency: str, at: datetime) -> list[Credit]:
    """Credits that may be used at an instant, those first that expire first."""
    rows = Credit.objects.for_tenant(tenant_id).filter(currency=currency, granted_at__lte=at)
    usable = rows.filter(Q(expires_at=None) | Q(expires_at__gt=at))
    return sorted(usable, key=lambda row: (row.expires_at is None, row.expires_at, row.pk))


def credit_left(credit: Credit) -> int:
    """What invoices that are not void have not taken of it, in minor units."""
    uses = InvoiceLine.objects.for_tenant(credit.tenant_id).filter(credit=credit)
    used = uses.exclude(invoice__status=Invoice.Status.VOID).aggregate(sum=Sum("amount_minor"))
    return credit.amount_minor + (used["sum"] or 0)


def next_number(series: str) -> str:
    """The next number of a series, without a gap: its row is held until the transaction ends."""
    InvoiceSeries.objects.get_or_create(name=series)
    row = InvoiceSeries.objects.select_for_update().get(name=series)
    row.last += 1
    row.save(update_fields=["last"])
    return f"{series}-{row.last:06}"


def is_due(invoice: Invoice, at: datetime) -> bool:
    """Whether a draft's grace period is over."""
    return at >= invoice.period_end + GRACE


def finalize_invoice(invoice: Invoice) -> Invoice:
    """Number a draft and freeze it, with what was reported until now. Again it does nothing."""
    now = timezone.now()
    with transaction.atomic():
        account = BillingAccount.objects.for_tenant(invoice.tenant_id).select_for_update().get()
        row: Invoice = (
            Invoice.objects.for_tenant(invoice.tenant_id).select_for_update().get(pk=invoice.pk)
        )
        if row.status != Invoice.Status.DRAFT:
            return row
        filled = _fill(row, account, Month.parse(row.month, row.time_zone))
        if filled is None:
            return row
        row.number = next_number(f"VR{now:%Y}")
        row.finalized_at, row.due_at = now, now + TERM
        row.status = Invoice.Status.FINALIZED
        if row.total_minor <= 0:
            row.status, row.paid_at = Invoice.Status.PAID, now
        row.save()
        _tell_finalized(row)
        audit.record(row.tenant_id, "invoice.finalized", row.pk, number=row.number)
        ask_for_task(SEND_TASK, row)
        if row.pays_by == BillingAccount.PaysBy.CARD and row.status == Invoice.Status.FINALIZED:
            mirror_later(row)
    log.info("invoice.finalized", invoice_id=row.pk, number=row.number)
    return row


def _tell_finalized(row: Invoice) -> None:
    from accounts.webhooks.events import Event, tell
    from billing.serializers import InvoiceResponse

    tell(row.tenant_id, Event.INVOICE_FINALIZED, lambda: InvoiceResponse(row).data)


def void_invoice(invoice: Invoice, *, reason: str) -> Invoice:
    """Take back a draft, or an invoice that nobody has paid anything of. Its usage may be billed anew.

    Raises validation_error (409).
    """
    with transaction.atomic():
        row: Invoice = (
            Invoice.objects.for_tenant(invoice.tenant_id).select_for_update().get(pk=invoice.pk)
        )
        if row.status == Invoice.Status.VOID:
            return row
        if row.status == Invoice.Status.PAID or row.payments.exists() or row.credit_notes.exists():
            detail = _("Something was paid or credited already. Issue a credit note instead.")
            raise Refusal("validation_error", detail, 409)
        row.status, row.voided_at = Invoice.Status.VOID, timezone.now()
        row.save(update_fields=["status", "voided_at"])
        InvoiceLineEvent.objects.for_tenant(row.tenant_id).filter(line__invoice=row).delete()
        audit.record(row.tenant_id, "invoice.voided", row.pk, reason=reason)
    return row


def credit_invoice(invoice: Invoice, net_minor: int | None, *, reason: str) -> CreditNote:
    """Take back a part of a finalized invoice, or all that is left of it.

    net_minor: before tax; None: all. What was paid beyond what is left goes back. Raises
    validation_error.
    """
    with transaction.atomic():
        row: Invoice = (
            Invoice.objects.for_tenant(invoice.tenant_id).select_for_update().get(pk=invoice.pk)
        )
        if row.status not in (Invoice.Status.FINALIZED, Invoice.Status.PAID):
            detail = _("Only a finalized invoice can be credited.")
            raise Refusal("validation_error", detail, 409)
        taken = row.credit_notes.aggregate(net=Sum("net_minor"), tax=Sum("tax_minor"))
        net_left = row.net_minor - (taken["net"] or 0)
        tax_left = row.tax_minor - (taken["tax"] or 0)
        net = net_left if net_minor is None else net_minor
        if not 0 < net <= net_left:
            detail = _("%(amount)s of this invoice are left to be credited.")
            detail %= {"amount": shown(net_left, row.currency)}
            raise Refusal("validation_error", detail)
        tax = tax_left if net == net_left else truncated(net * row.tax_percent / 100)
        note: CreditNote = row.credit_notes.create(
            tenant_id=row.tenant_id,
            number=next_number(f"CN{timezone.now():%Y}"),
            reason=reason,
            net_minor=net,
            tax_minor=tax,
            total_minor=net + tax,
            refunded=paid_minor(row) > net_left + tax_left - net - tax,
        )
        settle(row)
        if StripeMirror.objects.for_tenant(row.tenant_id).filter(subject=row.pk).exists():
            mirror_later(note)
        audit.record(row.tenant_id, "invoice.credited", row.pk, number=note.number)
    return note


def mirror_later(row: TenantOwned) -> None:
    """Have an invoice or a credit note written down at Stripe. Inside a transaction."""
    StripeMirror.objects.create(
        subject=row.pk, tenant_id=row.tenant_id, next_attempt_at=timezone.now()
    )
    ask_for_task(MIRROR_TASK, row)


def ask_to_charge(invoice: Invoice) -> None:
    """Have an open invoice charged to the tenant's card. Raises validation_error (409) if it is not open.

    The web side, which may not write to invoices' tables: charge_invoice does it.
    """
    if not is_chargeable(invoice):
        detail = _("Nothing of this invoice is open, or a part of it was paid otherwise already.")
        raise Refusal("validation_error", detail, 409)
    with transaction.atomic():
        audit.record(invoice.tenant_id, "invoice.charge_requested", invoice.pk)
        ask_for_task(CHARGE_TASK, invoice)


def is_chargeable(invoice: Invoice) -> bool:
    """Whether an invoice can be charged to a card: all of it is open, which is what Stripe is asked for."""
    is_open = invoice.status == Invoice.Status.FINALIZED
    return is_open and open_minor(invoice) == invoice.total_minor


def charge_invoice(invoice: Invoice) -> None:
    """Begin to charge an invoice that was to be transferred, or try a card again that was declined."""
    with transaction.atomic():
        row = Invoice.objects.for_tenant(invoice.tenant_id).select_for_update().get(pk=invoice.pk)
        mirrors = StripeMirror.objects.for_tenant(row.tenant_id).filter(subject=row.pk)
        if not is_chargeable(row):
            return
        if not mirrors.exists():
            mirror_later(row)
        else:
            mirrors.filter(state=StripeMirror.State.DECLINED).update(
                state=StripeMirror.State.FINALIZED,
                cards_tried=F("cards_tried") + 1,
                next_attempt_at=timezone.now(),
            )


def paid_minor(invoice: Invoice) -> int:
    """What came in for an invoice, less what went back."""
    return invoice.payments.aggregate(sum=Sum("amount_minor"))["sum"] or 0


def open_minor(invoice: Invoice) -> int:
    """What is yet to be paid of an invoice; below zero: what has to go back."""
    credited = invoice.credit_notes.aggregate(sum=Sum("total_minor"))["sum"] or 0
    return invoice.total_minor - credited - paid_minor(invoice)


def settle(invoice: Invoice) -> None:
    """Mark a finalized invoice paid once nothing of it is open, or open again. Inside a transaction."""
    is_paid = open_minor(invoice) <= 0
    if is_paid and invoice.status == Invoice.Status.FINALIZED:
        invoice.status, invoice.paid_at = Invoice.Status.PAID, timezone.now()
    elif not is_paid and invoice.status == Invoice.Status.PAID:
        invoice.status, invoice.paid_at = Invoice.Status.FINALIZED, None
    else:
        return
    invoice.save(update_fields=["status", "paid_at"])


def record_payment(
    invoice: Invoice, amount_minor: int, *, method: str, reference: str, received_at: datetime
) -> Payment:
    """Book money that came in for an invoice, or went back. The same reference is booked once."""
    from billing.dunning import review_standing

    with transaction.atomic():
        row: Invoice = (
            Invoice.objects.for_tenant(invoice.tenant_id).select_for_update().get(pk=invoice.pk)
        )
        payment, is_new = Payment.objects.get_or_create(
            reference=reference,
            defaults={
                "tenant_id": row.tenant_id,
                "invoice": row,
                "amount_minor": amount_minor,
                "currency": row.currency,
                "method": method,
                "received_at": received_at,
            },
        )
        if is_new:
            settle(row)
            review_standing(row.tenant_id)
            audit.record(row.tenant_id, "invoice.payment", row.pk, reference=reference)
    return payment
