"""``manage.py relay``: the one process that publishes the outbox."""

from argparse import ArgumentParser
from typing import Any

from accounts import outbox
from voicereel_site.commands import QuickCommand
from voicereel_site.rounds import run_rounds

_EVERY_S = 0.5


class Command(QuickCommand):
    help = "Publish what must leave the database, until it is stopped. A second one does no harm."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round, for operators")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            self.stdout.write(f"{outbox.relay()} messages went out")
            return
        # What is still due after a full round need not wait for the next.
        run_rounds("relay", outbox.relay, busy_s=0.0, idle_s=_EVERY_S)
