"""``manage.py deposits [FILE] [--match REFERENCE=INVOICE]``"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from billing.deposits import (
    COLUMNS,
    StatementRefused,
    match_by_hand,
    match_deposits,
    read_statement,
)
from billing.management.lookup import invoice_of
from billing.models import UnmatchedDeposit
from billing.money import shown
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = (
        "Book a bank statement's deposits for the invoices that they are beyond doubt for, and show those "
        f"that wait. FILE is CSV with the columns {', '.join(COLUMNS)}; it may be given twice."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=Path)
        parser.add_argument("--match", metavar="REFERENCE=INVOICE", help="book one that waits")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["match"]:
            self._match(options["match"])
        if options["file"]:
            try:
                with options["file"].open(newline="", encoding="utf-8-sig") as file:
                    booked, _ = match_deposits(read_statement(file))
            except StatementRefused as exc:
                raise CommandError(str(exc)) from exc
            for payment in booked:
                amount = shown(payment.amount_minor, payment.currency)
                self.stdout.write(
                    f"booked {payment.reference}: {amount} for {payment.invoice.number}"
                )
        for row in UnmatchedDeposit.objects.order_by("received_at"):
            amount = shown(row.amount_minor, row.currency)
            self.stdout.write(f"waits {row.reference}: {amount} of {row.payer}")

    def _match(self, text: str) -> None:
        reference, _, name = text.rpartition("=")
        row = UnmatchedDeposit.objects.filter(pk=reference).first()
        if row is None:
            raise CommandError(f"No deposit {reference} waits. Without --match, all are shown.")
        try:
            payment = match_by_hand(row, invoice_of(name))
        except ValueError as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(f"booked {payment.reference} for {payment.invoice.number}")
