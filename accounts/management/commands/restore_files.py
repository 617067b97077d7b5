"""``manage.py restore_files 2026-11-28T12:34:56Z``"""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from accounts.stored_files import restore_versions
from voicereel_site.commands import QuickCommand


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ArgumentTypeError(str(exc)) from exc
    if at.tzinfo is None:
        raise ArgumentTypeError("Say of which zone it is: 2026-11-28T12:34:56Z.")
    return at


class Command(QuickCommand):
    help = (
        "Bring back the files that were there at an instant and are gone or changed since, from a bucket "
        "that keeps versions: after the database was restored to that instant."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("at", type=_instant, help="such as 2026-11-28T12:34:56Z")
        parser.add_argument("--prefix", default="", help="of keys: t/ten_... is a tenant's")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            restored = restore_versions(options["at"], options["prefix"])
        except ValueError as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(f"{restored} files were brought back")
