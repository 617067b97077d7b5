"""One at a time, in all workers together: jobs that may have killed their last worker.

A job that kills its worker takes the jobs beside it along, and they must not be blamed for it until
their attempts are spent. So those that may be the culprit run apart from each other; a new line clears
them. The place is held by a lease, which lapses with its holder.
"""

from datetime import datetime

from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.outbox import ask_for_task
from synthesis.models import LEASE, Job, Quarantine

NEXT_TASK = "synthesis.wake_next_suspect"


def _holder(job_id: str, attempt: int) -> str:
    """By attempt: a worker that lost the job must not make room while another renders it."""
    return f"{job_id}:{attempt}"


def enter(job_id: str, attempt: int, now: datetime) -> bool:
    """Take the place for a job's attempt that begins, unless another job has it."""
    Quarantine.objects.bulk_create([Quarantine(until=now)], ignore_conflicts=True)
    free = Q(until__lt=now) | Q(holder="") | Q(holder__startswith=f"{job_id}:")
    taken = Quarantine.objects.filter(free).update(
        holder=_holder(job_id, attempt), until=now + LEASE
    )
    return bool(taken)


def _held_by(job: Job) -> QuerySet[Quarantine]:
    return Quarantine.objects.filter(holder=_holder(job.pk, job.attempt))


def renew(job: Job, until: datetime) -> None:
    """Hold the place for as long as the job's own lease."""
    _held_by(job).update(until=until)


def leave(job: Job) -> None:
    """Make room if this attempt has the place, and have the next suspect woken up."""
    if _held_by(job).update(holder="", until=timezone.now()):
        ask_for_task(NEXT_TASK, job)
