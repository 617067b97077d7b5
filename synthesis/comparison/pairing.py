"""Which pairs a listener hears, in which order, and which of a pair comes first."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

# About a quarter of an hour of listening; nobody's ear is fresh for longer.
MOST_PAIRS = 40


@dataclass(frozen=True)
class Pair:
    """A line by two variants, in the order in which they are heard. Variants are positions."""

    line: int
    first: int
    second: int


def pairs_of(listener: int, lines: int, variants: int, seed: str) -> Sequence[Pair]:
    """The pairs that the listener with this number hears, at most MOST_PAIRS.

    Each pair of variants comes as often in one order as in the other, over the listeners and over the
    lines of one: who is heard first changes with the listener and with the pair. Where there are more
    pairs than one listener hears, the next one goes on where this one stops. The order is random, of its
    own for each listener.
    """
    everything = [
        (line, *pair) for line in range(lines) for pair in combinations(range(variants), 2)
    ]
    # The same shuffle for all, or listeners would not go on where others stopped.
    random.Random(seed).shuffle(everything)
    start = listener * MOST_PAIRS % len(everything) if len(everything) > MOST_PAIRS else 0
    turned = everything[start:] + everything[:start]
    per_pair = {pair: index for index, pair in enumerate(combinations(range(variants), 2))}
    heard = []
    for line, one, other in turned[:MOST_PAIRS]:
        # Each line's turn, so that within a listener orders balance for each pair of variants.
        swapped = (listener + line + per_pair[one, other]) % 2
        heard.append(Pair(line, other, one) if swapped else Pair(line, one, other))
    random.Random(f"{seed}:{listener}").shuffle(heard)
    return heard
