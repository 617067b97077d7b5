"""The pieces of lines that wait for a row: whose turn is it?"""

import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum

from speakers.decoding import Waveform
from synthesis.engines.fish.slots import Sampling
from synthesis.engines.fish.tokens import Prompt


class Cause(Enum):
    """Why a piece was not spoken as it should be; the value is its name in metrics and messages."""

    NO_END = "no_end_token"
    NOT_FINITE = "not_finite"
    SILENCE = "silence"
    LOOP = "loop"
    TOO_LONG = "too_long"
    NOT_ALIGNED = "not_aligned"


@dataclass(frozen=True)
class PieceResult:
    """What became of a piece. waveform: at the codec's rate, untrimmed."""

    waveform: Waveform | None
    cause: Cause | None = None


@dataclass(frozen=True)
class PieceRequest:
    """A piece of a line, to be spoken in one row."""

    tenant: str
    job: str
    voice: Hashable
    voice_prompt: Prompt
    prompt: Prompt  # the line's own
    seed: int
    most_frames: int
    fewest_frames: int
    first: bool  # of its job: it goes before others' later ones
    answer: Callable[[PieceResult], None]  # called by the engine's thread; returns at once
    sampling: Sampling = field(default_factory=Sampling)


class QueueClosed(Exception):
    """The engine has ended."""


class RequestQueue:
    """Bounded for each tenant, so that none keeps another out. Tenants take turns; within one, a job's
    first line goes first, then first come first served. Jobs hand their long lines in first.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity  # of each tenant
        self._changed = threading.Condition()
        self._tenants: OrderedDict[str, deque[PieceRequest]] = OrderedDict()
        self._size = 0
        self._closed = False

    def __len__(self) -> int:
        return self._size

    def put(self, request: PieceRequest, timeout_s: float) -> bool:
        """Wait for room at most so long. Returns whether the request was taken. Raises QueueClosed."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._closed or len(self._tenants.get(request.tenant, ())) < self._capacity,
                timeout_s,
            ):
                return False
            if self._closed:
                raise QueueClosed
            waiting = self._tenants.setdefault(request.tenant, deque())
            if request.first:
                # Before all but other first ones.
                ahead = sum(1 for _ in itertools.takewhile(lambda other: other.first, waiting))
                waiting.insert(ahead, request)
            else:
                waiting.append(request)
            self._size += 1
            self._changed.notify_all()
            return True

    def take(self) -> PieceRequest | None:
        """The next piece, or None if none waits."""
        with self._changed:
            while self._tenants:
                tenant, waiting = next(iter(self._tenants.items()))
                if not waiting:
                    del self._tenants[tenant]
                    continue
                self._tenants.move_to_end(tenant)
                self._size -= 1
                self._changed.notify_all()
                return waiting.popleft()
            return None

    def remove(self, job: str) -> int:
        """Forget what a job has waiting. Returns how many pieces that were."""
        with self._changed:
            before = self._size
            for tenant, waiting in self._tenants.items():
                kept = deque(request for request in waiting if request.job != job)
                self._size -= len(waiting) - len(kept)
                self._tenants[tenant] = kept
            self._changed.notify_all()
            return before - self._size

    def wait(self, timeout_s: float) -> None:
        """Until something waits, or the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._size > 0, timeout_s)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
