"""``manage.py set_plan TENANT PLAN``"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Tenant
from accounts.plans import Plan, allowance_of


class Command(BaseCommand):
    help = "Set a tenant's plan: how many requests and unfinished jobs it may have at a time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", help="its id, ten_...")
        parser.add_argument("plan", choices=Plan.values)

    def handle(self, *args: Any, **options: Any) -> None:
        plan = options["plan"]
        if not Tenant.objects.filter(pk=options["tenant"]).update(plan=plan):
            raise CommandError(f"There is no tenant {options['tenant']}.")
        allowance = allowance_of(plan)
        self.stdout.write(
            f"{plan}: {allowance.requests:,} requests in {allowance.window_s} s, "
            f"{allowance.jobs:,} unfinished jobs with {allowance.lines:,} lines to be spoken."
        )
