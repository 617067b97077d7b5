"""What audio costs: numbers in, minor units out, no database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.money import ceiling, half_up

MS_PER_MINUTE = 60_000


@dataclass(frozen=True)
class Tier:
    """Minutes up to a place, beyond those that are included, at one price each.

    up_to_ms: None is without end; per_minute: minor units of the tariff's currency.
    """

    up_to_ms: int | None
    per_minute: Decimal


@dataclass(frozen=True)
class Tariff:
    """What a plan asks for in a currency.

    base_fee_minor: of a whole month; included_ms: of audio in a whole month; tiers: graduated, in order,
    of what is beyond; none: nothing beyond may be used. tax_included: whether amounts have VAT in them.
    """

    currency: str
    base_fee_minor: int
    included_ms: int
    tiers: tuple[Tier, ...]
    tax_included: bool = False

    @property
    def dearest_per_minute(self) -> Decimal:
        return max((tier.per_minute for tier in self.tiers), default=Decimal(0))


@dataclass(frozen=True)
class Step:
    """The part of some audio that fell into a tier. per_minute: None: included."""

    audio_ms: int
    per_minute: Decimal | None

    @property
    def amount(self) -> Decimal:
        """Minor units, not rounded."""
        return (self.per_minute or Decimal(0)) * self.audio_ms / MS_PER_MINUTE

    def as_json(self) -> dict[str, Any]:
        price = None if self.per_minute is None else str(self.per_minute)
        return {"audio_ms": self.audio_ms, "per_minute": price}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Step":
        price = value["per_minute"]
        return cls(value["audio_ms"], None if price is None else Decimal(price))


def prorated(whole: int, share: Fraction) -> int:
    """A month's fee or allowance for a part of the month, rounded half up."""
    part = whole * share
    return half_up(Decimal(part.numerator) / part.denominator)


def steps_of(
    audio_ms: int, tariff: Tariff, included_ms: int | None = None, after_ms: int = 0
) -> list[Step]:
    """Where audio falls: first what is included, then tier by tier.

    included_ms: of this part of a month, if it is not a whole one. after_ms: what was used before it in
    the same part, so that the audio goes on from there.

    Nothing has a price that is beyond the last tier; callers do not let it come to that.
    """
    if audio_ms < 0:  # taken back: at what it had cost
        taken = steps_of(-audio_ms, tariff, included_ms, after_ms + audio_ms)
        return [Step(-step.audio_ms, step.per_minute) for step in taken]
    included = tariff.included_ms if included_ms is None else included_ms
    edges: list[tuple[int | None, Decimal | None]] = [(included, None)]
    for tier in tariff.tiers:
        edges.append((None if tier.up_to_ms is None else included + tier.up_to_ms, tier.per_minute))
    steps = []
    at, end = after_ms, after_ms + audio_ms
    for edge, per_minute in edges:
        upto = end if edge is None else min(end, edge)
        if upto > at:
            steps.append(Step(upto - at, per_minute))
            at = upto
    if end > at:
        steps.append(Step(end - at, tariff.tiers[-1].per_minute if tariff.tiers else Decimal(0)))
    return steps


def amount_of(steps: Iterable[Step]) -> Decimal:
    """What audio costs, in minor units, not rounded: a line of an invoice is rounded once, as a whole."""
    return sum((step.amount for step in steps), Decimal(0))


def price_audio(
    audio_ms: int, tariff: Tariff, included_ms: int | None = None, after_ms: int = 0
) -> Decimal:
    """As steps_of, in minor units, not rounded. Prices of parts add up to the price of the whole."""
    return amount_of(steps_of(audio_ms, tariff, included_ms, after_ms))


def highest_price(audio_ms: int, tariff: Tariff) -> int:
    """What audio costs at most, whatever was used before it: all at the dearest tier, rounded up."""
    return ceiling(tariff.dearest_per_minute * audio_ms / MS_PER_MINUTE)
