"""``manage.py create_tenant NAME``"""

from argparse import ArgumentParser
from typing import Any

from django.db import transaction

from accounts.keys import issue_key
from accounts.models import Tenant
from accounts.plans import Plan
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "Make a tenant and print its first API key. The key cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the customer organisation's name")
        parser.add_argument("--plan", choices=Plan.values, default=Plan.STANDARD)
        parser.add_argument("--test", action="store_true", help="a vr_test_ key")

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            tenant = Tenant.objects.create(name=options["name"], plan=options["plan"])
            _, key, _ = issue_key(tenant, label="first key", live=not options["test"])
        self.stderr.write(f"Tenant {tenant.pk} ({tenant.name}). Its key, shown only now:")
        self.stdout.write(key)
