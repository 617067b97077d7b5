"""Waking up the worker that a job is for: live jobs go to the engine, test jobs never touch it."""

from collections.abc import Iterable
from datetime import timedelta

from accounts.outbox import ask_again_for_task, ask_for_task
from synthesis.models import Job

LIVE_TASK, TEST_TASK = "synthesis.render_job", "synthesis.render_test_job"


def ask_to_render(job: Job, *, after: timedelta = timedelta()) -> None:
    """Have a worker look at a job once this transaction commits, and ``after`` has passed."""
    ask_for_task(LIVE_TASK if job.live else TEST_TASK, job, after=after)


def ask_again_to_render(jobs: Iterable[Job]) -> None:
    """Have workers look at jobs, unless a message that asks for it has yet to leave."""
    jobs = list(jobs)
    ask_again_for_task(LIVE_TASK, [job for job in jobs if job.live])
    ask_again_for_task(TEST_TASK, [job for job in jobs if not job.live])
