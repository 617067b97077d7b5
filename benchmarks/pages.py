"""How long the server takes for the main pages of a tenant with 100,000 jobs and a million usage events.

    make bench-pages

It starts a PostgreSQL, a Redis and all our processes of its own. Each page is asked for again and again
over HTTP, one request after another. The goal is a p95 of 100 ms.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg2

from benchmarks.billing import FILL
from benchmarks.customers import add_jobs, make_customers
from benchmarks.installation import Installation
from voicereel_site.local_stack import ROOT

JOBS, EVENTS, SPEAKERS, LINES = 100_000, 1_000_000, 200, 2
_ROUNDS = 60
_GOAL_MS = 100.0


def make_person(tenant_id: str) -> None:
    """Somebody who has logged in, with a draft of fifty lines. Prints their session and the draft's id."""
    import django

    django.setup()
    from importlib import import_module

    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    from accounts.models import Membership, Tenant, User
    from billing.rollups import count_usage
    from speakers.models import Speaker
    from synthesis.models import Job
    from synthesis.studio.drafts import blank_line, start_draft

    tenant = Tenant.objects.get(pk=tenant_id)
    user = User.objects.create_user("bench@alder.example")
    Membership.objects.create(tenant=tenant, user=user, role="owner")
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = user.pk
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    speaker = Speaker.objects.for_tenant(tenant).first()
    lines = [blank_line(f"l{n}", speaker.pk) | {"text": "Good morning."} for n in range(50)]
    draft = start_draft(tenant, "Episode 12", lines)
    count_usage(tenant.pk)
    job = Job.objects.for_tenant(tenant).order_by("pk")[JOBS // 2]
    print(json.dumps({"session": session.session_key, "draft": draft.pk, "job": job.pk}))


def timed(port: int, path: str, session: str, rounds: int = _ROUNDS) -> list[float]:
    """Milliseconds of each request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    took = []
    for number in range(rounds + 5):
        started = time.perf_counter()
        connection.request("GET", path, headers={"Cookie": f"sessionid={session}"})
        reply = connection.getresponse()
        reply.read()
        if number >= 5:  # what the first requests of a process find out
            took.append((time.perf_counter() - started) * 1000)
        assert reply.status == 200, (path, reply.status)
    connection.close()
    return took


def shown(path: str, took: Sequence[float], goal_ms: float = _GOAL_MS) -> None:
    """Print how long a page took, and whether that is too long."""
    quantiles = statistics.quantiles(took, n=100)
    print(
        f"{path:64} p50 {quantiles[49]:7.1f} ms   p95 {quantiles[94]:7.1f} ms"
        f"{'' if quantiles[94] <= goal_ms else '   over the goal'}",
        flush=True,
    )


def main() -> None:
    with Installation() as site:
        [customer] = make_customers(site.as_superuser, 1, SPEAKERS)
        print(f"{JOBS:,} jobs, {EVENTS:,} usage events, {SPEAKERS} speakers", flush=True)
        add_jobs(site.postgres.url, [customer], JOBS, LINES)
        with psycopg2.connect(site.postgres.url) as connection, connection.cursor() as cursor:
            start = datetime.now(UTC) - timedelta(days=31)
            values = {"first": 0, "tenant": customer.tenant_id, "count": EVENTS, "start": start}
            cursor.execute(FILL, values)
        made = subprocess.run(
            [sys.executable, "-m", "benchmarks.pages", customer.tenant_id],
            cwd=ROOT,
            env=dict(site.as_superuser),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        person = json.loads(made.stdout.splitlines()[-1])
        vacuumed = psycopg2.connect(site.postgres.url)
        vacuumed.autocommit = True
        vacuumed.cursor().execute("VACUUM ANALYZE")
        vacuumed.close()
        for path in (
            "/",
            "/studio",
            f"/studio/{person['draft']}",
            "/speakers",
            "/jobs",
            "/jobs?status=failed",
            "/jobs?q=Episode",
            "/jobs?q=nothing+is+called+this",
            f"/jobs/{person['job']}",
            "/usage",
            "/usage/live",
            "/invoices",
            "/billing",
            "/keys",
            "/members",
            "/webhooks",
            "/privacy",
            "/audit",
            "/docs/start",
            "/docs/reference/synthesize",
        ):
            shown(path, timed(site.stack.port, path, person["session"]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")
        make_person(sys.argv[1])
    else:
        main()
