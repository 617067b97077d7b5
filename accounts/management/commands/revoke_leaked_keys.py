"""``manage.py revoke_leaked_keys < leak.txt``"""

import sys
from argparse import ArgumentParser, FileType
from typing import Any

from django.utils import timezone

from accounts.keys import keys_in, revoke_key
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "Find API keys in a text by their pattern and checksum, and revoke those that work."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=FileType("r"), default=sys.stdin)
        parser.add_argument("--dry-run", action="store_true", help="only say which there are")

    def handle(self, *args: Any, **options: Any) -> None:
        found = 0
        with options["file"] as text:
            for row in keys_in(text.read()):
                found += 1
                dead = row.is_dead(timezone.now())
                if not dead and not options["dry_run"]:
                    revoke_key(row)
                what = "dead before" if dead else "works" if options["dry_run"] else "revoked"
                # By its name: a log is no place for a key.
                self.stdout.write(f"{row.pk}\t{row.tenant_id}\t{row.prefix}\t{what}")
        self.stderr.write(f"{found} of our keys found")
