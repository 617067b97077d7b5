"""``manage.py set_plan TENANT PLAN``"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from accounts.plans import Plan, allowance_of
from billing.accounts import account_of, change_plan
from billing.management.lookup import tenant_of
from billing.periods import Month
from billing.plan_changes import put_on_plan


class Command(BaseCommand):
    help = "Set a tenant's plan: what it pays, and how much it may have at a time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", help="its id, ten_...")
        parser.add_argument("plan", choices=Plan.values)
        parser.add_argument(
            "--next-month", action="store_true", help="from the next month on, as downgrades are"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        tenant, plan = tenant_of(options["tenant"]), options["plan"]
        now = timezone.now()
        at = Month.containing(now, account_of(tenant, now).time_zone).end
        if not options["next_month"]:
            at = now
        with transaction.atomic():
            change_plan(tenant, plan, at)
        if not options["next_month"]:
            put_on_plan(tenant, plan)
        allowance = allowance_of(plan)
        self.stdout.write(
            f"{plan} from {at:%Y-%m-%dT%H:%M:%SZ} on: {allowance.requests:,} requests in "
            f"{allowance.window_s} s, {allowance.jobs:,} unfinished jobs with {allowance.lines:,} lines "
            "to be spoken."
        )
