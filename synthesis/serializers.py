"""The shapes of scripts and jobs in the API."""

import time
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy
from rest_framework import serializers

from accounts.models import LONGEST_RETENTION_HOURS, mode_name
from accounts.serializers import MODES
from billing.money import Currency, half_up
from speakers.serializers import LANGUAGE
from synthesis.backlog import outlook_of
from synthesis.captions import KINDS
from synthesis.formats import BIT_DEPTHS, DEFAULT_FORMAT, FORMATS
from synthesis.models import Job
from synthesis.storage import link_paths
from synthesis.submission import LARGEST_SEED, Preview
from voicereel_site.pagination import PageQuery
from voicereel_site.shapes import (
    BoundedList,
    EncodableText,
    NameText,
    PhraseText,
    SpokenText,
    StrictSerializer,
    metadata_field,
    speed_field,
)
from voicereel_site.stored_text import translated

LONGEST_LINE = 2_000  # characters
MOST_LINES = 2_000
MOST_PRONUNCIATIONS = 1_000
LARGEST_AMOUNT = 10**12  # minor units


class LineRequest(StrictSerializer):
    """One line of a script."""

    id = EncodableText(
        max_length=64,
        required=False,
        help_text="Your name for the line, in errors and captions; not given: its number.",
    )
    speaker_id = EncodableText(max_length=40, help_text="A speaker that is ready.")
    text = SpokenText(max_length=LONGEST_LINE, help_text="What is said.")
    speed = speed_field(help_text="1 is as the voice speaks. Not given: as the speaker is set.")
    language = serializers.RegexField(
        LANGUAGE,
        required=False,
        error_messages={"invalid": gettext_lazy("Use a language code such as en or ko.")},
        help_text="Not given: as the text looks, or as its speaker's recordings were.",
    )
    pause_after_ms = serializers.IntegerField(
        min_value=0, max_value=10_000, required=False, help_text="Not given: as people pause."
    )


class OutputRequest(StrictSerializer):
    """What the audio file shall be."""

    format = serializers.ChoiceField(
        list(FORMATS), required=False, help_text=f"Not given: {DEFAULT_FORMAT}."
    )
    sample_rate = serializers.IntegerField(
        min_value=8_000,
        max_value=48_000,
        required=False,
        help_text="Hz; the format has to know it.",
    )
    bitrate_kbps = serializers.IntegerField(
        min_value=6, max_value=320, required=False, help_text="For formats that lose something."
    )
    bit_depth = serializers.ChoiceField(
        BIT_DEPTHS, required=False, help_text="For formats that lose nothing."
    )


class SynthesizeRequest(StrictSerializer):
    """POST /v1/synthesize"""

    title = NameText(max_length=200, required=False, allow_blank=True)
    script = serializers.ListSerializer(
        child=LineRequest(),
        allow_empty=False,
        max_length=MOST_LINES,
        help_text="The lines, in the order in which they are spoken: 200,000 characters in all.",
    )
    output = OutputRequest(required=False)
    captions = BoundedList(
        child=serializers.ChoiceField(KINDS),
        max_length=len(KINDS),
        required=False,
        help_text="Not given: all three.",
    )
    seed = serializers.IntegerField(
        min_value=0,
        max_value=LARGEST_SEED,
        required=False,
        help_text="The same seed and script sound the same again, on the same engine.",
    )
    retention_hours = serializers.IntegerField(
        min_value=1,
        max_value=LONGEST_RETENTION_HOURS,
        allow_null=True,
        required=False,
        help_text="How long the job and its files are kept after its end; null: until you delete "
        "it; not given: as your account is set, by default 30 days.",
    )
    max_cost_minor = serializers.IntegerField(
        min_value=0,
        max_value=LARGEST_AMOUNT,
        required=False,
        help_text="The most that the job may cost, in your currency's smallest unit: if it may cost more, "
        "nothing is spoken (402 cost_limit_exceeded).",
    )
    metadata = metadata_field()


class SynthesizeQuery(StrictSerializer):
    """The query parameters of POST /v1/synthesize"""

    is_json = False
    dry_run = serializers.BooleanField(
        required=False, default=False, help_text="Say what would become of it, and do nothing."
    )


class ScriptError(serializers.Serializer):
    pointer = serializers.CharField(help_text="JSON pointer into the request")
    line_id = serializers.CharField(required=False)
    code = serializers.CharField(required=False)
    detail = serializers.CharField()


class Money(serializers.Serializer):
    """An amount before tax."""

    amount_minor = serializers.IntegerField(help_text="in the currency's smallest unit")
    currency = serializers.ChoiceField(Currency.choices)


class PreviewResponse(serializers.Serializer):
    """What would become of a script."""

    valid = serializers.BooleanField(help_text="whether it would be taken")
    errors = ScriptError(many=True)
    code = serializers.CharField(allow_null=True, help_text="with which it would be refused")
    detail = serializers.CharField(allow_null=True)
    predicted_duration_ms = serializers.IntegerField(help_text="of the audio, with its pauses")
    longest_duration_ms = serializers.IntegerField(help_text="no more is billed")
    highest_price = Money(help_text="the bill never passes it")

    def to_representation(self, preview: Preview) -> dict[str, Any]:
        first = preview.errors[0] if preview.errors else None
        refusal = preview.refusal
        return {
            "valid": first is None and refusal is None,
            "errors": [error.as_json() for error in preview.errors],
            "code": (first.code or "validation_error") if first else refusal and refusal.code,
            "detail": first.detail if first else refusal and refusal.detail,
            "predicted_duration_ms": preview.foreseen.expected_ms,
            "longest_duration_ms": preview.foreseen.longest_ms,
            "highest_price": {
                "amount_minor": preview.quoted.amount_minor,
                "currency": preview.quoted.currency,
            },
        }


class JobQuery(PageQuery):
    """The query parameters of GET /v1/jobs"""

    status = serializers.ChoiceField(Job.Status.choices, required=False)


class Progress(serializers.Serializer):
    lines_done = serializers.IntegerField()
    lines_total = serializers.IntegerField()


class JobError(serializers.Serializer):
    code = serializers.CharField()
    detail = serializers.CharField()
    line_id = serializers.CharField(allow_null=True)


class AudioFile(serializers.Serializer):
    url = serializers.URLField()
    format = serializers.ChoiceField(list(FORMATS))
    sample_rate = serializers.IntegerField(help_text="Hz")
    duration_ms = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()


class CaptionLinks(serializers.Serializer):
    json = serializers.URLField(required=False)
    vtt = serializers.URLField(required=False)
    srt = serializers.URLField(required=False, help_text="add ?bom=1 for a byte-order mark")


class JobCost(Money):
    exact_minor = serializers.CharField(
        help_text="not rounded, a decimal number: invoices round a line once, as a whole"
    )


class JobResponse(serializers.Serializer):
    """A job as the API shows it. Links are made afresh each time and live 15 minutes."""

    id = serializers.CharField()
    mode = serializers.ChoiceField(
        MODES, help_text="test: made with a test key, spoken in tones, costs nothing"
    )
    title = serializers.CharField()
    status = serializers.ChoiceField(Job.Status.choices)
    progress = Progress()
    queue_position = serializers.IntegerField(
        allow_null=True, help_text="while it is queued: how many jobs begin before it"
    )
    estimated_start_at = serializers.DateTimeField(
        allow_null=True,
        help_text="while it is queued: when it will begin, as far as can be told by how fast work goes",
    )
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    retention_hours = serializers.IntegerField(
        allow_null=True, help_text="how long it is kept after its end; null: until you delete it"
    )
    expires_at = serializers.DateTimeField(
        allow_null=True, help_text="when the job and its files are erased"
    )
    error = JobError(allow_null=True)
    highest_price = Money(
        allow_null=True, help_text="what was quoted: the bill never passes it; null: a test job's"
    )
    cost = JobCost(
        allow_null=True, help_text="what it came to; null until it has succeeded, and for test jobs"
    )
    audio = AudioFile(allow_null=True)
    captions = CaptionLinks(allow_null=True)
    links_expire_at = serializers.DateTimeField(allow_null=True)
    notices = serializers.ListField(child=serializers.CharField())
    seed = serializers.IntegerField()
    metadata = serializers.DictField(child=serializers.CharField())


def _cost_of(job: Job) -> dict[str, Any] | None:
    if job.cost is None or job.status != Job.Status.SUCCEEDED:
        return None
    exact = f"{job.cost:f}"
    return {
        "amount_minor": half_up(job.cost),
        "currency": job.currency,
        "exact_minor": exact.rstrip("0").rstrip(".") if "." in exact else exact,
    }


def shown_job(job: Job, here: str) -> dict[str, Any]:
    """A job as JobResponse has it, by hand: field by field DRF takes longer than all the rest.

    here: the address that links begin with, such as ``https://api.example.com``.
    """
    expires_at = int(time.time()) + settings.LINK_TTL_S
    done = job.status == Job.Status.SUCCEEDED
    failed = job.status == Job.Status.FAILED
    outlook = outlook_of(job)
    links: dict[str, str] = {}
    if done:
        paths = link_paths(job, ("audio", *job.captions), expires_at)
        links = {kind: here + path for kind, path in paths.items()}
    return {
        "id": job.pk,
        "mode": mode_name(job.live),
        "title": job.title,
        "status": job.status,
        "progress": {"lines_done": job.lines_done, "lines_total": job.lines_total},
        "queue_position": None if outlook is None else outlook.position,
        "estimated_start_at": None if outlook is None else outlook.starts_at,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "retention_hours": job.retention_hours,
        "expires_at": job.expires_at,
        "error": {
            "code": job.error_code,
            "detail": translated(job.error_detail),
            "line_id": job.error_line_id or None,
        }
        if failed
        else None,
        "highest_price": {"amount_minor": job.quote_minor, "currency": job.currency}
        if job.currency
        else None,
        "cost": _cost_of(job),
        "audio": {
            "url": links.pop("audio"),
            "format": job.output["format"],
            "sample_rate": job.output["sample_rate"],
            "duration_ms": job.audio_ms,
            "size_bytes": job.audio_bytes,
            "sha256": job.audio_sha256,
        }
        if done
        else None,
        "captions": links if done else None,
        "links_expire_at": datetime.fromtimestamp(expires_at, UTC) if done else None,
        "notices": [translated(notice) for notice in job.notices],
        "seed": job.seed,
        "metadata": job.metadata,
    }


class JobPage(serializers.Serializer):
    data = JobResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class PronunciationRequest(StrictSerializer):
    """One entry of a pronunciation dictionary."""

    language = serializers.RegexField(
        r"^[a-z]{2,3}$",
        error_messages={
            "invalid": gettext_lazy(
                "Use a language code without a region, such as en or ko: an entry holds for its "
                "language everywhere."
            )
        },
        help_text="Without a region: an entry for en is used for en-US and en-GB too.",
    )
    written = PhraseText(max_length=64, help_text="As scripts have it; case does not matter.")
    spoken = PhraseText(
        max_length=200, help_text="A respelling in the letters that the language is written with."
    )


class ReplacePronunciationsRequest(StrictSerializer):
    """PUT /v1/pronunciations"""

    entries = BoundedList(child=PronunciationRequest(), max_length=MOST_PRONUNCIATIONS)


class PronunciationEntry(serializers.Serializer):
    language = serializers.CharField()
    written = serializers.CharField()
    spoken = serializers.CharField()


class PronunciationDictionary(serializers.Serializer):
    """A tenant's pronunciations, by language and then by what is written, ignoring case."""

    entries = PronunciationEntry(many=True)
