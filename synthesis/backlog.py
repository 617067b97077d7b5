"""What waits before a job, and when its turn will come.

The dispatcher sees all tenants and leaves a summary, in which tenants are hashes; a web process, which
sees one tenant, reckons from it and from that tenant's own jobs.
"""

import hashlib
import math
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Q, QuerySet, Sum
from django.utils import timezone

from accounts.plans import allowance_of
from accounts.prepared import prepared
from synthesis.models import Backlog, Job

LINES_TO_SPEAK = Sum(F("lines_total") - F("lines_done"))
# Nobody has counted for so long: an old count tells nothing.
_OUTDATED = timedelta(minutes=2)
MEASURED_EVERY_S = 1.0
_MOST_SHARES = 1_000
_READ_EVERY_S = 0.5
_TAKEN_HALVES_IN_S, _DONE_HALVES_IN_S = 10.0, 30.0  # how fast the pace forgets
_FORESEEN = timedelta(days=7)  # what is further off is not known
_BEGINS_IN = timedelta(seconds=0.1)  # a job before which nothing waits


class Pace:
    """How much workers take, and how much they get done, as far as there is enough for them to do."""

    def __init__(self) -> None:
        self.jobs_per_s = 0.0
        self.lines_per_s: float | None = None  # None: not known yet
        self._noted = self._counted = time.monotonic()
        self._handed = 0  # lines, since the start
        self._done: int | None = None  # of them, when they were last counted
        self._saturated = False

    def note(self, jobs: int, lines: int, *, saturated: bool) -> None:
        """Jobs and lines handed over since the last note. saturated: more was waiting than was taken."""
        now = time.monotonic()
        elapsed = max(1e-3, now - self._noted)
        self._noted = now
        kept = 0.5 ** (elapsed / _TAKEN_HALVES_IN_S)
        self.jobs_per_s = kept * self.jobs_per_s + (1 - kept) * jobs / elapsed
        self._handed += lines
        self._saturated = saturated

    def count(self, in_hand: int) -> None:
        """in_hand: lines that workers have and have not spoken. What was handed over and is not among
        them is done.
        """
        now = time.monotonic()
        done = self._handed - in_hand
        if self._done is not None and self._saturated:
            elapsed = max(1e-3, now - self._counted)
            rate = max(0, done - self._done) / elapsed
            kept = 0.5 ** (elapsed / _DONE_HALVES_IN_S)
            before = rate if self.lines_per_s is None else self.lines_per_s
            self.lines_per_s = (kept * before + (1 - kept) * rate) or None
        self._done, self._counted = done, now


def measure(pace: Pace) -> None:
    """Count what waits, of all tenants, for those who may look at one alone."""
    live = Job.objects.filter(live=True)
    pace.count(live.in_hand().aggregate(lines=LINES_TO_SPEAK)["lines"] or 0)
    admitted = live.waiting().filter(tenant__suspended_at=None)
    counted = admitted.values_list("tenant", "tenant__plan")
    shares = {
        _hash(tenant_id): [allowance_of(plan).weight, jobs, lines or 0]
        for tenant_id, plan, jobs, lines in counted.annotate(jobs=Count("pk"), lines=LINES_TO_SPEAK)
    }
    largest = sorted(shares, key=lambda name: -shares[name][2])[:_MOST_SHARES]
    Backlog.objects.update_or_create(
        pk=1,
        defaults={
            "lines": sum(lines for _, _, lines in shares.values()),
            "shares": {name: shares[name] for name in largest},
            "lines_per_s": pace.lines_per_s,
            "measured_at": timezone.now(),
        },
    )


def _hash(tenant_id: str) -> str:
    return hashlib.sha256(tenant_id.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Outlook:
    """Where a queued job stands. position: how many jobs begin before it; starts_at: None where nobody
    can tell yet.
    """

    position: int
    starts_at: datetime | None


class _LastSeen:
    """The summary as it was half a second ago, for all requests of this process."""

    def __init__(self) -> None:
        self._row: Backlog | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def get(self) -> Backlog | None:
        now = time.monotonic()
        with self._lock:
            if now < self._until:
                return self._row
            self._until = now + _READ_EVERY_S
        self._row = Backlog.objects.filter(measured_at__gte=timezone.now() - _OUTDATED).first()
        return self._row

    def forget(self) -> None:
        self._until = 0.0


last_seen = _LastSeen()


@prepared
def _before(tenant_id: str, job_id: str, priority: int) -> QuerySet:
    """Of a tenant's own jobs, those that begin before one: how many, and their lines; nothing where there
    are none.
    """
    own = Job.objects.for_tenant(tenant_id).waiting().filter(live=True).values("tenant")
    earlier = own.filter(Q(priority__lt=priority) | Q(priority=priority, pk__lt=job_id))
    counted = earlier.annotate(jobs=Count("pk"), lines=LINES_TO_SPEAK)
    return counted.values_list("jobs", "lines")


def outlook_of(job: Job) -> Outlook | None:
    """When a queued job's turn will come; None if it is not queued, or nobody counts what waits."""
    if job.status != Job.Status.QUEUED:
        return None
    now = timezone.now()
    soon = max(now, job.due_at) + _BEGINS_IN
    if job.handed_at is not None:
        return Outlook(0, soon)
    row = last_seen.get()
    if row is None or not job.live:
        return None
    if not row.lines:
        return Outlook(0, soon)
    [(jobs, counted)] = _before(job.tenant_id, job.pk, job.priority) or [(0, None)]
    lines = float(counted or 0)
    weight = allowance_of(job.tenant.plan).weight
    own_name = _hash(job.tenant_id)
    turn = lines / weight  # by the clock of synthesis.turns
    for name, (other, waiting_jobs, waiting_lines) in row.shares.items():
        if name == own_name:
            continue
        # Another tenant's jobs whose start tags lie before it, the first of them at the clock.
        one_job = max(1.0, waiting_lines / waiting_jobs)
        others_jobs = min(waiting_jobs, math.floor(turn * other / one_job) + 1)
        jobs += others_jobs
        lines += others_jobs * one_job
    if not lines:
        return Outlook(jobs, soon)
    if not row.lines_per_s or lines > row.lines_per_s * _FORESEEN.total_seconds():
        return Outlook(jobs, None)
    return Outlook(jobs, soon + timedelta(seconds=lines / row.lines_per_s))
