"""How often one voice is preferred to another, how sure that is, and when to stop asking.

People look at results as votes come in, and stop when they like what they see. An interval that is right
95 times in 100 for a number of votes that was fixed before is wrong far more often then. This one holds
however often one looks: a confidence sequence.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

# An interval is wrong in one of twenty comparisons, whenever it is read.
ALPHA = 0.05
# Within this of a half nobody would choose a voice for it.
INDIFFERENT = 0.1
_STEPS = 50  # of the search for the interval's ends: to 2^-50


@dataclass(frozen=True)
class Preference:
    """How often the first of two was preferred: rate, with an interval that holds it.

    votes: how many there were; a "no difference" is half a vote for each.
    """

    rate: float
    low: float
    high: float
    votes: int


class Verdict(StrEnum):
    """What can be said by now."""

    FIRST = "first"
    SECOND = "second"
    NO_DIFFERENCE = "no_difference"  # none that matters
    UNDECIDED = "undecided"  # more votes are needed


def preference(first: float, votes: int, alpha: float = ALPHA) -> Preference:
    """The share of ``votes`` that preferred the first; ``first``: how many did, with halves.

    The interval holds every p for which the evidence against it, the ratio of the likelihood under a
    uniform mixture of all p to that under p, has stayed below 1 / alpha (Robbins 1970, Ann. Math.
    Statist. 41(5); Ville's inequality makes it hold at every number of votes at once). Halves keep it
    valid: the ratio is convex in the vote.
    """
    if votes == 0:
        return Preference(0.5, 0.0, 1.0, 0)
    rate = first / votes
    # log of the integral of q^s (1-q)^(n-s) over q
    mixture = math.lgamma(first + 1) + math.lgamma(votes - first + 1) - math.lgamma(votes + 2)
    limit = math.log(1 / alpha)

    def is_held(p: float) -> bool:
        under = _log(p, first) + _log(1 - p, votes - first)
        return mixture - under < limit

    low = 0.0 if is_held(0.0) else _edge(is_held, 0.0, rate)
    high = 1.0 if is_held(1.0) else _edge(is_held, 1.0, rate)
    return Preference(rate, low, high, votes)


def _log(p: float, times: float) -> float:
    """log(p^times), where nothing to the power of nothing is one."""
    if times == 0:
        return 0.0
    return times * math.log(p) if p > 0 else -math.inf


def _edge(is_held: Callable[[float], bool], outside: float, inside: float) -> float:
    """Where the interval ends between a point outside and the rate, which is always in it."""
    for _ in range(_STEPS):
        middle = (outside + inside) / 2
        if is_held(middle):
            inside = middle
        else:
            outside = middle
    return inside


def verdict(found: Preference) -> Verdict:
    """Whether one of two is preferred, neither is, or more votes are needed."""
    if found.low > 0.5:
        return Verdict.FIRST
    if found.high < 0.5:
        return Verdict.SECOND
    if found.low >= 0.5 - INDIFFERENT and found.high <= 0.5 + INDIFFERENT:
        return Verdict.NO_DIFFERENCE
    return Verdict.UNDECIDED
