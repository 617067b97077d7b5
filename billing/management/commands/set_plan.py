"""``manage.py set_plan TENANT PLAN``"""

from argparse import ArgumentParser
from typing import Any

from accounts.plans import Plan, allowance_of
from billing.management.lookup import tenant_of
from billing.plan_changes import move_to_plan
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "Set a tenant's plan: what it pays, and how much it may have at a time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", help="its id, ten_...")
        parser.add_argument("plan", choices=Plan.values)
        parser.add_argument(
            "--next-month", action="store_true", help="from the next month on, as downgrades are"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        tenant, plan = tenant_of(options["tenant"]), options["plan"]
        at = move_to_plan(tenant, plan, next_month=options["next_month"])
        allowance = allowance_of(plan)
        self.stdout.write(
            f"{plan} from {at:%Y-%m-%dT%H:%M:%SZ} on: {allowance.requests:,} requests in "
            f"{allowance.window_s} s, {allowance.jobs:,} unfinished jobs with {allowance.lines:,} lines "
            "to be spoken."
        )
