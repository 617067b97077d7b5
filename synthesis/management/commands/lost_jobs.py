"""``manage.py lost_jobs``: jobs that ended their workers, for an operator to look at and requeue."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from synthesis.models import Job
from synthesis.submission import requeue_job
from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "List the jobs that failed as worker_lost, or requeue some."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--requeue", nargs="+", metavar="JOB", help="their ids, or all")

    def handle(self, *args: Any, **options: Any) -> None:
        lost = Job.objects.filter(status=Job.Status.FAILED, error_code="worker_lost").order_by("pk")
        wanted = options["requeue"]
        if wanted is None:
            for job in lost.select_related("tenant"):
                self.stdout.write(
                    f"{job.pk}\t{job.finished_at:%Y-%m-%d %H:%M}\t{job.tenant}\t"
                    f"{job.lines_done} of {job.lines_total} lines\t{job.attempt} attempts"
                )
            return
        if wanted != ["all"]:
            lost = lost.filter(pk__in=wanted)
            if unknown := set(wanted) - set(lost.values_list("pk", flat=True)):
                raise CommandError(f"Not among the lost jobs: {', '.join(sorted(unknown))}")
        requeued = [requeue_job(job).pk for job in lost]
        self.stdout.write(f"{len(requeued)} requeued")
