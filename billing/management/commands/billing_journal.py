"""``manage.py billing_journal MONTH``"""

from argparse import ArgumentParser
from typing import Any

from billing.closing import journal
from billing.management.lookup import month_of
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "Print what was finalized, credited, voided and paid in a month, as CSV for the books."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("month", help="2026-11")
        parser.add_argument("--zone", default="Asia/Seoul", help="where the month begins")

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(journal(month_of(options["month"], options["zone"])), ending="")
