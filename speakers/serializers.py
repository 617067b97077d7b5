"""The shapes of speakers in the API."""

import json
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from speakers.models import Speaker
from voicereel_site.shapes import (
    NameText,
    SpokenText,
    StrictSerializer,
    metadata_field,
    speed_field,
)
from voicereel_site.stored_text import translated

LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$"


class _JsonText(serializers.CharField):
    """Metadata in a multipart form: an object, as JSON text."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            value = json.loads(super().to_internal_value(data))
        except (ValueError, RecursionError) as exc:
            raise serializers.ValidationError(_("Send a JSON object as text.")) from exc
        return metadata_field().run_validation(value)


@extend_schema_field(OpenApiTypes.BINARY)
class _Recording(serializers.FileField):
    """A part of a form, with the bytes of a file."""


class RegisterSpeakerRequest(StrictSerializer):
    """POST /v1/speakers, multipart/form-data."""

    is_json = False
    name = NameText(max_length=100, help_text="As captions show it.")
    audio = serializers.ListField(
        child=_Recording(allow_empty_file=True),
        min_length=1,
        max_length=20,
        help_text="Recordings of this one person, 30 s to 10 min and 50 MB in all: a part of the form "
        "named audio for each file, as WAV, FLAC, MP3, OGG or M4A.",
    )
    language = serializers.RegexField(
        LANGUAGE,
        error_messages={"invalid": gettext_lazy("Use a language code such as en or ko.")},
        help_text="What is spoken in the recordings, such as en or ko.",
    )
    transcript = SpokenText(
        max_length=20_000,
        required=False,
        allow_blank=True,
        default="",
        help_text="What is said in the recordings, word for word. A voice that is cloned needs it "
        "where recordings are not transcribed for you.",
    )
    metadata = _JsonText(
        required=False,
        max_length=20_000,
        help_text="Up to 20 strings of your own, as the text of a JSON object.",
    )
    consent = serializers.BooleanField(
        required=False,
        default=False,
        help_text="Must be true: the voice is yours, or its owner agreed to have it synthesized.",
    )


class UpdateSpeakerRequest(StrictSerializer):
    """PATCH /v1/speakers/{id}"""

    name = NameText(max_length=100, required=False)
    metadata = metadata_field()
    default_speed = speed_field(
        help_text="How fast it speaks where a line does not say: 1 is as the voice does."
    )
    speaks_as = serializers.CharField(
        max_length=40,
        required=False,
        allow_null=True,
        help_text="The id of a speaker with whose own voice it speaks from now on; null: with its own.",
    )


class FailureReason(serializers.Serializer):
    code = serializers.CharField()
    detail = serializers.CharField()


class QualityReport(serializers.Serializer):
    speech_ms = serializers.IntegerField()
    loudness_lufs = serializers.FloatField(allow_null=True)
    clipped_percent = serializers.FloatField()
    signal_to_noise_db = serializers.FloatField(allow_null=True)
    warnings = serializers.ListField(child=serializers.CharField())


class SpeakerResponse(serializers.ModelSerializer):
    """A speaker as the API shows it."""

    quality = QualityReport(allow_null=True)
    failure_reasons = FailureReason(many=True)
    voice_mode = serializers.ChoiceField(
        ["nearest_preset", "adapted", "cloned"],
        allow_null=True,
        help_text="How the reference is used; only fish-speech clones.",
    )
    similarity = serializers.FloatField(
        source="voice_similarity",
        allow_null=True,
        help_text="Of the voice to the recordings: the cosine of their embeddings, 1 is the same.",
    )
    transcript = serializers.CharField(allow_null=True)
    speaks_as = serializers.CharField(
        source="speaks_as_id",
        allow_null=True,
        help_text="With whose voice it speaks; null: with its own.",
    )
    metadata = serializers.DictField(child=serializers.CharField())

    class Meta:
        model = Speaker
        fields = [
            "id",
            "name",
            "language",
            "status",
            "voice_mode",
            "similarity",
            "quality",
            "failure_reasons",
            "reference_ms",
            "transcript",
            "default_speed",
            "speaks_as",
            "metadata",
            "consent_at",
            "consent_version",
            "created_at",
        ]

    def to_representation(self, speaker: Speaker) -> dict[str, Any]:
        # By hand: field by field, DRF takes 0.8 ms of processor for each speaker of a page.
        return {
            "id": speaker.pk,
            "name": speaker.name,
            "language": speaker.language,
            "status": speaker.status,
            "voice_mode": speaker.voice_mode or None,
            "similarity": speaker.voice_similarity,
            "quality": speaker.quality and _quality_of(speaker.quality),
            "failure_reasons": [
                reason | {"detail": translated(reason["detail"])}
                for reason in speaker.failure_reasons
            ],
            "reference_ms": speaker.reference_ms,
            "transcript": speaker.first_transcript or None,
            "default_speed": speaker.default_speed,
            "speaks_as": speaker.speaks_as_id,
            "metadata": speaker.metadata,
            "consent_at": speaker.consent_at,
            "consent_version": speaker.consent_version,
            "created_at": speaker.created_at,
        }


def _quality_of(report: dict[str, Any]) -> dict[str, Any]:
    if not report["warnings"]:
        return report
    return report | {"warnings": [translated(warning) for warning in report["warnings"]]}


class SpeakerPage(serializers.Serializer):
    data = SpeakerResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
