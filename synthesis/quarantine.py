"""One at a time, in all workers together: jobs that may have killed their last worker.

A job that kills its worker takes the jobs beside it along, and they must not be blamed for it until
their attempts are spent. So those that may be the culprit run apart from each other; a new line clears
them. The place is held by a lease, which lapses with its holder.
"""

from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from accounts.outbox import ask_for_task
from synthesis.models import LEASE, Job, Quarantine

NEXT_TASK = "synthesis.wake_next_suspect"


def enter(job_id: str, now: datetime) -> bool:
    """Take the place for a job, unless another has it."""
    Quarantine.objects.bulk_create([Quarantine(until=now)], ignore_conflicts=True)
    free = Q(until__lt=now) | Q(job_id__in=["", job_id])
    return bool(Quarantine.objects.filter(free).update(job_id=job_id, until=now + LEASE))


def renew(job: Job, until: datetime) -> None:
    """Hold the place for as long as the job's own lease."""
    Quarantine.objects.filter(job_id=job.pk).update(until=until)


def leave(job: Job) -> None:
    """Make room, and have the next suspect woken up."""
    if Quarantine.objects.filter(job_id=job.pk).update(job_id="", until=timezone.now()):
        ask_for_task(NEXT_TASK, job)
