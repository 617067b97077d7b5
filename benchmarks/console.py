"""How long the operators' console takes to show lists of a million jobs, usage events and audit rows each.

    make bench-console

It starts a PostgreSQL, a Redis and all our processes of its own. Each page is asked for again and again
over HTTP, one request after another. The goal is a p95 of 300 ms.
"""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import psycopg2

from benchmarks.billing import FILL
from benchmarks.customers import add_jobs, make_customers
from benchmarks.installation import Installation
from benchmarks.pages import shown, timed
from voicereel_site.local_stack import ROOT

ROWS, TENANTS = 1_000_000, 200
_ROUNDS = 40
_GOAL_MS = 300.0

_AUDIT = """
INSERT INTO accounts_auditevent (id, tenant_id, at, action, actor_kind, actor_id, actor_name, in_place_of,
    target, details, address, request_id)
SELECT 'aud_' || lpad(to_hex(n), 26, '0'), (%(tenants)s::text[])[1 + n %% %(count)s],
    now() - (%(rows)s - n) * interval '1 second',
    (array['key.created', 'speaker.deleted', 'job.deleted', 'content.opened'])[1 + n %% 4],
    (array['key', 'member', 'operator', 'system'])[1 + n %% 4], 'key_' || n %% 1000, 'nightly ' || n %% 1000,
    '', 'job_' || n, '{}', '10.0.0.1', 'req_' || n
FROM generate_series(0, %(rows)s - 1) AS n
"""


def make_operator() -> None:
    """An operator who has logged in with a second factor. Prints the session."""
    import django

    django.setup()
    from importlib import import_module

    from allauth.mfa.models import Authenticator
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    from accounts.models import Operator, User

    user = User.objects.create_user("olga@voicereel.example")
    Operator.objects.create(user=user)
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = user.pk
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session["account_authentication_methods"] = [{"method": "mfa", "at": time.time()}]
    session["account_authentication_methods_user"] = user.pk
    session.create()
    print(json.dumps(session.session_key))


def main() -> None:
    with Installation() as site:
        customers = make_customers(site.as_superuser, TENANTS, TENANTS)
        print(f"{ROWS:,} jobs, usage events and audit rows, {TENANTS} tenants", flush=True)
        add_jobs(site.postgres.url, customers, ROWS, 1)
        with psycopg2.connect(site.postgres.url) as connection, connection.cursor() as cursor:
            cursor.execute(
                "UPDATE synthesis_job SET finished_at = now() - random() * interval '31 days', "
                "status = CASE WHEN random() < 0.001 THEN 'failed' ELSE 'succeeded' END"
            )
            of_each = ROWS // TENANTS
            start = datetime.now(UTC) - timedelta(days=31)
            for number, customer in enumerate(customers):
                values = {"first": number * of_each, "tenant": customer.tenant_id}
                cursor.execute(FILL, values | {"count": of_each, "start": start})
            tenants = [customer.tenant_id for customer in customers]
            cursor.execute(_AUDIT, {"tenants": tenants, "count": TENANTS, "rows": ROWS})
        vacuumed = psycopg2.connect(site.postgres.url)
        vacuumed.autocommit = True
        vacuumed.cursor().execute("VACUUM ANALYZE")
        vacuumed.close()
        made = subprocess.run(
            [sys.executable, "-m", "benchmarks.console", "operator"],
            cwd=ROOT,
            env=dict(site.as_superuser),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        session = json.loads(made.stdout.splitlines()[-1])
        port = site.stack.start_console()
        tenant, job = customers[7].tenant_id, customers[7].jobs[100]
        for path in (
            *("", "synthesis/job/overview", "synthesis/job/", "synthesis/job/?p=250"),
            *("synthesis/job/?status__exact=failed", "synthesis/job/?status__exact=queued"),
            *("synthesis/job/?status__exact=canceled", f"synthesis/job/?q={tenant}"),
            *(
                f"synthesis/job/?q={job}",
                "synthesis/job/?q=nothing",
                f"synthesis/job/{job}/change/",
            ),
            *("billing/usageevent/", "billing/usageevent/?p=250"),
            *(f"billing/usageevent/?q={tenant}", "billing/usageevent/?q=job:77"),
            *("billing/usageevent/?q=nothing", "accounts/auditevent/"),
            *(
                "accounts/auditevent/?actor_kind__exact=operator",
                f"accounts/auditevent/?q={tenant}",
            ),
            *("accounts/auditevent/?q=job_77", "accounts/auditevent/?q=nothing"),
            *("accounts/tenant/", f"accounts/tenant/{tenant}/change/"),
            f"billing/billingaccount/{tenant}/usage",
        ):
            took = timed(port, f"/admin/{path}", session, _ROUNDS)
            shown(path.replace(tenant, "TENANT").replace(job, "JOB"), took, _GOAL_MS)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")
        make_operator()
    else:
        main()
