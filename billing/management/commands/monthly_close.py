"""``manage.py monthly_close [--finalize]``"""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from billing.closing import close_month, draft_last_month, drafts, find_mismatches
from billing.models import Invoice
from billing.money import shown
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = (
        "Show what does not agree and all drafts of the month before; with --finalize, number the drafts "
        "whose grace period is over, but for tenants whose books do not agree."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--finalize", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        draft_last_month()
        found = find_mismatches()
        self.stdout.write(f"{len(found)} mismatches")
        for one in found:
            self.stdout.write(f"  {'HOLDS' if one.blocks else 'note '} {one.what}")
        ready = {row.pk for row in drafts(timezone.now())}
        waiting = Invoice.objects.filter(status=Invoice.Status.DRAFT).select_related("tenant")
        self.stdout.write(f"{len(waiting)} drafts")
        for row in waiting.order_by("period_end", "pk"):
            total = shown(row.total_minor, row.currency)
            when = "ready" if row.pk in ready else "in its grace period"
            self.stdout.write(f"  {row.pk} {row.month} {total:>14} {when}  {row.tenant.name}")
        if options["finalize"]:
            closed = close_month()
            self.stdout.write(f"{len(closed.finalized)} finalized")
            for row in closed.finalized:
                self.stdout.write(f"  {row.number} {shown(row.total_minor, row.currency)}")
