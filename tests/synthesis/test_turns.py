"""Whose turn it is: shares by weight, whatever tenants ask for and however long they were away."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from synthesis.turns import Turns

WEIGHTS = {"standard": 1, "business": 2, "enterprise": 4}


def test_those_who_always_wait_get_their_weights_share() -> None:
    turns = Turns()
    lines: Counter[str] = Counter()
    # Jobs of different lengths: the shares are of lines, not of jobs.
    costs = {"standard": 3, "business": 50, "enterprise": 10}
    for _ in range(3_000):
        tenant = turns.next(WEIGHTS)
        turns.take(tenant, costs[tenant], WEIGHTS[tenant])
        lines[tenant] += costs[tenant]
    for tenant, weight in WEIGHTS.items():
        share = lines[tenant] / lines.total()
        assert abs(share - weight / 7) < 0.01 * weight / 7, (tenant, share)


def test_who_comes_last_is_next_and_owes_nothing_for_having_been_away() -> None:
    turns = Turns()
    for _ in range(1_000):
        turns.take("busy", 10, 1)
    assert turns.next({"busy": 1, "new": 1}) == "new"
    turns.take("new", 10, 1)
    # Nor has it saved anything up: from here on they alternate.
    taken = []
    for _ in range(10):
        tenant = turns.next({"busy": 1, "new": 1})
        turns.take(tenant, 10, 1)
        taken.append(tenant)
    assert taken == ["busy", "new"] * 5


@given(st.lists(st.tuples(st.sampled_from(sorted(WEIGHTS)), st.integers(1, 2_000)), max_size=200))
def test_nobody_who_waits_falls_further_behind_than_a_job_of_each(
    work: list[tuple[str, int]],
) -> None:
    """Goyal, Vin and Cheng 1996, theorem 1: of two that always wait, the service by weight differs by
    no more than one piece of each.
    """
    turns = Turns()
    queues = {tenant: [cost for name, cost in work if name == tenant] for tenant in WEIGHTS}
    served: dict[str, float] = dict.fromkeys(WEIGHTS, 0.0)
    longest = {tenant: max(costs, default=0) for tenant, costs in queues.items()}
    while all(queues.values()):
        tenant = turns.next(WEIGHTS)
        cost = queues[tenant].pop(0)
        turns.take(tenant, cost, WEIGHTS[tenant])
        served[tenant] += cost / WEIGHTS[tenant]
        for one in WEIGHTS:
            for other in WEIGHTS:
                most = longest[one] / WEIGHTS[one] + longest[other] / WEIGHTS[other]
                assert abs(served[one] - served[other]) <= most + 1e-9


def test_the_idle_are_forgotten() -> None:
    turns = Turns()
    for number in range(1_000):
        turns.take(f"tenant {number}", 1, 1)
    turns.take("tenant 0", 1, 1)
    turns.forget_idle({"tenant 0": 1})
    assert len(turns._ends) <= 2
