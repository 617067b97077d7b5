"""Load for a while: does any process grow, does anything fail?

    make soak MINUTES=10

100 requests a second of the mix, with a worker that finishes every job. The memory of each process is
read all along: it is flat if over the second half of the time the highest of its last third is within
a twentieth, or 10 MB, of that of its first.
"""

import sys
import threading
import time
from collections import defaultdict

import psutil

from benchmarks.api import LINES, SPEAKERS, TENANTS, offer
from benchmarks.customers import add_jobs, make_customers
from benchmarks.installation import Installation

RATE = 100
_EVERY_S = 2.0


def memory_mb(site: Installation) -> dict[str, float]:
    """Of each process and its children, without what they share with others."""
    found = {}
    for name, pid in site.pids.items():
        if name == "postgresql":
            continue  # its backends show the shared buffers that they have touched
        try:
            root = psutil.Process(pid)
            tree = [root, *root.children(recursive=True)]
            found[name] = sum(one.memory_full_info().uss for one in tree) / 1024**2
        except psutil.NoSuchProcess:
            continue
    return found


def main() -> int:
    minutes = float(sys.argv[1])
    seen: dict[str, list[float]] = defaultdict(list)
    ended = threading.Event()
    with Installation() as site:
        customers = make_customers(site.as_superuser, TENANTS, SPEAKERS)
        add_jobs(site.postgres.url, customers, 10_000, LINES)

        def watch() -> None:
            while not ended.wait(_EVERY_S):
                for name, value in memory_mb(site).items():
                    seen[name].append(value)

        watching = threading.Thread(target=watch)
        watching.start()
        started = time.monotonic()
        errors: dict[str, int] = defaultdict(int)
        while (left_s := minutes * 60 - (time.monotonic() - started)) > 1:
            seconds = min(60.0, left_s)
            outcome = offer(
                site, customers, site.stack.port, rate=RATE, seconds=seconds, pids=site.pids
            )
            for status, count in outcome.errors.items():
                errors[status] += count
            shown = ", ".join(f"{name} {values[-1]:.0f}" for name, values in seen.items() if values)
            print(f"  {time.monotonic() - started:5.0f} s  {outcome}\n           MB: {shown}")
        ended.set()
        watching.join()
        site.wait_until_drained(300)
        unfinished = site.rows("SELECT status, count(*) FROM synthesis_job GROUP BY 1")
        died = site.stack.ended()
    grown = []
    for name, values in seen.items():
        half = values[len(values) // 2 :]
        third = max(1, len(half) // 3)
        before, after = max(half[:third]), max(half[-third:])
        if after > before + max(10.0, before / 20):
            grown.append(name)
        print(
            f"  {name:12} {values[0]:6.0f} MB at first, {before:6.0f} halfway, {after:6.0f} at the end"
        )
    print(
        f"  errors: {dict(errors) or 'none'}; jobs: {unfinished}; ended by itself: {died or 'none'}"
    )
    print(f"  grown: {', '.join(grown) or 'none'}")
    return 1 if grown or errors or died else 0


if __name__ == "__main__":
    sys.exit(main())
