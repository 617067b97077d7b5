"""The shapes of comparisons in the API."""

from typing import Any

from rest_framework import serializers

from synthesis.comparison.comparisons import Standing
from synthesis.comparison.preference import Verdict
from synthesis.models import Comparison
from voicereel_site.shapes import (
    BoundedList,
    NameText,
    SpokenText,
    StrictSerializer,
    speed_field,
)

MOST_TEXTS, MOST_VARIANTS = 20, 6
# Half a minute: who hears two of them one after the other must still know the first.
LONGEST_TEXT = 500


class VariantRequest(StrictSerializer):
    """One of the voices to compare."""

    speaker_id = serializers.CharField(max_length=40, help_text="A speaker that is ready.")
    speed = speed_field(default=1.0, help_text="As of a line.")
    label = NameText(
        max_length=100,
        required=False,
        allow_blank=True,
        default="",
        help_text="What you call it; listeners are not told. Not given: the speaker's name.",
    )


class CreateComparisonRequest(StrictSerializer):
    """POST /v1/comparisons"""

    title = NameText(max_length=200, help_text="Listeners see it.")
    texts = BoundedList(
        child=SpokenText(max_length=LONGEST_TEXT),
        min_length=1,
        max_length=MOST_TEXTS,
        help_text="What is said: a line of each pair that is heard.",
    )
    variants = serializers.ListSerializer(
        child=VariantRequest(),
        min_length=2,
        max_length=MOST_VARIANTS,
        help_text="Speakers, or speeds of one speaker.",
    )


class ChooseWinnerRequest(StrictSerializer):
    """POST /v1/comparisons/{id}/winner"""

    position = serializers.IntegerField(min_value=0, help_text="The variant's, from 0.")
    speaker_id = serializers.CharField(
        max_length=40,
        required=False,
        help_text="Who speaks like it from now on. Not given: the speaker of the first variant.",
    )


class VariantResponse(serializers.Serializer):
    position = serializers.IntegerField()
    label = serializers.CharField()
    speaker_id = serializers.CharField()
    speed = serializers.FloatField()
    job_id = serializers.CharField(help_text="by which it was rendered")
    share = serializers.FloatField(help_text="of its votes, those that preferred it")


class PairResponse(serializers.Serializer):
    first = serializers.IntegerField(help_text="a variant's position")
    second = serializers.IntegerField()
    votes = serializers.IntegerField()
    rate = serializers.FloatField(help_text="how often the first was preferred; a tie is half")
    low = serializers.FloatField(
        help_text="where the rate lies at least; the interval is right in 19 of 20 comparisons, however "
        "often you look"
    )
    high = serializers.FloatField()
    verdict = serializers.ChoiceField([str(one) for one in Verdict])


class ComparisonResponse(serializers.Serializer):
    """A comparison, and what listeners have said so far."""

    id = serializers.CharField()
    title = serializers.CharField()
    status = serializers.ChoiceField(Comparison.Status.choices)
    texts = serializers.ListField(child=serializers.CharField())
    listen_url = serializers.URLField(help_text="for listeners; they need no account")
    votes = serializers.IntegerField()
    listeners = serializers.IntegerField(help_text="who have voted")
    variants = VariantResponse(many=True)
    pairs = PairResponse(many=True)
    leader = serializers.IntegerField(allow_null=True, help_text="a variant's position")
    is_decided = serializers.BooleanField(help_text="the leader is preferred to each other one")
    winner = serializers.IntegerField(allow_null=True, help_text="the position that was chosen")
    created_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)


class ComparisonPage(serializers.Serializer):
    data = ComparisonResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)


def shown_comparison(standing: Standing, listen_url: str) -> dict[str, Any]:
    """A comparison as ComparisonResponse has it."""
    comparison, outcome = standing.comparison, standing.outcome
    return {
        "id": comparison.pk,
        "title": comparison.title,
        "status": comparison.status,
        "texts": comparison.texts,
        "listen_url": listen_url,
        "votes": outcome.votes,
        "listeners": outcome.listeners,
        "variants": [
            {
                "position": variant.position,
                "label": variant.label,
                "speaker_id": variant.speaker_id,
                "speed": variant.speed,
                "job_id": variant.job_id,
                "share": round(outcome.shares[variant.position], 4),
            }
            for variant in standing.variants
        ],
        "pairs": [
            {
                "first": one.first,
                "second": one.second,
                "votes": one.preference.votes,
                "rate": round(one.preference.rate, 4),
                "low": round(one.preference.low, 4),
                "high": round(one.preference.high, 4),
                "verdict": str(one.verdict),
            }
            for one in outcome.pairs
        ],
        "leader": outcome.leader,
        "is_decided": outcome.is_decided,
        "winner": comparison.winner_position,
        "created_at": comparison.created_at,
        "closed_at": comparison.closed_at,
    }
