"""The seam between messages and work. Every task takes ids; the rows decide what happens."""

from celery import shared_task
from django.utils import timezone

from accounts.outbox import ask_for_task
from speakers.enrollment import claim_analysis
from speakers.models import Speaker
from synthesis import rendering, voices
from synthesis.models import Job
from synthesis.submission import delete_job


@shared_task(name="synthesis.render_job")
def render_job(job_id: str) -> None:
    """Speak one job. The row is the truth and this message only a nudge: lost, late or
    delivered twice it does no harm, because only ``claim_job`` lets work begin.
    """
    if job := rendering.claim_job(job_id):
        rendering.render(job)


@shared_task(name="synthesis.prepare_speaker")
def prepare_speaker(speaker_id: str) -> None:
    """Measure a new speaker's reference and find its voice."""
    if speaker := claim_analysis(speaker_id):
        voices.prepare_speaker(speaker)


@shared_task(name="synthesis.fail_jobs_of_speaker")
def fail_jobs_of_speaker(speaker_id: str) -> None:
    """Fail the queued jobs that need a speaker who was deleted."""
    rendering.fail_jobs_of_speaker(Speaker.objects.select_related("tenant").get(pk=speaker_id))


@shared_task(name="synthesis.sweep_jobs")
def sweep_jobs() -> None:
    """Nudge again what was lost: jobs that wait longer than a message takes, and jobs whose
    worker stopped renewing its lease.
    """
    now = timezone.now()
    abandoned = Job.objects.filter(status=Job.Status.PROCESSING, lease_expires_at__lt=now)
    waiting = Job.objects.filter(
        status=Job.Status.QUEUED, created_at__lt=now - rendering.LEASE
    ).order_by("pk")
    for job_id in [
        *abandoned.values_list("pk", flat=True)[:100],
        *waiting.values_list("pk", flat=True)[:100],
    ]:
        ask_for_task("synthesis.render_job", job_id)


@shared_task(name="synthesis.erase_expired_jobs")
def erase_expired_jobs() -> None:
    """Erase jobs whose time to be kept is over."""
    for job in Job.objects.filter(expires_at__lt=timezone.now())[:500]:
        delete_job(job)
