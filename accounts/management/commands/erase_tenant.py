"""``manage.py erase_tenant TENANT``"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from accounts import audit
from accounts.models import Tenant
from accounts.privacy.erasures import begin_tenant_erasure
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = (
        "Erase a tenant for good: rows, files, log lines, people who belong to no other. It is shut out "
        "at once; the worker of the queue `operations` does the rest within minutes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", help="its id, ten_...")
        parser.add_argument("--confirm", required=True, help="the id once more")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant_id = options["tenant"]
        if options["confirm"] != tenant_id:
            raise CommandError("To confirm, name the same id twice.")
        if not Tenant.objects.filter(pk=tenant_id).exists():
            raise CommandError(f"There is no tenant {tenant_id}.")
        with transaction.atomic(), audit.acting_as(audit.command_actor("erase_tenant")):
            row = begin_tenant_erasure(tenant_id, requested_by="operator")
        self.stdout.write(row.pk)
        self.stderr.write("`manage.py show_erasure` shows how far it is, and then the proof.")
