"""What each plan allows at a time."""

from dataclasses import dataclass

from django.db import models


class Plan(models.TextChoices):
    STANDARD = "standard"
    BUSINESS = "business"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True)
class Allowance:
    """requests: in window_s seconds, all of them at once if need be; jobs: unfinished, at a time."""

    requests: int
    window_s: int
    jobs: int


ALLOWANCES = {
    Plan.STANDARD: Allowance(requests=600, window_s=60, jobs=100),
    Plan.BUSINESS: Allowance(requests=6_000, window_s=60, jobs=1_000),
    Plan.ENTERPRISE: Allowance(requests=60_000, window_s=60, jobs=10_000),
}


def allowance_of(plan: str) -> Allowance:
    """What a tenant's plan allows."""
    return ALLOWANCES[Plan(plan)]
