"""``manage.py grant_credit TENANT AMOUNT CURRENCY REASON``"""

from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import audit
from billing.management.lookup import instant_of, tenant_of
from billing.models import Credit
from billing.money import Currency, in_minor, shown


class Command(BaseCommand):
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
            amount = in_minor(options["amount"], options["currency"])
        except ValueError as exc:
            raise CommandError(str(exc)) from exc
        if amount <= 0:
            raise CommandError("A credit is more than nothing.")
        row = Credit.objects.create(
            tenant=tenant,
            amount_minor=amount,
            currency=options["currency"],
            reason=options["reason"],
            expires_at=instant_of(options["expires"]) if options["expires"] else None,
        )
        audit.record(tenant.pk, "credit.granted", row.pk, amount_minor=amount, reason=row.reason)
        self.stdout.write(f"{row.pk}: {shown(amount, row.currency)} for {tenant.name}.")
