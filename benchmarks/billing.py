"""What billing costs: the report of a month with a million events, a thousand drafts, and the metering.

    make bench-billing

It starts a PostgreSQL of its own, writes a million usage events of one tenant's month and a thousand of
each of a thousand others', and measures in one process. Goals, on two cores: the month's report in 1 s,
a thousand tenants' drafts in 60 s, and no more than 1 ms that metering adds to finishing a job.
"""

import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2

from benchmarks.installation import Installation
from voicereel_site.local_stack import ROOT

EVENTS, TENANTS, EVENTS_OF_EACH = 1_000_000, 1_000, 1_000
_MONTH = datetime(2026, 10, 1, tzinfo=UTC)
_ROUNDS = 300
FILL = """
INSERT INTO billing_usageevent
    (id, tenant_id, meter, quantity, source, speaker_id, api_key_id, project, occurred_at)
SELECT 'evt_' || lpad(to_hex(%(first)s + n), 26, '0'), %(tenant)s,
       CASE n %% 2 WHEN 0 THEN 'audio_ms' ELSE 'characters' END, 1000 + n %% 9000,
       'job:' || %(first)s + n, 'spk_' || n %% 20, 'key_' || n %% 5, 'project ' || n %% 7,
       %(start)s + n * (interval '31 days' / %(count)s)
FROM generate_series(0, %(count)s - 1) AS n
"""


def fill(url: str, tenants: list[str]) -> None:
    """A month of usage: a million events of the first tenant, a thousand of each other."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        first = 0
        for number, tenant in enumerate(tenants):
            count = EVENTS_OF_EACH if number else EVENTS
            values = {"first": first, "tenant": tenant, "count": count, "start": _MONTH}
            cursor.execute(FILL, values)
            first += count
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    connection.close()


def timed(what: str, goal: str, do: Any) -> Any:
    """Do it once; print how long it took."""
    started = time.perf_counter()
    found = do()
    print(f"{what:58} {time.perf_counter() - started:8.2f} s  (goal {goal})", flush=True)
    return found


def measure(url: str) -> None:
    """In a process that has Django, with the operators' role."""
    import django

    django.setup()
    from django.db import connection, transaction
    from django.utils import timezone

    from accounts.models import Tenant
    from accounts.prepared import NewRows, insert_rows
    from billing.accounts import account_of
    from billing.documents import report_pdf
    from billing.invoicing import draft_invoice
    from billing.models import UsageEvent
    from billing.periods import Month
    from billing.reports import month_report
    from billing.rollups import count_usage
    from billing.usage import Measurement, record_usage

    created = _MONTH - timedelta(days=1)
    tenants = [Tenant(name=f"Tenant {number}", plan="business") for number in range(TENANTS + 1)]
    Tenant.objects.bulk_create(tenants)
    Tenant.objects.update(created_at=created)
    tenants = list(Tenant.objects.order_by("pk"))
    fill(url, [tenant.pk for tenant in tenants])
    largest = tenants[0]
    timed(f"count {EVENTS:,} events into rollups, once", "none", lambda: count_usage(largest.pk))
    report = timed(
        f"month's report, {EVENTS:,} events", "1 s", lambda: month_report(largest, "2026-10")
    )
    timed("the same as PDF", "none", lambda: report_pdf(report))
    month = Month(2026, 10, "UTC")
    for tenant in tenants:  # as whoever has used something has one
        account_of(tenant, timezone.now())

    def draft() -> int:
        return sum(draft_invoice(tenant, month) is not None for tenant in tenants[1:])

    made = timed(f"draft {TENANTS:,} invoices of {EVENTS_OF_EACH:,} events each", "60 s", draft)
    assert made == TENANTS
    timed(f"draft one invoice of {EVENTS:,} events", "none", lambda: draft_invoice(largest, month))
    took: dict[str, list[float]] = {"with prices": [], "rows alone": []}
    for number in range(_ROUNDS):
        now = timezone.now()
        for way in took:
            source = f"bench:{way}:{number}"
            measured = [
                Measurement(meter, 1_234, f"spk_{speaker}")
                for speaker in range(2)
                for meter in ("audio_ms", "characters")
            ]
            with transaction.atomic():
                connection.cursor().execute("SELECT 1")  # BEGIN is not of what is measured
                started = time.perf_counter()
                if way == "with prices":
                    record_usage(largest, measured, source=source, occurred_at=now)
                else:
                    common = {"tenant_id": largest.pk, "source": source, "occurred_at": now}
                    insert_rows(NewRows(UsageEvent, [common | vars(one) for one in measured]))
                took[way].append((time.perf_counter() - started) * 1000)
    for way, values in took.items():
        print(
            f"metering a job of two speakers, {way:16} median {statistics.median(values):6.2f} ms"
        )
    added = statistics.median(took["with prices"]) - statistics.median(took["rows alone"])
    print(f"{'what prices and caps add to finishing a job':58} {added:8.2f} ms (goal 1 ms)")


def main() -> None:
    with Installation() as site:
        site.stack.stop()
        environment = os.environ | site.environment
        environment["DATABASE_URL"] = site.postgres.url_of("voicereel_operations")
        subprocess.run(
            [sys.executable, "-m", "benchmarks.billing", site.postgres.url],
            cwd=ROOT,
            env=environment,
            check=True,
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")
        measure(sys.argv[1])
    else:
        main()
