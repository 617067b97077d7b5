"""Stripe's copy of what is paid by card: the customer, their card, and one invoice with the same lines.

Our invoice is the bill. It is written down at Stripe step by step; each step has an idempotency key, and
what Stripe answered is kept, so that a step is never done twice, whatever dies. Totals are compared before
Stripe's invoice is finalized. While Stripe is away everything else goes on, and the steps are tried again.
"""

from datetime import timedelta
from typing import Any

import stripe
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.tenancy import operating_for
from billing.invoicing import record_payment
from billing.models import BillingAccount, CreditNote, Invoice, StripeMirror
from billing.wording import words

log = structlog.get_logger(__name__)

_TIMEOUT_S = 20
# Whoever works on a mirror holds it so long.
_HOLD = timedelta(minutes=2)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=5), timedelta(hours=1)
# Stripe forgets idempotency keys after a day: what was begun earlier is looked for first.
_KEYS_HOLD = timedelta(hours=20)
_MOST_SHOWN = 100
State = StripeMirror.State


def client() -> stripe.StripeClient:
    """Stripe, or what VOICEREEL_STRIPE_URL names."""
    addresses: Any = {"api": settings.STRIPE_URL} if settings.STRIPE_URL else {}
    return stripe.StripeClient(
        settings.STRIPE_KEY,
        base_addresses=addresses,
        max_network_retries=0,  # ours are kept in the database
        http_client=stripe.RequestsClient(timeout=_TIMEOUT_S),
    )


def sweep_mirrors() -> int:
    """Go on with what is due. Returns how many were tried."""
    due = StripeMirror.objects.filter(state__in=State.open(), next_attempt_at__lte=timezone.now())
    subjects = list(due.order_by("next_attempt_at").values_list("tenant_id", "subject")[:200])
    for tenant_id, subject in subjects:
        with operating_for(tenant_id):
            mirror(tenant_id, subject)
    return len(subjects)


def mirror(tenant_id: str, subject: str) -> None:
    """Take the steps that an invoice or a credit note still needs, if nobody else is at it."""
    now = timezone.now()
    rows = StripeMirror.objects.for_tenant(tenant_id).filter(
        subject=subject, state__in=State.open(), next_attempt_at__lte=now
    )
    if not rows.update(next_attempt_at=now + _HOLD, attempts=F("attempts") + 1):
        return
    row = StripeMirror.objects.for_tenant(tenant_id).get(subject=subject)
    try:
        if subject.startswith("inv_"):
            _mirror_invoice(row)
        else:
            _mirror_credit_note(row)
    except stripe.StripeError as exc:
        wait = min(_FIRST_WAIT * 2 ** min(row.attempts, 12), _LONGEST_WAIT)
        row.next_attempt_at = timezone.now() + wait
        row.last_error = f"{type(exc).__name__}: {exc.user_message or exc}"[:500]
        row.save(update_fields=["next_attempt_at", "last_error"])
        log.warning("stripe.failed", subject=subject, error=type(exc).__name__)


def _done(row: StripeMirror, state: str, **fields: Any) -> None:
    """Keep how far a mirror is: the next step begins here."""
    row.state, row.last_error, row.next_attempt_at = state, "", timezone.now()
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()


def _mirror_invoice(row: StripeMirror) -> None:
    invoice = Invoice.objects.for_tenant(row.tenant_id).get(pk=row.subject)
    api = client()
    if not _is_for_the_card(invoice):
        _drop(api, row)
        return
    if row.state == State.WAITING:
        _done(row, State.CREATED, stripe_id=_created_invoice(api, row, invoice))
    if row.state == State.CREATED:
        lines = _lines(invoice)
        for start in range(0, len(lines), _MOST_SHOWN):
            api.v1.invoices.add_lines(
                row.stripe_id,
                {"lines": lines[start : start + _MOST_SHOWN]},
                _key(row, f"lines-{start}"),
            )
        _done(row, State.LINED)
    if row.state == State.LINED:
        theirs = api.v1.invoices.retrieve(row.stripe_id)
        if theirs.total != invoice.total_minor:
            log.error("stripe.mismatch", invoice_id=invoice.pk, ours=invoice.total_minor)
            _done(
                row,
                State.HELD,
                last_error=f"Stripe's total is {theirs.total}, ours {invoice.total_minor}",
            )
            return
        api.v1.invoices.finalize_invoice(
            row.stripe_id, {"auto_advance": False}, _key(row, "finalize")
        )
        _done(row, State.FINALIZED)
    if row.state == State.FINALIZED:
        # The steps before may have taken hours, with Stripe away: what is so by now counts.
        invoice.refresh_from_db()
        if not _is_for_the_card(invoice):
            _drop(api, row)
            return
        try:
            # Each card that is tried is another attempt; the same one is never charged twice.
            api.v1.invoices.pay(row.stripe_id, {}, _key(row, f"pay-{row.cards_tried}"))
        except stripe.CardError as exc:
            # Stripe's own event tells it too; dunning goes on by the date on which it is due.
            _done(row, State.DECLINED, last_error=(exc.user_message or str(exc))[:500])
            return
        take_invoice(row)


def _is_for_the_card(invoice: Invoice) -> bool:
    """Whether an invoice is yet to be paid, and nothing of it was paid otherwise: the card pays all."""
    return invoice.status == Invoice.Status.FINALIZED and not invoice.payments.exists()


def _drop(api: stripe.StripeClient, row: StripeMirror) -> None:
    """End a mirror that charges nothing any more, and Stripe's invoice with it."""
    if row.stripe_id:
        theirs = api.v1.invoices.retrieve(row.stripe_id)
        if theirs.status == "paid":  # what we were never told of
            take_invoice(row)
            return
        if theirs.status == "draft":
            api.v1.invoices.delete(row.stripe_id)
        elif theirs.status == "open":
            api.v1.invoices.void_invoice(row.stripe_id, {}, _key(row, "void"))
    log.info("stripe.dropped", invoice_id=row.subject)
    _done(row, State.DROPPED)


def _created_invoice(api: stripe.StripeClient, row: StripeMirror, invoice: Invoice) -> str:
    account = BillingAccount.objects.for_tenant(row.tenant_id).get()
    if row.created_at < timezone.now() - _KEYS_HOLD:
        known = api.v1.invoices.list({"customer": account.stripe_customer_id, "limit": _MOST_SHOWN})
        for theirs in known.auto_paging_iter():
            about: Any = theirs.metadata
            if about and about.to_dict().get("invoice") == invoice.pk:
                return str(theirs.id)
    made = api.v1.invoices.create(
        {
            "customer": account.stripe_customer_id,
            "currency": invoice.currency.lower(),
            "collection_method": "charge_automatically",
            "auto_advance": False,
            "pending_invoice_items_behavior": "exclude",
            "description": invoice.number,
            "metadata": {"invoice": invoice.pk, "number": invoice.number},
        },
        _key(row, "create"),
    )
    return str(made.id)


def _lines(invoice: Invoice) -> list[Any]:
    """Ours, and the tax as one more, so that the totals are of the same parts."""
    say = words(invoice.language)
    lines: list[Any] = [
        {
            "amount": line.amount_minor,
            "description": line.reason or say(line.kind),
            "metadata": {"line": line.pk},
        }
        for line in invoice.lines.all()
    ]
    taxed = invoice.total_minor - sum(line["amount"] for line in lines)
    if taxed:
        lines.append({"amount": taxed, "description": say("tax"), "metadata": {"line": "tax"}})
    return lines


def _key(row: StripeMirror, step: str) -> Any:
    return {"idempotency_key": f"{row.subject}:{step}"}


def take_invoice(row: StripeMirror) -> None:
    """Look at Stripe's invoice, and book what it says was paid."""
    theirs = client().v1.invoices.retrieve(row.stripe_id)
    if theirs.status == "paid":
        invoice = Invoice.objects.for_tenant(row.tenant_id).get(pk=row.subject)
        with transaction.atomic():
            record_payment(
                invoice,
                theirs.amount_paid,
                method=BillingAccount.PaysBy.CARD,
                reference=f"stripe:{theirs.id}",
                received_at=timezone.now(),
            )
            _done(row, State.PAID)
    elif theirs.status == "open" and row.state == State.FINALIZED and theirs.attempted:
        _done(row, State.DECLINED)


def _mirror_credit_note(row: StripeMirror) -> None:
    note = (
        CreditNote.objects.for_tenant(row.tenant_id).select_related("invoice").get(pk=row.subject)
    )
    of_invoice = (
        StripeMirror.objects.for_tenant(row.tenant_id).filter(subject=note.invoice_id).first()
    )
    if of_invoice is None or of_invoice.state in State.open():
        _done(row, State.WAITING, next_attempt_at=timezone.now() + _FIRST_WAIT)
        return
    asked: Any = {
        "invoice": of_invoice.stripe_id,
        "amount": note.total_minor,
        "memo": note.reason,
        "metadata": {"credit_note": note.pk},
    }
    if note.refunded:
        asked["refund_amount"] = note.total_minor
    made = client().v1.credit_notes.create(asked, _key(row, "create"))
    with transaction.atomic():
        if note.refunded:
            record_payment(
                note.invoice,
                -note.total_minor,
                method=BillingAccount.PaysBy.CARD,
                reference=f"stripe:{made.id}",
                received_at=timezone.now(),
            )
        _done(row, State.PAID, stripe_id=str(made.id))


def retry_payment(row: StripeMirror) -> None:
    """Try again, now that there is another card."""
    _done(row, State.FINALIZED, cards_tried=row.cards_tried + 1)
