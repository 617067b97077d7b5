"""What is said: jobs and their lines, and how a tenant has its words spoken."""

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts import identifiers
from accounts.models import TenantOwned, TenantQuerySet
from speakers.models import Speaker

ACTIVE = ["queued", "processing"]  # what Job.Status a job has that is not over
LEASE = timedelta(seconds=30)  # how long a worker that says nothing keeps a job


class JobQuerySet(TenantQuerySet):
    def claimable(self, at: datetime) -> "JobQuerySet":
        """Jobs a worker may start: waiting, or abandoned by a worker whose lease ran out."""
        abandoned = Q(status=Job.Status.PROCESSING, lease_expires_at__lt=at)
        return self.filter(Q(status=Job.Status.QUEUED) | abandoned)

    def waiting(self) -> "JobQuerySet":
        """Jobs that need a worker and have not been handed to one (synthesis.dispatcher)."""
        return self.filter(status__in=ACTIVE, handed_at=None)

    def in_hand(self) -> "JobQuerySet":
        """Jobs that were handed to a worker and have not ended."""
        return self.filter(status__in=ACTIVE, handed_at__isnull=False)

    def suspect(self, at: datetime) -> "JobQuerySet":
        """Claimable jobs that may have killed their last worker: it died without a new line."""
        died = Q(status=Job.Status.PROCESSING) | Q(fruitless_attempts__gt=0)
        return self.claimable(at).filter(died, lines_done__lte=F("lines_done_at_claim"))


class Job(TenantOwned):
    """A script to be spoken: queued, processing, then succeeded, failed or canceled."""

    class Priority(models.IntegerChoices):
        INTERACTIVE = 0  # somebody may be waiting for it at a screen
        BULK = 1

    class Status(models.TextChoices):
        QUEUED = "queued"
        PROCESSING = "processing"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELED = "canceled"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.job_id)
    api_key_id = models.CharField(max_length=40)  # or the member's that asked for it
    live = models.BooleanField(default=True)  # False: of a test key, in tones, and costs nothing
    title = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.QUEUED)
    output = models.JSONField()  # format, sample_rate (Hz), bitrate_kbps, bit_depth
    captions = models.JSONField()  # which of json, vtt, srt
    seed = models.PositiveBigIntegerField()
    metadata = models.JSONField(default=dict)
    notices = models.JSONField(default=list)  # sentences, such as that a language is experimental

    # What its audio may come to; no more is billed. 0: of a test job.
    longest_ms = models.PositiveIntegerField(default=0, db_default=0)
    quote_minor = models.PositiveBigIntegerField(default=0, db_default=0)  # the price of that
    currency = models.CharField(max_length=3, blank=True, default="", db_default="")
    max_cost_minor = models.PositiveBigIntegerField(null=True)
    # What it came to, in minor units, not rounded.
    cost = models.DecimalField(max_digits=30, decimal_places=12, null=True)

    lines_total = models.PositiveIntegerField()
    lines_done = models.PositiveIntegerField(default=0)
    attempt = models.PositiveSmallIntegerField(default=0)  # rises with each claim
    lines_done_at_claim = models.PositiveIntegerField(default=0)
    fruitless_attempts = models.PositiveSmallIntegerField(default=0)  # that finished no new line
    lease_expires_at = models.DateTimeField(null=True)
    priority = models.PositiveSmallIntegerField(choices=Priority.choices, default=Priority.BULK)
    handed_at = models.DateTimeField(null=True)  # when a worker was last told of it; None: it waits
    due_at = models.DateTimeField(default=timezone.now)  # not to be handed to a worker before
    origin = models.JSONField(default=dict)  # the request's id and trace, for the worker's log

    error_code = models.CharField(max_length=40, blank=True)
    error_detail = models.TextField(blank=True)
    error_line_id = models.CharField(max_length=64, blank=True)

    audio_key = models.CharField(max_length=255, blank=True)
    audio_ms = models.PositiveIntegerField(null=True)
    audio_bytes = models.PositiveBigIntegerField(null=True)
    audio_sha256 = models.CharField(max_length=64, blank=True)
    caption_keys = models.JSONField(default=dict)  # {"vtt": key, ...}

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    retention_hours = models.PositiveIntegerField(null=True)  # after its end; None: for ever
    expires_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["tenant", "status"], name="jobs_by_tenant_and_status"),
            models.Index(fields=["expires_at"], name="jobs_to_erase"),
            # Of the jobs that are not over, however many are: what the dispatcher and sweeps ask.
            models.Index(
                fields=["live", "tenant", "priority", "id"],
                name="jobs_that_wait",
                condition=Q(handed_at=None, status__in=["queued", "processing"]),
            ),
            models.Index(
                fields=["handed_at"],
                name="jobs_in_hand",
                condition=Q(handed_at__isnull=False, status__in=["queued", "processing"]),
            ),
        ]

    # Of the attempt at hand: how long its lines were with the GPU, beside those of others.
    gpu_ms = 0

    @property
    def folder(self) -> str:
        """Where its files lie in the audio storage."""
        return job_folder(self.tenant_id, self.pk)

    def expiry(self, finished_at: datetime) -> datetime | None:
        """When a job that ended then is erased; None: never."""
        if self.retention_hours is None:
            return None
        return finished_at + timedelta(hours=self.retention_hours)


def job_folder(tenant_id: str, job_id: str) -> str:
    """The storage folder of a job; the tenant is in every storage key."""
    return f"t/{tenant_id}/j/{job_id}"


class Line(TenantOwned):
    """One line of a script and, once it is spoken, where its sound is kept."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="lines")
    position = models.PositiveIntegerField()
    line_id = models.CharField(max_length=64)  # the customer's, or the line's number
    speaker = models.ForeignKey(Speaker, on_delete=models.PROTECT, related_name="+")
    text = models.TextField()
    language = models.CharField(max_length=12)  # as speakers.serializers.LANGUAGE has it
    speed = models.FloatField()
    pause_after_ms = models.PositiveIntegerField(null=True)  # None: ours to choose

    audio_key = models.CharField(max_length=255, blank=True)  # "" until it is spoken
    # Lines that were kept at the same time share a file: where in it this one begins, in samples.
    audio_start = models.PositiveIntegerField(default=0)
    sample_count = models.PositiveIntegerField(null=True)
    sample_rate = models.PositiveIntegerField(null=True)  # Hz, the engine's
    words = models.JSONField(null=True)  # [[text, start_sample, end_sample, space_before], ...]
    word_timing = models.CharField(max_length=10, default="aligned")  # or estimated

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["job", "position"], name="one_line_per_position")
        ]


class Quarantine(models.Model):
    """The one place for a job that may have killed its last worker (synthesis.quarantine). One row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    holder = models.CharField(max_length=60, blank=True)  # a job's id and attempt; "": nobody
    until = models.DateTimeField()


class Backlog(models.Model):
    """What waits of all tenants' live jobs, as last counted (synthesis.backlog). One row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    lines = models.PositiveIntegerField()
    # Of each tenant with waiting jobs, named by a hash: [weight, jobs, lines].
    shares = models.JSONField(default=dict)
    lines_per_s = models.FloatField(null=True)  # how fast it melts; None: not known yet
    measured_at = models.DateTimeField()


class Pronunciation(TenantOwned):
    """How a tenant has a word or phrase of one language spoken: a plain respelling."""

    language = models.CharField(max_length=3)  # without a region, which no entry has
    written = models.CharField(max_length=64)
    written_folded = models.CharField(max_length=192)  # folding makes three characters of one
    spoken = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "language", "written_folded"],
                name="one_pronunciation_per_written_form",
            )
        ]
