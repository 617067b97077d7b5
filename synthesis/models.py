"""What is said: jobs and their lines, and how a tenant has its words spoken."""

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts import identifiers
from accounts.models import Tenant, TenantOwned, TenantQuerySet
from speakers.models import Speaker
from synthesis.timeline import SpokenClip

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

    # Each index of these two tables is paid for by every line and every step of a job: those that begin with
    # what another begins with are left out.
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
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
            models.Index(
                fields=["finished_at"],
                name="jobs_by_end",
                condition=Q(finished_at__isnull=False),
            ),
            # Few of many, whom operators look for.
            models.Index(
                fields=["status", "id"],
                name="jobs_that_stopped",
                condition=Q(status__in=["failed", "canceled"]),
            ),
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

    def __str__(self) -> str:
        return self.pk

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


class LineQuerySet(TenantQuerySet):
    def with_voice_of(self, speaker_id: str) -> "LineQuerySet":
        """Lines that are said by a speaker, or by another with its voice."""
        return self.filter(Q(speaker=speaker_id) | Q(voice=speaker_id))

    def with_names(self) -> "LineQuerySet":
        """Each comes with its speaker, without the voice."""
        return self.select_related("speaker").defer("speaker__voice_data")


class Line(TenantOwned):
    """One line of a script and, once it is spoken, where its sound is kept."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="lines", db_index=False)
    position = models.PositiveIntegerField()
    line_id = models.CharField(max_length=64)  # the customer's, or the line's number
    speaker = models.ForeignKey(Speaker, on_delete=models.PROTECT, related_name="+")
    # Whose voice speaks it, if not the speaker's own (Speaker.speaks_as).
    voice = models.ForeignKey(
        Speaker, on_delete=models.PROTECT, related_name="+", null=True, db_index=False
    )
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

    objects = LineQuerySet.as_manager()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["job", "position"], name="one_line_per_position")
        ]
        indexes = [
            models.Index(fields=["voice"], name="lines_by_voice", condition=Q(voice__isnull=False))
        ]

    @property
    def spoken_by(self) -> Speaker:
        """Whose voice speaks it."""
        return self.speaker if self.voice is None else self.voice

    def as_clip(self) -> SpokenClip:
        """What the timeline needs to know of it, once it is spoken."""
        return SpokenClip(
            self.line_id,
            self.speaker_id,
            self.speaker.name,
            self.language,
            self.text,
            self.sample_count,
            self.sample_rate,
            self.words,
            self.word_timing,
            self.pause_after_ms,
        )


class Draft(TenantOwned):
    """A script being written in the studio: saved as it is typed, rendered as often as one likes."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.draft_id)
    title = models.CharField(max_length=200, blank=True)
    # [{"id", "speaker_id" or "", "name", "text", "speed", "pause_after_ms"}, ...]; name: as an imported
    # script calls who speaks, until somebody says which speaker that is.
    lines = models.JSONField(default=list)
    output = models.JSONField(default=dict)  # format, sample_rate
    version = models.PositiveIntegerField(default=1)  # rises with each save
    last_job_id = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = [models.Index(fields=["tenant", "-updated_at"], name="drafts_by_tenant")]


class Comparison(TenantOwned):
    """Some lines by several voices, for listeners who do not know which is which."""

    class Status(models.TextChoices):
        PREPARING = "preparing"  # its variants are being rendered
        OPEN = "open"
        CLOSED = "closed"
        FAILED = "failed"  # a variant was

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.comparison_id)
    title = models.CharField(max_length=200)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PREPARING)
    texts = models.JSONField()  # what is said, line by line
    # Of listeners, so far: each has a number, which decides what they hear first.
    listeners_count = models.PositiveIntegerField(default=0)
    winner_position = models.PositiveSmallIntegerField(null=True)  # that was chosen
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["tenant", "id"], name="comparisons_by_tenant")]


class Variant(TenantOwned):
    """One of the voices, or ways of one voice to speak, of a comparison."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="variants")
    position = models.PositiveSmallIntegerField()
    label = models.CharField(max_length=100)
    speaker = models.ForeignKey(Speaker, on_delete=models.PROTECT, related_name="+")
    speed = models.FloatField()
    job_id = models.CharField(max_length=40)  # what it was rendered by

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["comparison", "position"], name="one_variant_per_position"
            )
        ]


class Listener(TenantOwned):
    """Somebody who opened the link of a comparison, on one browser."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.listener_id)
    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="listeners")
    number = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "number"], name="one_listener_per_number")
        ]


class Vote(TenantOwned):
    """What a listener preferred of a pair. Once for each."""

    class Choice(models.TextChoices):
        FIRST = "first"
        SECOND = "second"
        SAME = "same"

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="votes")
    listener = models.ForeignKey(Listener, on_delete=models.CASCADE, related_name="votes")
    line = models.PositiveSmallIntegerField()
    first = models.PositiveSmallIntegerField()  # the variant's position that was heard first
    # Both of them whichever came first, so that nobody votes twice by hearing them the other way.
    lower = models.PositiveSmallIntegerField()
    higher = models.PositiveSmallIntegerField()
    choice = models.CharField(max_length=6, choices=Choice.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["listener", "line", "lower", "higher"], name="one_vote_per_pair"
            )
        ]


class Worker(models.Model):
    """A worker process that is there, or was and did not say that it ends (synthesis.workers)."""

    name = models.CharField(primary_key=True, max_length=120)  # its machine's, and the process's id
    queues = models.JSONField(default=list)
    engine = models.CharField(max_length=20)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()


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
