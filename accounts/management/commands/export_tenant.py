"""``manage.py export_tenant TENANT FILE``"""

import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from django.core.management.base import CommandError
from django.db import transaction

from accounts import audit
from accounts.models import DataExport, Tenant
from accounts.privacy.exports import build_export, request_export
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "Put everything of a tenant's into a ZIP file. The tenant's audit log says so."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", help="its id, ten_...")
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.objects.filter(pk=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"There is no tenant {options['tenant']}.")
        with transaction.atomic(), audit.acting_as(audit.command_actor("export_tenant")):
            row = request_export(tenant)
        build_export(tenant.pk, row.pk)
        row.refresh_from_db()
        if row.status != DataExport.Status.SUCCEEDED:
            raise CommandError(f"{row.pk}: {row.error_detail or 'a worker is making it already'}")
        with (
            default_storage.open(row.archive_key, "rb") as archive,
            options["file"].open("xb") as to,
        ):
            shutil.copyfileobj(archive, to)
        self.stderr.write(
            f"{row.rows_done} rows and {row.files_done} files, {row.archive_bytes} bytes"
        )
