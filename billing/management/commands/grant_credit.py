"""``manage.py grant_credit TENANT AMOUNT CURRENCY REASON``"""

from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from django.core.management.base import CommandError

from billing.credits import grant_credit
from billing.management.lookup import instant_of, tenant_of
from billing.money import Currency, in_minor, shown
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "Take money off a tenant's next invoices, before tax."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", help="its id, ten_...")
        parser.add_argument("amount", type=Decimal, help="such as 12300 or 1.50")
        parser.add_argument("currency", choices=Currency.values)
        parser.add_argument("reason", help="as the invoice says it")
        parser.add_argument("--expires", metavar="TIME")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = tenant_of(options["tenant"])
        try:
            row = grant_credit(
                tenant,
                in_minor(options["amount"], options["currency"]),
                options["currency"],
                options["reason"],
                instant_of(options["expires"]) if options["expires"] else None,
            )
        except ValueError as exc:
            raise CommandError(str(exc)) from exc
        amount = shown(row.amount_minor, row.currency)
        self.stdout.write(f"{row.pk}: {amount} for {tenant.name}.")
