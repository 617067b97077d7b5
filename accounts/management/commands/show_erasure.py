"""``manage.py show_erasure ERASURE``"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.core.serializers.json import DjangoJSONEncoder

from accounts.models import Erasure
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "Print an erasure as JSON: how far it is, and once it is done, the proof."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("erasure", help="its id, era_...")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = Erasure.objects.filter(pk=options["erasure"]).values()
        row = rows.first()
        if row is None:
            raise CommandError(f"There is no erasure {options['erasure']}.")
        # Both are forgotten with its end.
        shown = {
            name: value for name, value in row.items() if name not in ("recipients", "pending")
        }
        self.stdout.write(json.dumps(shown, cls=DjangoJSONEncoder, indent=2))
