"""Looking after speakers whose analysis was lost. The analysis itself is synthesis.prepare_speaker."""

from datetime import timedelta

from celery import shared_task
from django.db.models import Q
from django.utils import timezone

from accounts.outbox import ask_again_for_task
from speakers.models import Speaker


@shared_task(name="speakers.sweep_speakers")
def sweep_speakers() -> None:
    """Ask again for analyses that nobody finished: their message or their worker was lost."""
    now = timezone.now()
    lost = Q(analysis_lease_expires_at__lt=now) | Q(
        analysis_lease_expires_at=None, created_at__lt=now - timedelta(seconds=30)
    )
    waiting = Speaker.objects.filter(lost, status=Speaker.Status.PROCESSING, deleted_at=None)
    ask_again_for_task("synthesis.prepare_speaker", waiting.only("pk", "tenant_id")[:100])
