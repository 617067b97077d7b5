"""How many requests are answered, by minute of all web processes together, and by five minutes of each tenant:
for the operators' front page, and for what we promise (billing.sla).

Each process counts for itself and adds to the database's rows, of minutes once a second and of tenants every ten
seconds. What a process had not added when it died is not counted. A minute that has a row is one in which a web
process ran and reached the database, even if nobody asked it anything; one without a row is one in which we were
away.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog
from django.db import IntegrityError, connection
from django.db.models import Sum
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from accounts.models import RequestCount, ServiceInterval
from accounts.prepared import as_stored
from accounts.tenancy import acting_for, acting_tenant
from voicereel_site.outages import outage_of

log = structlog.get_logger(__name__)

Key = TypeVar("Key")

_ADDED_EVERY_S = 1.0
_OF_TENANTS_ADDED_EVERY_S = 10.0
_MOST_TENANTS = 10_000  # likewise
_MOST_MINUTES = 10  # that are held while the database is away
INTERVAL = timedelta(minutes=5)
# A year's months and the one that runs can be shown.
KEPT = timedelta(days=400)
# What asks whether a process is there.
_PROBES = {"/healthz", "/readyz"}

_ADD = """
INSERT INTO accounts_requestcount (minute, requests, failures) VALUES (%s, %s, %s)
ON CONFLICT (minute) DO UPDATE SET requests = accounts_requestcount.requests + excluded.requests,
failures = accounts_requestcount.failures + excluded.failures
"""

_ADD_TO_INTERVAL = """
INSERT INTO accounts_serviceinterval (tenant_id, starts_at, requests, failures, jobs, jobs_late)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (tenant_id, starts_at) DO UPDATE SET
requests = accounts_serviceinterval.requests + excluded.requests,
failures = accounts_serviceinterval.failures + excluded.failures,
jobs = accounts_serviceinterval.jobs + excluded.jobs,
jobs_late = accounts_serviceinterval.jobs_late + excluded.jobs_late
"""


def interval_start(at: datetime) -> datetime:
    """When the five minutes began in which an instant lies."""
    return datetime.fromtimestamp(at.timestamp() // INTERVAL.seconds * INTERVAL.seconds, UTC)


def add_to_interval(
    tenant_id: str,
    at: datetime,
    *,
    requests: int = 0,
    failures: int = 0,
    jobs: int = 0,
    jobs_late: int = 0,
) -> None:
    """Add to what is counted of a tenant's five minutes. In the caller's transaction, if there is one."""
    values = [tenant_id, as_stored(interval_start(at)), requests, failures, jobs, jobs_late]
    with connection.cursor() as cursor:
        cursor.execute(_ADD_TO_INTERVAL, values)


class Traffic:
    """What this process has answered and has not told the database of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minutes: dict[int, list[int]] = {}
        self._intervals: dict[tuple[str, int], list[int]] = {}
        self._seen = 0

    def count(self, status: int, tenant_id: str | None = None) -> None:
        """Note an answer. status: HTTP's; tenant_id: whom it was for, if that is known."""
        now = int(time.time())
        minute = now // 60
        with self._lock:
            if tenant_id is not None and len(self._intervals) < _MOST_TENANTS:
                interval = (tenant_id, now // INTERVAL.seconds)
                of_tenant = self._intervals.setdefault(interval, [0, 0])
                of_tenant[0] += 1
                of_tenant[1] += status >= 500
            if minute not in self._minutes and len(self._minutes) >= _MOST_MINUTES:
                del self._minutes[min(self._minutes)]
            counts = self._minutes.setdefault(minute, [0, 0])
            counts[0] += 1
            counts[1] += status >= 500

    def add(self) -> None:
        """Add what was noted to the database. If that fails, it stays noted."""
        with self._lock:
            noted, self._minutes = self._minutes, {}
        for minute in sorted(noted):
            at = datetime.fromtimestamp(minute * 60, UTC)
            try:
                with connection.cursor() as cursor:
                    cursor.execute(_ADD, [as_stored(at), *noted[minute]])
            except Exception:
                self._keep(self._minutes, noted)
                raise
            del noted[minute]

    def add_of_tenants(self) -> None:
        """Likewise, of each tenant."""
        with self._lock:
            noted, self._intervals = self._intervals, {}
        while noted:
            (tenant_id, interval), (requests, failures) = next(iter(noted.items()))
            at = datetime.fromtimestamp(interval * INTERVAL.seconds, UTC)
            try:
                with acting_for(tenant_id):
                    add_to_interval(tenant_id, at, requests=requests, failures=failures)
            except IntegrityError:
                pass  # erased meanwhile
            except Exception:
                self._keep(self._intervals, noted)
                raise
            del noted[tenant_id, interval]

    def be_seen(self) -> None:
        """Note that this minute has a web process, once."""
        minute = int(time.time() // 60)
        if minute != self._seen:
            with self._lock:
                self._minutes.setdefault(minute, [0, 0])
            self._seen = minute

    def _keep(self, held: dict[Key, list[int]], noted: dict[Key, list[int]]) -> None:
        """Note again what could not be added, beside what was noted meanwhile."""
        with self._lock:
            for key, counts in noted.items():
                kept = held.setdefault(key, [0, 0])
                kept[0] += counts[0]
                kept[1] += counts[1]

    def begin(self) -> None:
        """Go on adding, from a thread of its own, as long as the process lives."""
        threading.Thread(target=self._go_on, name="traffic", daemon=True).start()

    def _go_on(self) -> None:
        added = time.monotonic()
        while True:
            time.sleep(_ADDED_EVERY_S)
            self.be_seen()
            try:
                if self._minutes:
                    self.add()
                if time.monotonic() - added >= _OF_TENANTS_ADDED_EVERY_S:
                    added = time.monotonic()
                    self.add_of_tenants()
            except Exception as exc:
                # Whatever it is, the next second's requests are to be counted.
                if outage_of(exc) is None:
                    log.exception("traffic.not_added")
                connection.close()


traffic = Traffic()


class TrafficMiddleware:
    """Counts answers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.path not in _PROBES:
            traffic.count(response.status_code, acting_tenant())
        return response


def requests_since(at: datetime) -> tuple[int, int]:
    """Answers in the minutes that began at an instant or later, and how many of them were failures of ours."""
    sums = RequestCount.objects.filter(minute__gte=at).aggregate(
        requests=Sum("requests", default=0), failures=Sum("failures", default=0)
    )
    return sums["requests"], sums["failures"]


def forget_traffic() -> int:
    """Forget what was counted more than a year ago. Returns how many minutes."""
    before = timezone.now() - KEPT
    ServiceInterval.objects.filter(starts_at__lt=before).delete()
    return int(RequestCount.objects.filter(minute__lt=before).delete()[0])
