"""Whose turn it is: tenants get of the workers what their plans' weights say, however much each asks.

Start-time fair queueing (Goyal, Vin and Cheng 1996, SIGCOMM): each piece of work gets a start tag, the
later of the clock and the end of the tenant's piece before it, which is ``cost / weight`` behind its
own start tag; the smallest start tag is next, and sets the clock. Whoever has asked for nothing for a
while begins at the clock: it has saved nothing up, and owes nothing.
"""

from collections.abc import Mapping


class Turns:
    """The turns of tenants at one kind of worker. In memory: after a restart all begin even."""

    def __init__(self) -> None:
        self._clock = 0.0
        self._ends: dict[str, float] = {}

    def next(self, weights: Mapping[str, int]) -> str:
        """Of the tenants that have something to do, by their weights, the one whose turn it is.

        Raises ValueError if there is none.
        """
        return min(weights, key=lambda tenant_id: (self._start(tenant_id), tenant_id))

    def take(self, tenant_id: str, cost: float, weight: int) -> None:
        """Note that a tenant has had a turn. cost: in any unit, the same for all."""
        start = self._start(tenant_id)
        self._clock = start
        self._ends[tenant_id] = start + cost / weight

    def forget_idle(self, waiting: Mapping[str, int]) -> None:
        """Forget tenants that have nothing to do and whose last piece is behind the clock."""
        self._ends = {
            tenant_id: end
            for tenant_id, end in self._ends.items()
            if tenant_id in waiting or end > self._clock
        }

    def _start(self, tenant_id: str) -> float:
        return max(self._clock, self._ends.get(tenant_id, 0.0))
