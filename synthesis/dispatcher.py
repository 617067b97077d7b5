"""Handing jobs to workers: the table of jobs is the queue, and the broker holds only what is next.

A message in the broker's queue cannot be overtaken, so few wait there: about as many as the workers
take in a tenth of a second. Who is next is decided as late as that, by weight among tenants (turns) and
by priority within one. Any number of dispatchers may run.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cached_property

from django.db import connection
from django.db.models import CharField, Count, QuerySet, Value
from django.utils import timezone

from accounts.models import Tenant
from accounts.outbox import publish_task, queue_length, queue_of
from accounts.plans import Allowance, allowance_of
from accounts.prepared import as_text, prepared
from synthesis import backlog
from synthesis.models import ACTIVE, LEASE, Job, JobQuerySet
from synthesis.turns import Turns
from voicereel_site.metrics import JOBS_HANDED

LIVE_TASK, TEST_TASK = "synthesis.render_job", "synthesis.render_test_job"

# Messages that wait in the broker: at least so many, so that a worker that is done has the next one.
_LEAST_READY = 2
_MOST_READY = 64
_READY_FOR_S = 0.1
# How late a job may be seen where nothing waited, on average half of it.
LOOK_EVERY_S = 0.05
# Of a tenant's own jobs, one long one follows so many short ones, if both wait.
_INTERACTIVE_IN_A_ROW = 3
# Handed to a worker for so long and not begun: while the queue is empty the message was lost; while it
# is not, workers may only be busy.
_MESSAGE_LOST = LEASE
_MESSAGE_OVERDUE = timedelta(minutes=2)


def _tenants_that_wait(*, live: bool) -> list[str]:
    """By a loose index scan: its cost grows with the tenants, not with their jobs.

    Django's DISTINCT would read all waiting jobs, thousands of times while a tenant has ten thousand.
    """
    waits = "handed_at IS NULL AND status IN ('queued', 'processing') AND live = %s"
    first = f"SELECT min(tenant_id) AS tenant_id FROM synthesis_job WHERE {waits}"  # nosec B608
    query = (
        f"WITH RECURSIVE found AS ({first} UNION ALL "  # nosec B608
        f"SELECT ({first} AND tenant_id > found.tenant_id) FROM found "
        "WHERE found.tenant_id IS NOT NULL) "
        "SELECT tenant_id FROM found WHERE tenant_id IS NOT NULL"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, [live, live])
        return [row[0] for row in cursor.fetchall()]


@prepared
def _waiting(tenant_id: str, now: str, live: bool, priority: int, most: int) -> JobQuerySet:
    """A tenant's jobs of a priority that may begin, the first ones first."""
    rows = Job.objects.for_tenant(tenant_id).waiting().filter(live=live, priority=priority)
    due = rows.filter(due_at__lte=Value(now, CharField()))
    columns = ("tenant_id", "live", "priority", "lines_total", "lines_done", "origin")
    return due.only(*columns).order_by("pk")[:most]


@prepared
def _counts_in_hand(live: bool) -> QuerySet:
    """How many jobs of each tenant's workers have: few, whatever waits."""
    rows = Job.objects.in_hand().filter(live=live).values("tenant")
    return rows.annotate(jobs=Count("pk")).values_list("tenant", "jobs")


class _Head:
    """A tenant's jobs in the order in which it wants them."""

    def __init__(self, tenant_id: str, *, live: bool, most: int, in_a_row: int) -> None:
        self._tenant_id, self._live, self._most = tenant_id, live, most
        self._now = as_text(timezone.now())
        self.in_a_row = in_a_row

    def _of(self, priority: int) -> list[Job]:
        # There is a statement for each number of rows: 1, 2, 4 and so on.
        rows = 1 << (self._most - 1).bit_length()
        found: list[Job] = _waiting(self._tenant_id, self._now, self._live, priority, rows)
        return found[: self._most]

    @cached_property
    def _interactive(self) -> list[Job]:
        return self._of(Job.Priority.INTERACTIVE)

    @cached_property
    def _bulk(self) -> list[Job]:
        return self._of(Job.Priority.BULK)

    def pop(self) -> Job | None:
        """The next one; None if nothing is left."""
        is_their_turn = self.in_a_row < _INTERACTIVE_IN_A_ROW
        if self._interactive and (is_their_turn or not self._bulk):
            self.in_a_row += 1
            return self._interactive.pop(0)
        self.in_a_row = 0
        return self._bulk.pop(0) if self._bulk else None


class Lane:
    """One kind of jobs, live or test, and the queue of its workers."""

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.task = LIVE_TASK if live else TEST_TASK
        self.queue = queue_of(self.task)
        self.pace = backlog.Pace()
        self._turns = Turns()
        self._in_a_row: dict[str, int] = defaultdict(int)
        self._look_again = 0.0

    def hand_over(self) -> int:
        """Hand as many jobs to workers as they will take in a moment. Returns how many."""
        if time.monotonic() < self._look_again:
            return 0
        ready = min(_MOST_READY, max(_LEAST_READY, round(self.pace.jobs_per_s * _READY_FOR_S)))
        room = ready - queue_length(self.queue)
        if room <= 0:
            self.pace.note(0, 0, saturated=True)
            return 0
        jobs = list(self._choose(room))
        if jobs:
            self._hand(jobs)
        else:
            self._look_again = time.monotonic() + LOOK_EVERY_S
        lines = sum(job.lines_total - job.lines_done for job in jobs)
        self.pace.note(len(jobs), lines, saturated=len(jobs) == room)
        return len(jobs)

    def _choose(self, room: int) -> Iterator[Job]:
        ids = _tenants_that_wait(live=self.live)
        if not ids:
            # Twenty times a second where nobody has anything to do: what follows asks nothing then, and
            # building its queries takes ten times as long as this one.
            self._turns.forget_idle({})
            return
        tenants = Tenant.objects.filter(suspended_at=None, pk__in=ids)
        allowed: dict[str, Allowance] = {
            pk: allowance_of(plan, own_limits)
            for pk, plan, own_limits in tenants.values_list("pk", "plan", "own_limits")
        }
        in_hand = dict(_counts_in_hand(self.live))
        left = {pk: one.in_hand - in_hand.get(pk, 0) for pk, one in allowed.items()}
        waiting = {pk: one.weight for pk, one in allowed.items() if left[pk] > 0}
        self._turns.forget_idle(waiting)
        heads: dict[str, _Head] = {}
        while waiting and room:
            tenant_id = self._turns.next(waiting)
            if tenant_id not in heads:
                most = min(room, left[tenant_id])
                in_a_row = self._in_a_row.pop(tenant_id, 0)
                heads[tenant_id] = _Head(tenant_id, live=self.live, most=most, in_a_row=in_a_row)
            job = heads[tenant_id].pop() if left[tenant_id] > 0 else None
            if job is None:
                del waiting[tenant_id]
                continue
            cost = max(1, job.lines_total - job.lines_done)
            self._turns.take(tenant_id, cost, waiting[tenant_id])
            left[tenant_id] -= 1
            room -= 1
            yield job
        self._in_a_row.update((pk, head.in_a_row) for pk, head in heads.items() if head.in_a_row)

    def _hand(self, jobs: Sequence[Job]) -> None:
        """Mark first: what dies in between is found by ``find_lost``, and nothing is sent twice."""
        now = timezone.now()
        rows = Job.objects.waiting().filter(pk__in=[job.pk for job in jobs])
        if rows.update(handed_at=now) < len(jobs):
            # Canceled meanwhile, or another dispatcher was faster.
            marked = Job.objects.filter(pk__in=[job.pk for job in jobs], handed_at=now)
            ours = set(marked.values_list("pk", flat=True))
            jobs = [job for job in jobs if job.pk in ours]
        for index, job in enumerate(jobs):
            try:
                publish_task(self.task, job.tenant_id, job.pk, job.origin)
                JOBS_HANDED.inc()
            except Exception:
                left = Job.objects.filter(pk__in=[job.pk for job in jobs[index:]], handed_at=now)
                left.update(handed_at=None)
                raise


class Dispatcher:
    """Hands jobs over, round by round, and counts what waits."""

    def __init__(self) -> None:
        self._live = Lane(live=True)
        self._lanes = (self._live, Lane(live=False))
        self._measured = 0.0

    def round(self) -> int:
        """One round. Returns how many jobs were handed over."""
        if time.monotonic() - self._measured >= backlog.MEASURED_EVERY_S:
            backlog.measure(self._live.pace)
            self._measured = time.monotonic()
        return sum(lane.hand_over() for lane in self._lanes)


def hand_again(jobs: JobQuerySet) -> None:
    """Have jobs handed to a worker again, whatever became of the last message."""
    jobs.filter(status__in=ACTIVE).update(handed_at=None, due_at=timezone.now())


def find_lost() -> None:
    """Have those jobs handed over again whose worker stopped renewing its lease, or whose message is
    gone.
    """
    now = timezone.now()
    abandoned = Job.objects.in_hand().filter(
        status=Job.Status.PROCESSING, lease_expires_at__lt=now, handed_at__lt=now - _MESSAGE_LOST
    )
    hand_again(abandoned)
    for live, task in ((True, LIVE_TASK), (False, TEST_TASK)):
        empty = queue_length(queue_of(task)) == 0
        overdue = now - (_MESSAGE_LOST if empty else _MESSAGE_OVERDUE)
        waiting = Job.objects.in_hand().filter(
            status=Job.Status.QUEUED, live=live, handed_at__lt=overdue
        )
        hand_again(waiting)
