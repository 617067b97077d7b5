"""What Prometheus sees of rows: queues and how old they are, workers, what is not billed.

Asked when Prometheus asks, by the processes with the operators' role. Where several of them run they
say the same, so rules and dashboards take the highest.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Self

import structlog
from django.db import connection, transaction
from django.db.models import Count, Min, Q
from django.utils import timezone
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts.identifiers import first_id
from accounts.models import OutboxMessage, WebhookDelivery, WebhookEndpoint
from billing.models import StripeMirror, UsageEvent
from synthesis.models import Job, Worker
from synthesis.overview import age_s, queue_now
from synthesis.workers import SILENT
from voicereel_site.outages import outage_of

log = structlog.get_logger(__name__)

_PATIENCE_MS = 5_000
# What takes longer to find is asked for as seldom as it changes.
_SELDOM_S = 300.0
# Something is always written, workers' signs of life at least, so that archive_timeout has it archived.
_ARCHIVED = """
SELECT CASE WHEN current_setting('archive_mode') = 'off' THEN 0
ELSE extract(epoch FROM now() - coalesce(last_archived_time, stats_reset))::float END FROM pg_stat_archiver
"""
# Events are billed two days after their month: what is older than this has been reported long ago.
_UNBILLED_WITHIN = timedelta(days=100)


class FleetCollector(Collector):
    """Asks the database with each scrape. While it is away, ``voicereel_fleet_up`` is 0 and alone."""

    def __init__(self) -> None:
        self._oldest_unbilled: datetime | None = None
        self._asked_at = -_SELDOM_S

    @classmethod
    def begin(cls) -> Self:
        """Have a process's ``/metrics`` say it."""
        collector = cls()
        REGISTRY.register(collector)
        return collector

    def describe(self) -> list[Metric]:
        """Nothing: a process that starts need not ask the database for it."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges, as they are now."""
        try:
            found = list(self._found())
        except Exception as exc:
            if outage_of(exc) is None:
                log.exception("metrics.failed")
            found = []
        finally:
            # A scrape has a thread of its own.
            connection.close()
        yield GaugeMetricFamily(
            "voicereel_fleet_up", "1 if the database told the rest", value=bool(found)
        )
        yield from found

    def _found(self) -> Iterator[Metric]:
        now = timezone.now()
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = {_PATIENCE_MS}")
            yield from self._work(now)
            yield from self._outbox(now)
            yield from self._webhooks(now)
            yield from self._billing(now)
            if connection.vendor == "postgresql":
                yield from self._postgres()

    def _work(self, now: datetime) -> Iterator[Metric]:
        queue = queue_now()
        yield gauge("queue_jobs", "Jobs that wait for a worker", queue.jobs)
        yield gauge("queue_lines", "Lines of the jobs that wait", queue.lines)
        yield gauge(
            "queue_oldest_seconds", "How long the first of them waits", age_s(queue.oldest, now)
        )
        late = Job.objects.in_hand().filter(
            status=Job.Status.PROCESSING, lease_expires_at__lt=now - timedelta(minutes=1)
        )
        yield gauge("jobs_in_hand", "Jobs that workers have", Job.objects.in_hand().count())
        yield gauge("jobs_abandoned", "Jobs whose worker fell silent a minute ago", late.count())
        workers = Worker.objects.aggregate(
            there=Count("pk", filter=Q(seen_at__gte=now - SILENT)),
            silent=Count("pk", filter=Q(seen_at__lt=now - SILENT)),
        )
        family = GaugeMetricFamily(
            "voicereel_workers", "Workers, by whether they say they are there", labels=["state"]
        )
        for state, count in workers.items():
            family.add_metric([state], count)
        yield family

    def _outbox(self, now: datetime) -> Iterator[Metric]:
        due = OutboxMessage.objects.filter(given_up_at=None, due_at__lte=now)
        waiting = due.aggregate(n=Count("pk"), oldest=Min("due_at"))
        dead = OutboxMessage.objects.exclude(given_up_at=None).count()
        yield gauge("outbox_due", "Messages that should have left the database", waiting["n"])
        yield gauge(
            "outbox_oldest_seconds", "How long the first is overdue", age_s(waiting["oldest"], now)
        )
        yield gauge("outbox_dead", "Messages given up", dead)

    def _webhooks(self, now: datetime) -> Iterator[Metric]:
        late = WebhookDelivery.objects.filter(
            status=WebhookDelivery.Status.PENDING, next_attempt_at__lt=now - timedelta(minutes=2)
        )
        failing = WebhookEndpoint.objects.filter(disabled_at=None).exclude(failing_since=None)
        disabled = WebhookEndpoint.objects.exclude(disabled_at=None)
        yield gauge("webhook_overdue", "Deliveries nobody attempted when due", late.count())
        yield gauge("webhook_endpoints_failing", "Endpoints that take nothing", failing.count())
        yield gauge("webhook_endpoints_disabled", "Endpoints switched off", disabled.count())

    def _billing(self, now: datetime) -> Iterator[Metric]:
        if time.monotonic() - self._asked_at >= _SELDOM_S:
            events = UsageEvent.objects.filter(
                pk__gte=first_id("evt", now - _UNBILLED_WITHIN),
                meter=UsageEvent.Meter.AUDIO_MS,
                invoicelineevent=None,
            )
            self._oldest_unbilled = events.aggregate(oldest=Min("occurred_at"))["oldest"]
            self._asked_at = time.monotonic()
        yield gauge(
            "unbilled_oldest_seconds",
            "Age of the oldest audio that no invoice line has",
            age_s(self._oldest_unbilled, now),
        )
        behind = StripeMirror.objects.filter(
            state__in=StripeMirror.State.open(), next_attempt_at__lt=now - timedelta(minutes=5)
        )
        held = StripeMirror.objects.filter(state=StripeMirror.State.HELD)
        yield gauge(
            "stripe_overdue", "Invoices that nobody took to Stripe when due", behind.count()
        )
        yield gauge("stripe_held", "Invoices whose totals differ at Stripe", held.count())

    def _postgres(self) -> Iterator[Metric]:
        with connection.cursor() as cursor:
            cursor.execute(_ARCHIVED)
            (archived_ago,) = cursor.fetchone()
            cursor.execute("SELECT count(*) FROM pg_stat_replication")
            (replicas,) = cursor.fetchone()
        yield gauge("postgres_replicas", "Servers that follow this PostgreSQL", replicas)
        yield gauge(
            "archive_oldest_seconds",
            "Since when nothing was archived; 0 where nothing is to be",
            archived_ago,
        )


def gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"voicereel_{name}", about, value=value)
