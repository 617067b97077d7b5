"""What is measured."""

from django.db import models

from accounts import identifiers
from accounts.models import TenantOwned


class UsageEvent(TenantOwned):
    """One measured quantity of finished work. Never changed; one per source, meter and speaker."""

    class Meter(models.TextChoices):
        AUDIO_MS = "audio_ms"
        CHARACTERS = "characters"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.event_id)
    meter = models.CharField(max_length=20, choices=Meter.choices)
    quantity = models.PositiveBigIntegerField()
    source = models.CharField(max_length=100)  # "job:<id>": outlives the job itself
    speaker_id = models.CharField(max_length=40)
    api_key_id = models.CharField(max_length=40)
    project = models.CharField(max_length=500, blank=True)
    occurred_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "meter", "speaker_id"], name="one_event_per_source_and_meter"
            )
        ]
        indexes = [models.Index(fields=["tenant", "occurred_at"], name="usage_by_tenant_and_time")]
