"""Money by bank transfer: a statement's deposits, matched with open invoices by file or by hand.

A statement is CSV with the columns reference, payer, amount, currency, received_at; amounts are in the
currency's ordinary form (12300, 1.50). The reference is the bank's own, so a file may be given twice.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from django.db import transaction

from billing.invoicing import open_minor, record_payment
from billing.models import BillingAccount, Invoice, Payment, UnmatchedDeposit
from billing.money import Currency, in_minor

_NUMBER = re.compile(r"VR\d{4}-\d{6}")
COLUMNS = ("reference", "payer", "amount", "currency", "received_at")


class StatementRefused(Exception):
    """A statement that cannot be read, with the row that is at fault. Nothing of it was booked."""


@dataclass(frozen=True)
class Deposit:
    """Money that came in. payer: as the bank names them, which may hold an invoice's number."""

    reference: str
    payer: str
    amount_minor: int
    currency: str
    received_at: datetime


def read_statement(lines: Iterable[str]) -> list[Deposit]:
    """All deposits of a statement. Raises StatementRefused."""
    rows = csv.DictReader(lines)
    if rows.fieldnames is None or not set(COLUMNS) <= set(rows.fieldnames):
        raise StatementRefused(f"The first row has to name the columns {', '.join(COLUMNS)}.")
    return list(_deposits(rows))


def _deposits(rows: Iterable[dict[str, str]]) -> Iterator[Deposit]:
    for number, row in enumerate(rows, start=2):
        try:
            currency = Currency(row["currency"].strip().upper())
            at = datetime.fromisoformat(row["received_at"].strip())
            yield Deposit(
                row["reference"].strip(),
                row["payer"].strip(),
                in_minor(Decimal(row["amount"].replace(",", "").strip()), currency),
                currency,
                at if at.tzinfo else at.replace(tzinfo=UTC),
            )
        except (ValueError, InvalidOperation, AttributeError) as exc:
            raise StatementRefused(f"Row {number} cannot be read: {exc}") from exc


def match_deposits(deposits: Sequence[Deposit]) -> tuple[list[Payment], list[UnmatchedDeposit]]:
    """Book deposits whose invoice is beyond doubt; the others wait for an operator. As an operator.

    Beyond doubt: the payer's text has the invoice's number, or exactly one open invoice has this amount
    and a buyer of this name.
    """
    booked, waiting = [], []
    for deposit in deposits:
        if Payment.objects.filter(reference=deposit.reference).exists():
            continue
        invoice = _invoice_of(deposit)
        if invoice is None:
            row, _ = UnmatchedDeposit.objects.get_or_create(
                reference=deposit.reference,
                defaults={
                    "payer": deposit.payer[:200],
                    "amount_minor": deposit.amount_minor,
                    "currency": deposit.currency,
                    "received_at": deposit.received_at,
                },
            )
            waiting.append(row)
        else:
            booked.append(_book(invoice, deposit))
    return booked, waiting


def match_by_hand(row: UnmatchedDeposit, invoice: Invoice) -> Payment:
    """Book a deposit for the invoice that an operator names. Raises ValueError for another currency, or for
    what nobody is asked to pay: a draft, or what is void.
    """
    if row.currency != invoice.currency:
        raise ValueError(f"The deposit is in {row.currency}, the invoice in {invoice.currency}.")
    with transaction.atomic():
        held = Invoice.objects.for_tenant(invoice.tenant_id).select_for_update()
        invoice = held.get(pk=invoice.pk)
        if invoice.status not in (Invoice.Status.FINALIZED, Invoice.Status.PAID):
            raise ValueError(f"{invoice.number or invoice.pk} is {invoice.status}.")
        payment = record_payment(
            invoice,
            row.amount_minor,
            method=BillingAccount.PaysBy.TRANSFER,
            reference=row.reference,
            received_at=row.received_at,
        )
        row.delete()
    return payment


def _book(invoice: Invoice, deposit: Deposit) -> Payment:
    UnmatchedDeposit.objects.filter(reference=deposit.reference).delete()
    return record_payment(
        invoice,
        deposit.amount_minor,
        method=BillingAccount.PaysBy.TRANSFER,
        reference=deposit.reference,
        received_at=deposit.received_at,
    )


def _invoice_of(deposit: Deposit) -> Invoice | None:
    asked = Invoice.objects.filter(
        status=Invoice.Status.FINALIZED,
        currency=deposit.currency,
        finalized_at__lte=deposit.received_at,
    )
    if match := _NUMBER.search(deposit.payer.upper()):
        return asked.filter(number=match.group()).first()
    name = _plain(deposit.payer)
    fitting = [
        row
        for row in asked.filter(total_minor__gte=deposit.amount_minor)
        if open_minor(row) == deposit.amount_minor and _plain(row.buyer["name"]) == name
    ]
    return fitting[0] if len(fitting) == 1 else None


def _plain(name: str) -> str:
    """Names as banks write them: without spaces, marks and case."""
    return "".join(character for character in name.casefold() if character.isalnum())
