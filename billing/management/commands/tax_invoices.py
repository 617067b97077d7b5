"""``manage.py tax_invoices MONTH [--approved INVOICE=NUMBER]``"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from billing.management.lookup import invoice_of, month_of
from billing.models import CreditNote, Invoice
from billing.tax_invoices import export, needs_tax_invoice
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = (
        "Print the Korean tax invoices that are yet to be issued of what was finalized in a month, as CSV for "
        "an issuing service; or keep the approval number that it answered."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("month", help="2026-11")
        parser.add_argument("--approved", metavar="INVOICE=NUMBER")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["approved"]:
            name, _, number = options["approved"].partition("=")
            invoice = invoice_of(name)
            if not needs_tax_invoice(invoice) or not number:
                raise CommandError(f"{name} is of no Korean company, or there is no number.")
            invoice.tax_approval_number = number
            invoice.save(update_fields=["tax_approval_number"])
            self.stdout.write(f"{invoice.number} has the tax invoice {number}.")
            return
        month = month_of(options["month"])
        invoices = Invoice.objects.filter(
            finalized_at__gte=month.start, finalized_at__lt=month.end
        ).exclude(status=Invoice.Status.VOID)
        notes = CreditNote.objects.filter(issued_at__gte=month.start, issued_at__lt=month.end)
        shown = export(
            invoices.order_by("number"), notes.select_related("invoice").order_by("number")
        )
        self.stdout.write(shown, ending="")
