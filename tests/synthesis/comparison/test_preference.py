"""The interval holds what is true, however often one looks, and orders are balanced."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from synthesis.comparison.pairing import MOST_PAIRS, Pair, pairs_of
from synthesis.comparison.preference import Verdict, preference, verdict

RUNS, MOST_VOTES = 1_000, 400


@pytest.mark.parametrize("truth", [0.5, 0.6, 0.75])
def test_the_interval_holds_the_truth_when_listening_stops_by_the_rule(truth: float) -> None:
    """Simulated listeners, asked in tens until the verdict is there: the worst way of looking."""
    chance = np.random.default_rng(round(truth * 100))
    held = right = 0
    for _ in range(RUNS):
        votes = np.cumsum(chance.random(MOST_VOTES) < truth)
        for asked in range(10, MOST_VOTES + 1, 10):
            found = preference(float(votes[asked - 1]), asked)
            said = verdict(found)
            if said != Verdict.UNDECIDED:
                break
        held += found.low <= truth <= found.high
        right += said == (Verdict.FIRST if truth > 0.5 else Verdict.NO_DIFFERENCE)
    assert held >= 0.93 * RUNS
    if truth == 0.75:
        assert right >= 0.95 * RUNS


def test_ties_count_half_and_stay_valid() -> None:
    chance = np.random.default_rng(7)
    held = 0
    for _ in range(300):
        votes = chance.choice([0.0, 0.5, 1.0], size=200, p=[0.2, 0.4, 0.4])  # mean 0.6
        found = preference(float(votes.sum()), 200)
        held += found.low <= 0.6 <= found.high
    assert held >= 285


def test_verdicts_are_plain() -> None:
    assert verdict(preference(0, 0)) == Verdict.UNDECIDED
    assert verdict(preference(3, 3)) == Verdict.UNDECIDED
    assert verdict(preference(18, 20)) == Verdict.FIRST
    assert verdict(preference(2, 20)) == Verdict.SECOND
    assert verdict(preference(1_000, 2_000)) == Verdict.NO_DIFFERENCE
    found = preference(18, 20)
    assert (found.rate, found.votes) == (0.9, 20)
    assert 0.5 < found.low < 0.9 < found.high < 1
    # The same seen from the other side.
    other = preference(2, 20)
    assert other.low == pytest.approx(1 - found.high)
    assert other.high == pytest.approx(1 - found.low)


@pytest.mark.parametrize(("lines", "variants"), [(1, 2), (5, 2), (3, 3), (4, 4), (20, 4)])
def test_orders_and_pairs_are_balanced(lines: int, variants: int) -> None:
    orders: Counter[tuple[int, int, int]] = Counter()
    heard: Counter[tuple[int, int, int]] = Counter()
    listeners = 24
    for listener in range(listeners):
        pairs = pairs_of(listener, lines, variants, "cmp_1")
        assert len({(pair.line, *sorted((pair.first, pair.second))) for pair in pairs}) == len(
            pairs
        )
        assert len(pairs) == min(MOST_PAIRS, lines * variants * (variants - 1) // 2)
        firsts = Counter(pair.first < pair.second for pair in pairs)
        assert abs(firsts[True] - firsts[False]) <= max(2, 0.4 * len(pairs))
        for pair in pairs:
            orders[pair.line, pair.first, pair.second] += 1
            heard[pair.line, min(pair.first, pair.second), max(pair.first, pair.second)] += 1
    for line in range(lines):
        for one, other in combinations(range(variants), 2):
            together = heard[line, one, other]
            assert together > 0
            assert abs(orders[line, one, other] - orders[line, other, one]) <= max(
                2, 0.5 * together
            )
    assert max(heard.values()) - min(heard.values()) <= max(1, listeners // 6)


def test_listeners_hear_pairs_in_orders_of_their_own_that_never_change() -> None:
    first, second = pairs_of(0, 6, 3, "cmp_1"), pairs_of(1, 6, 3, "cmp_1")
    assert first == pairs_of(0, 6, 3, "cmp_1")
    assert [pair.line for pair in first] != [pair.line for pair in second]
    assert isinstance(first[0], Pair)
