"""The seam between messages and work. Every task takes ids; the rows decide what happens.

Tasks of a tenant's act for it. Sweeps look at all tenants' rows: on PostgreSQL the worker of their
queue, ``operations``, has the operators' role.
"""

from celery import shared_task
from django.utils import timezone

from accounts.privacy.erasures import ERASE_SPEAKER
from accounts.tenancy import acting_for
from speakers.enrollment import claim_analysis, postpone_analysis
from speakers.models import Speaker
from synthesis import (
    dispatcher,
    erasure,
    orphans,
    quarantine,
    rendering,
    stored_bytes,
    submission,
    voices,
    workers,
)
from synthesis.models import Job
from voicereel_site.outages import outage_of, until_database_is_back


@shared_task(name=dispatcher.LIVE_TASK)
def render_job(tenant_id: str, job_id: str) -> None:
    """Speak one job. The row is the truth and this message only a nudge: lost, late or
    delivered twice it does no harm, because only ``claim_job`` lets work begin.
    """
    with acting_for(tenant_id):
        try:
            job = rendering.claim_job(tenant_id, job_id)
        except Exception as exc:
            if outage_of(exc) is None:
                raise
            job = until_database_is_back(lambda: rendering.claim_job(tenant_id, job_id), exc)
        if job:
            rendering.render(job)


@shared_task(name=dispatcher.TEST_TASK)
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
    suspects = Job.objects.suspect(timezone.now()).order_by("pk").values_list("pk", flat=True)
    dispatcher.hand_again(Job.objects.filter(pk__in=list(suspects[:1])))


@shared_task(name="synthesis.sweep_jobs")
def sweep_jobs() -> None:
    """Have lost jobs handed to a worker again."""
    dispatcher.find_lost()


@shared_task(name="synthesis.erase_expired_jobs")
def erase_expired_jobs() -> None:
    """Erase jobs whose time to be kept is over."""
    submission.erase_expired_jobs()


@shared_task(name="synthesis.reconcile_storage")
def reconcile_storage() -> None:
    """Find files without a row and rows without their file."""
    orphans.reconcile_storage()


@shared_task(name=ERASE_SPEAKER)
def erase_speaker(tenant_id: str, erasure_id: str) -> None:
    """Erase a speaker for good, with the jobs that have its voice."""
    erasure.erase_speaker(erasure_id)


@shared_task(name="synthesis.forget_workers")
def forget_workers() -> None:
    """Forget workers that died without a word."""
    workers.forget_workers()


@shared_task(name="synthesis.measure_storage")
def measure_storage() -> None:
    """Write down how much audio is kept for each tenant."""
    stored_bytes.measure_stored_bytes()
