"""Who burnt how much of the processor, and whether somebody else did."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import psutil

_MOST_FOREIGN_CORES = 0.1


def _busy_s() -> float:
    """Seconds that all cores together were busy since the machine started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _tree_s(pid: int) -> float:
    """Seconds of a process, its children, and those of them that have ended."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for process in tree:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass(frozen=True)
class Burnt:
    """Cores on average, by who."""

    cores: Mapping[str, float]
    foreign: float
    idle: float
    elapsed_s: float

    @property
    def can_be_judged(self) -> bool:
        """Whether nobody else took more than a tenth of a core."""
        return self.foreign <= _MOST_FOREIGN_CORES

    def __str__(self) -> str:
        parts = [f"{name} {cores:.2f}" for name, cores in self.cores.items()]
        return f"cores: {', '.join(parts)}, others {self.foreign:.2f}, idle {self.idle:.2f}"


class Watch:
    """Watches process trees while the block runs; ``burnt`` says what they took.

    pids: by name, the roots of the trees; what this process and its other children burn counts as
    ``load``.
    """

    burnt: Burnt

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)

    def _now(self) -> tuple[float, float, dict[str, float]]:
        trees = {name: _tree_s(pid) for name, pid in self._pids.items()}
        # The servers of a benchmark are this process's children too.
        children = {child.pid for child in psutil.Process().children(recursive=True)}
        below = sum(trees[name] for name, pid in self._pids.items() if pid in children)
        trees["load"] = _tree_s(os.getpid()) - below
        return time.monotonic(), _busy_s(), trees

    def __enter__(self) -> Self:
        self._before = self._now()
        return self

    def __exit__(self, *exc_info: object) -> None:
        at, busy, trees = self._now()
        before_at, before_busy, before = self._before
        elapsed = at - before_at
        cores = {name: (trees[name] - before.get(name, 0.0)) / elapsed for name in trees}
        in_all = (busy - before_busy) / elapsed
        self.burnt = Burnt(
            cores,
            foreign=max(0.0, in_all - sum(cores.values())),
            idle=(psutil.cpu_count() or 1) - in_all,
            elapsed_s=elapsed,
        )
