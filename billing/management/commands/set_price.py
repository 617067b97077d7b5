"""``manage.py set_price PLAN CURRENCY --from TIME --tier ...``"""

from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from accounts.plans import Plan
from billing.management.lookup import instant_of, tenant_of
from billing.models import Price
from billing.money import Currency
from billing.pricing import MS_PER_MINUTE
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = (
        "Add a version of a plan's price. Earlier ones stay: a part of a month is priced by the version that "
        "was in force when it began."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("plan", choices=Plan.values)
        parser.add_argument("currency", choices=Currency.values)
        parser.add_argument("--from", dest="valid_from", required=True, metavar="TIME")
        parser.add_argument(
            "--base-fee", type=int, default=0, help="of a month, in the smallest unit"
        )
        parser.add_argument("--included", type=int, default=0, help="minutes of a month")
        parser.add_argument(
            "--tier",
            action="append",
            default=[],
            metavar="MINUTES=PRICE",
            help="a minute's price in the smallest unit, up to so many beyond what is included; the last "
            "tier has no end: =PRICE. None: nothing beyond may be used",
        )
        parser.add_argument("--tax-included", action="store_true")
        parser.add_argument("--tenant", help="whose own price it is; not given: the list's")

    def handle(self, *args: Any, **options: Any) -> None:
        at = instant_of(options["valid_from"])
        if at < timezone.now():
            raise CommandError("A price begins now or later: what ran was quoted at another.")
        tenant = tenant_of(options["tenant"]) if options["tenant"] else None
        row = Price.objects.create(
            plan=options["plan"],
            currency=options["currency"],
            tenant=tenant,
            valid_from=at,
            base_fee_minor=options["base_fee"],
            included_ms=options["included"] * MS_PER_MINUTE,
            tiers=_tiers(options["tier"]),
            tax_included=options["tax_included"],
        )
        self.stdout.write(
            f"{row.pk}: {row.plan} in {row.currency} from {at:%Y-%m-%dT%H:%M:%SZ} on."
        )


def _tiers(given: list[str]) -> list[dict[str, Any]]:
    tiers: list[dict[str, Any]] = []
    for text in given:
        upto, _, price = text.partition("=")
        try:
            per_minute = Decimal(price)
            up_to_ms = int(upto) * MS_PER_MINUTE if upto else None
        except (InvalidOperation, ValueError) as exc:
            raise CommandError(f"{text} is no tier. Write 1200=15, and =12 for the last.") from exc
        tiers.append({"up_to_ms": up_to_ms, "per_minute": str(per_minute)})
    ends = [tier["up_to_ms"] for tier in tiers]
    if ends and (ends[-1] is not None or None in ends[:-1] or ends[:-1] != sorted(ends[:-1])):
        raise CommandError(
            "Tiers go upwards, and the last alone has no end: --tier 1200=15 --tier =12."
        )
    return tiers
