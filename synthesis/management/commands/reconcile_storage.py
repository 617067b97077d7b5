"""``manage.py reconcile_storage``: what beat does every night, by hand."""

from argparse import ArgumentParser
from typing import Any

from synthesis.orphans import find_orphans, reconcile_storage
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "Find files without a row, which are deleted, and rows without their file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only list them")

    def handle(self, *args: Any, **options: Any) -> None:
        found = list(find_orphans()) if options["dry_run"] else reconcile_storage()
        for orphan in found:
            self.stdout.write(f"{orphan.side.value}\t{orphan.path}")
        self.stderr.write(f"{len(found)} found")
