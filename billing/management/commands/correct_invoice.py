"""``manage.py correct_invoice INVOICE void|credit REASON``"""

from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from billing.invoicing import credit_invoice, void_invoice
from billing.management.lookup import invoice_of, refusals_in_words
from billing.money import in_minor, shown
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = (
        "Void an invoice of which nothing was paid, so that its usage is billed anew; or credit a part of a "
        "finalized one, or all of it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("invoice", help="its number or id")
        parser.add_argument("what", choices=["void", "credit"])
        parser.add_argument("reason", help="as the credit note says it")
        parser.add_argument("--amount", type=Decimal, help="to credit, before tax; not given: all")

    def handle(self, *args: Any, **options: Any) -> None:
        invoice = invoice_of(options["invoice"])
        with refusals_in_words():
            if options["what"] == "void":
                void_invoice(invoice, reason=options["reason"])
                self.stdout.write(f"{invoice.number or invoice.pk} is void.")
                return
            amount = options["amount"]
            net = None if amount is None else in_minor(amount, invoice.currency)
            note = credit_invoice(invoice, net, reason=options["reason"])
        self.stdout.write(
            f"{note.number}: {shown(note.total_minor, invoice.currency)} of {invoice.number}."
        )
