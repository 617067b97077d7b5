"""Whose voice: speakers and the recordings that were given for them."""

from django.db import models
from django.db.models import OuterRef, Subquery
from django.utils.functional import cached_property

from accounts import identifiers
from accounts.models import TenantOwned, TenantQuerySet


class SpeakerQuerySet(TenantQuerySet):
    def present(self) -> "SpeakerQuerySet":
        """Speakers that were not deleted, without their voices: a cloned one is 15 kB, which only
        engines need.
        """
        return self.filter(deleted_at=None).defer("voice_data")

    def with_transcript(self) -> "SpeakerQuerySet":
        """What is said in each one's first recording comes along, for ``transcript``."""
        clips = ReferenceClip.objects.filter(speaker=OuterRef("pk"), tenant=OuterRef("tenant"))
        return self.annotate(
            first_transcript=Subquery(clips.order_by("position").values("transcript")[:1])
        )


class Speaker(TenantOwned):
    """A registered voice: processing, then ready or failed.

    A deleted speaker stays as a name without a voice, because finished jobs still name it.
    """

    class Status(models.TextChoices):
        PROCESSING = "processing"
        READY = "ready"
        FAILED = "failed"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.speaker_id)
    name = models.CharField(max_length=100)
    language = models.CharField(max_length=12)  # as speakers.serializers.LANGUAGE has it
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PROCESSING)
    metadata = models.JSONField(default=dict)

    reference_ms = models.PositiveIntegerField()
    quality = models.JSONField(null=True)  # what the analysis measured
    failure_reasons = models.JSONField(default=list)  # [{"code", "detail"}]

    voice_engine = models.CharField(max_length=20, blank=True)  # whose voice_data this is
    voice_mode = models.CharField(max_length=20, blank=True)
    voice_preset = models.CharField(max_length=40, blank=True)
    voice_similarity = models.FloatField(null=True)  # cosine of voice embeddings, 1 is the same
    voice_data = models.JSONField(null=True)  # the engine's own; None until it is ready
    # How fast it speaks where a line does not say: 1 is as the recordings do.
    default_speed = models.FloatField(default=1.0, db_default=1.0)
    # Whose own voice it speaks with instead of its own, which is kept.
    speaks_as = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="+")

    consent_at = models.DateTimeField()
    consent_key_id = models.CharField(max_length=40)  # the API key, or the member, that gave it
    consent_version = models.CharField(max_length=20)  # of the statement consented to

    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)
    analysis_lease_expires_at = models.DateTimeField(null=True)
    analysis_attempts = models.PositiveSmallIntegerField(default=0)

    objects = SpeakerQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["tenant", "deleted_at"], name="speakers_by_tenant")]

    def __str__(self) -> str:
        return self.pk  # the name is the customer's

    @property
    def folder(self) -> str:
        """Where its files lie in the audio storage."""
        return speaker_folder(self.tenant_id, self.pk)

    @cached_property
    def first_transcript(self) -> str | None:
        """What is said in the first recording; "" or None where nobody said."""
        first = self.clips.first()
        return first.transcript if first else None


class ReferenceClip(TenantOwned):
    """One recording of a speaker: FLAC, mono, 16 bits, re-encoded by us from what was uploaded."""

    speaker = models.ForeignKey(Speaker, on_delete=models.CASCADE, related_name="clips")
    position = models.PositiveSmallIntegerField()
    audio_key = models.CharField(max_length=255)
    duration_ms = models.PositiveIntegerField()
    transcript = models.TextField(blank=True)

    class Meta:
        ordering = ["position"]


def speaker_folder(tenant_id: str, speaker_id: str) -> str:
    """The storage folder of a speaker; the tenant is in every storage key."""
    return f"t/{tenant_id}/s/{speaker_id}"
