"""What a request and a job cost as there are more jobs, more tenants, and more lines.

    make bench-growth

Requests of the mix (80 % GET job, 10 % GET speakers, 10 % POST) at saturation, without a worker, at 10^3,
10^5 and 10^6 jobs of 20 tenants (two lines each), and at 1, 100 and 10,000 tenants with 10^5 jobs; and a
job's time at a worker by its lines: 10, 100 and 1,000. Goals: at 10^6 jobs at least 0.9 of the requests
a second at 10^3; a job's cost linear in its lines.
"""

import time

import voicereel

from benchmarks.api import CONNECTIONS, Outcome, judge, offer
from benchmarks.customers import Customer, add_jobs, make_customers
from benchmarks.installation import Installation

WARM_UP_S, SECONDS = 4.0, 12.0
LINES = 2  # of the jobs that are there already


def at_saturation(site: Installation, customers: list[Customer], shown: str) -> Outcome:
    """Our own web processes, asked for all they can give; what is made is taken away again."""
    pids = {name: pid for name, pid in site.pids.items() if name in ("postgresql", "redis", "web")}
    some = customers[:200]  # whose keys are in use; the others are only there
    for seconds in (WARM_UP_S, SECONDS):
        outcome = offer(site, some, site.stack.port, rate=None, seconds=seconds, pids=pids)
    site.forget_requests()
    print(f"  {shown:20} {outcome}")
    return outcome


def by_jobs() -> list[Outcome]:
    with Installation() as site:
        site.stack.stop()
        site.stack.start_web()
        customers = make_customers(site.as_superuser, 20, 1_000)
        outcomes, there = [], 0
        for count in (10**3, 10**5, 10**6):
            add_jobs(site.postgres.url, customers, count - there, LINES)
            there = count
            outcomes.append(at_saturation(site, customers, f"{count:,} jobs"))
        return outcomes


def by_tenants() -> None:
    for tenants in (1, 100, 10_000):
        with Installation() as site:
            site.stack.stop()
            site.stack.start_web()
            customers = make_customers(site.as_superuser, tenants, max(1_000, 2 * tenants))
            add_jobs(site.postgres.url, customers, 10**5, LINES)
            at_saturation(site, customers, f"{tenants:,} tenants")


def by_lines() -> None:
    with Installation() as site:
        [customer] = make_customers(site.as_superuser, 1, 2)
        with voicereel.Client(customer.key, site.stack.url) as client:
            for lines in (10, 10, 100, 1_000):
                script = [
                    {"speaker_id": customer.speakers[n % 2], "text": "ab"} for n in range(lines)
                ]
                jobs = [
                    client.synthesize(script, output={"format": "wav", "sample_rate": 8_000})
                    for _ in range(max(2, 200 // lines))
                ]
                started = time.monotonic()
                done = [client.wait_for_job(job.id, timeout_s=300, poll_s=0.05) for job in jobs]
                spans = [
                    (job.finished_at - job.started_at).total_seconds()
                    for job in done
                    if job.finished_at and job.started_at
                ]
                mean_ms = sum(spans) / len(spans) * 1000
                print(
                    f"  {lines:5,} lines: {mean_ms:8.1f} ms a job, {mean_ms / lines:6.2f} ms a line, "
                    f"{len(jobs)} jobs in {time.monotonic() - started:.1f} s"
                )


def main() -> None:
    print(f"Requests a second at saturation, {CONNECTIONS} connections")
    outcomes = by_jobs()
    share = outcomes[-1].per_s / outcomes[0].per_s
    judge(f"{share:.2f} of the requests at 10^6 jobs (0.9)", share >= 0.9, outcomes)
    by_tenants()
    print("A job at a worker, by its lines (the first round warms it up)")
    by_lines()


if __name__ == "__main__":
    main()
