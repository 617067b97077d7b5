"""``manage.py dead_letters``: what was given up, for an operator to look at and to requeue."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from accounts import outbox
from accounts.models import OutboxMessage
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "List the messages that nobody would take for a day, or requeue some."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--requeue", nargs="+", metavar="ID", help="numbers, or all")

    def handle(self, *args: Any, **options: Any) -> None:
        dead = OutboxMessage.objects.exclude(given_up_at=None).order_by("pk")
        wanted = options["requeue"]
        if wanted is None:
            for message in dead:
                self.stdout.write(
                    f"{message.pk}\t{message.given_up_at:%Y-%m-%d %H:%M}\t{message}\t"
                    f"{message.attempts} attempts\t{message.last_error}"
                )
            return
        if wanted != ["all"]:
            if not all(number.isdigit() for number in wanted):
                raise CommandError("Give the numbers that dead_letters lists, or all.")
            dead = dead.filter(pk__in=wanted)
        letters = list(dead)
        for message in letters:
            outbox.requeue(message)
        self.stdout.write(f"{len(letters)} requeued")
