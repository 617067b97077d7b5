"""The seam between messages and work. Every task takes ids; the rows decide what happens.

Tasks of a tenant's act for it. Sweeps look at all tenants' rows: on PostgreSQL the worker of their
queue, ``operations``, has the operators' role.
"""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from accounts.outbox import queue_is_empty
from accounts.tenancy import acting_for
from speakers.enrollment import claim_analysis, postpone_analysis
from speakers.models import Speaker
from synthesis import admission, orphans, quarantine, rendering, submission, voices
from synthesis.models import LEASE, Job
from synthesis.wakeups import LIVE_TASK, TEST_TASK, ask_again_to_render
from voicereel_site.outages import outage_of, until_database_is_back

# A job that waits so long while the queue is empty has lost its message; while it is not empty, the
# message may only be far back, and asking again and again would drown the queue.
_MESSAGE_LOST = LEASE
_MESSAGE_OVERDUE = timedelta(minutes=10)
_NUDGED_AT_A_TIME = 100


@shared_task(name=LIVE_TASK)
def render_job(tenant_id: str, job_id: str) -> None:
    """Speak one job. The row is the truth and this message only a nudge: lost, late or
    delivered twice it does no harm, because only ``claim_job`` lets work begin.
    """
    with acting_for(tenant_id):
        if job := rendering.claim_job(tenant_id, job_id):
            rendering.render(job)


@shared_task(name=TEST_TASK)
def render_test_job(tenant_id: str, job_id: str) -> None:
    """As render_job, on workers that have no engine: test jobs are spoken in tones."""
    render_job(tenant_id, job_id)


@shared_task(name="synthesis.prepare_speaker")
def prepare_speaker(tenant_id: str, speaker_id: str) -> None:
    """Measure a new speaker's reference and find its voice."""
    with acting_for(tenant_id):
        if speaker := claim_analysis(tenant_id, speaker_id):
            try:
                voices.prepare_speaker(speaker)
            except Exception as exc:
                if outage_of(exc) is None:
                    raise
                until_database_is_back(lambda: postpone_analysis(speaker), exc)


@shared_task(name="synthesis.fail_jobs_of_speaker")
def fail_jobs_of_speaker(tenant_id: str, speaker_id: str) -> None:
    """Fail the queued jobs that need a speaker who was deleted."""
    with acting_for(tenant_id):
        rows = Speaker.objects.for_tenant(tenant_id).select_related("tenant")
        rendering.fail_jobs_of_speaker(rows.get(pk=speaker_id))


@shared_task(name=quarantine.NEXT_TASK)
def wake_next_suspect(tenant_id: str, job_id: str) -> None:
    """Have a worker take up the next job, of any tenant, that waits for the place in quarantine.

    The arguments name the job that left it.
    """
    ask_again_to_render(Job.objects.suspect(timezone.now()).order_by("pk")[:1])


@shared_task(name="synthesis.sweep_jobs")
def sweep_jobs() -> None:
    """Nudge again what was lost: jobs whose worker stopped renewing its lease, and jobs that wait
    although no message does. Count what waits.
    """
    admission.measure_backlog()
    now = timezone.now()
    abandoned = Job.objects.filter(status=Job.Status.PROCESSING, lease_expires_at__lt=now)
    jobs = list(abandoned.order_by("pk")[:_NUDGED_AT_A_TIME])
    for live, queue in ((True, settings.ENGINE_QUEUE), (False, "default")):
        nudge_again = _MESSAGE_LOST if queue_is_empty(queue) else _MESSAGE_OVERDUE
        waiting = Job.objects.filter(
            status=Job.Status.QUEUED, live=live, nudged_at__lt=now - nudge_again
        )
        jobs += waiting.order_by("nudged_at")[:_NUDGED_AT_A_TIME]
    Job.objects.filter(pk__in=[job.pk for job in jobs]).update(nudged_at=now)
    ask_again_to_render(jobs)


@shared_task(name="synthesis.erase_expired_jobs")
def erase_expired_jobs() -> None:
    """Erase jobs whose time to be kept is over."""
    submission.erase_expired_jobs()


@shared_task(name="synthesis.reconcile_storage")
def reconcile_storage() -> None:
    """Find files without a row and rows without their file."""
    orphans.reconcile_storage()
