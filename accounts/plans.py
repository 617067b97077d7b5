"""What each plan allows at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.db import models


class Plan(models.TextChoices):
    TRIAL = "trial"
    STANDARD = "standard"
    BUSINESS = "business"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True)
class Allowance:
    """requests: in window_s seconds, all of them at once if need be; jobs: unfinished at a time, and
    lines: of them that are yet to be spoken, so that nobody fills everybody's queue; in_hand: jobs
    that workers have at a time; weight: the share of the workers where several tenants wait.
    """

    requests: int
    window_s: int
    jobs: int
    lines: int
    in_hand: int
    weight: int


ALLOWANCES: dict[str, Allowance] = {
    Plan.TRIAL: Allowance(requests=600, window_s=60, jobs=20, lines=1_000, in_hand=3, weight=1),
    Plan.STANDARD: Allowance(requests=600, window_s=60, jobs=100, lines=4_000, in_hand=3, weight=1),
    Plan.BUSINESS: Allowance(
        requests=6_000, window_s=60, jobs=1_000, lines=20_000, in_hand=12, weight=2
    ),
    Plan.ENTERPRISE: Allowance(
        requests=60_000, window_s=60, jobs=10_000, lines=50_000, in_hand=48, weight=4
    ),
}


def allowance_of(plan: str, own_limits: Mapping[str, int] | None = None) -> Allowance:
    """What a tenant may have at a time. own_limits: what is not as its plan has it, by Allowance's names."""
    allowance = ALLOWANCES[plan]
    return replace(allowance, **own_limits) if own_limits else allowance
