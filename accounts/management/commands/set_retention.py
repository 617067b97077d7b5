"""``manage.py set_retention TENANT HOURS``"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from accounts.management.changes import change_tenant
from accounts.models import LONGEST_RETENTION_HOURS
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "Set how long a tenant's finished jobs are kept, from the next job on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", help="its id, ten_...")
        parser.add_argument("hours", help="1 or more, or forever")

    def handle(self, *args: Any, **options: Any) -> None:
        hours = options["hours"]
        if hours != "forever" and not (
            hours.isdecimal() and 1 <= int(hours) <= LONGEST_RETENTION_HOURS
        ):
            raise CommandError(
                f"HOURS is a whole number from 1 to {LONGEST_RETENTION_HOURS}, or forever."
            )
        kept = None if hours == "forever" else int(hours)
        change_tenant(options["tenant"], retention_hours=kept)
        self.stdout.write(f"Jobs are kept {hours if kept is None else f'{kept} hours'}.")
