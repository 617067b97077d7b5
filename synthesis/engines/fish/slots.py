"""The state that all decoders share: rows of one batch, and the voices whose prefixes are kept.

A row (slot) is a line in work. A decoder advances all rows by one frame of audio at a time; rows are
filled and emptied while the others go on.
"""

import hashlib
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch

from synthesis.engines.fish.architecture import SEMANTIC_TOKENS, VALID_CODES
from synthesis.engines.fish.sampling import PENALTY_WINDOW
from synthesis.engines.fish.tokens import Prompt
from synthesis.engines.fish.weights import DecoderWeights

# Why a row has come to its end.
RUNNING, ENDED, OVER_BUDGET, NOT_FINITE = range(4)


class DoesNotFit(Exception):
    """A prompt and its frames are longer than a row."""


@dataclass(frozen=True)
class Sizes:
    """How much a decoder holds. Everything is allocated once, so memory does not grow."""

    rows: int = 64  # lines at the same time
    positions: int = 2304  # of a row: the voice's prefix, the text and the frames
    frames: int = 768  # of a row's audio at most
    voices: int = 48  # prefixes kept
    voice_positions: int = 1280  # of a prefix at most


@dataclass(frozen=True)
class Sampling:
    """How a row is drawn. The defaults are those of the library's own server."""

    temperature: float = 0.7
    top_p: float = 0.7
    repetition_penalty: float = 1.2


@dataclass(frozen=True)
class Admission:
    """A line that enters a row."""

    slot: int
    voice: Hashable | None  # a kept prefix that the prompt goes on from
    prompt: Prompt
    seed: int
    most_frames: int
    fewest_frames: int = 0  # before them the end token is not drawn
    sampling: Sampling = Sampling()


class Report:
    """How far every row was when it was asked for; on a GPU the answer comes a little later."""

    def __init__(self, device_values: torch.Tensor, pinned: torch.Tensor | None) -> None:
        self._values = device_values
        self._event: torch.cuda.Event | None = None
        if pinned is not None:
            pinned.copy_(device_values, non_blocking=True)
            self._values = pinned
            self._event = torch.cuda.Event()
            self._event.record()

    def read(self) -> tuple[list[int], list[int]]:
        """For every row why it ended (RUNNING: not yet) and how many frames it has."""
        if self._event is not None:
            self._event.synchronize()
        done, frames = self._values.tolist()
        return done, frames


class SlotDecoder(ABC):
    """What a scheduler works with. Used by one thread."""

    def __init__(self, weights: DecoderWeights, sizes: Sizes) -> None:
        a, device, dtype = weights.architecture, weights.device, weights.dtype
        self.weights, self.sizes = weights, sizes
        self.architecture = a
        # One row more than lines: a scratch row for voices and for the padding of a group.
        rows = sizes.rows + 1
        self.scratch = sizes.rows
        width = 1 + a.codebooks

        def zeros(*shape: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
            return torch.zeros(shape, device=device, dtype=dtype)

        # [layer, key or value, row, head, position, head_dim]
        slow, fast = a.slow, a.fast
        self.cache = zeros(
            *(slow.layers, 2, rows, slow.kv_heads, sizes.positions, slow.head_dim), dtype=dtype
        )
        self.fast_cache = zeros(
            *(fast.layers, 2, rows, fast.kv_heads, a.codebooks, fast.head_dim), dtype=dtype
        )
        self.prefixes = zeros(
            *(sizes.voices, slow.layers, 2, slow.kv_heads, sizes.voice_positions, slow.head_dim),
            dtype=dtype,
        )
        self.token = zeros(rows, width)  # what the next step reads
        self.recent = zeros(rows, width, PENALTY_WINDOW)
        self.frames = zeros(rows, width, sizes.frames)
        self.position, self.count, self.seed, self.done = (zeros(rows) for _ in range(4))
        self.most, self.fewest = zeros(rows), zeros(rows)
        floats = torch.float32
        self.temperature, self.top_p, self.penalty = (zeros(rows, dtype=floats) for _ in range(3))
        self.temperature.fill_(1), self.top_p.fill_(1), self.penalty.fill_(1)
        self.done.fill_(ENDED)
        self._pinned = (
            [torch.zeros(2, rows, dtype=torch.int32, pin_memory=True) for _ in range(2)]
            if device.type == "cuda"
            else [None, None]
        )
        self._turn = 0
        self.voices = VoiceShelf(sizes.voices)

    def keep_voice(self, key: Hashable, prompt: Prompt) -> None:
        """Have a voice's prefix, [1 + codebooks, positions], at hand. Raises DoesNotFit."""
        if key in self.voices:
            self.voices.touch(key)
            return
        if prompt.shape[1] > self.sizes.voice_positions:
            raise DoesNotFit(
                f"The voice takes {prompt.shape[1]:,} positions; {self.sizes.voice_positions:,} "
                "are kept."
            )
        index = self.voices.place(key, prompt.shape[1])
        self._compute_prefix(prompt, index)

    def check(self, admission: Admission) -> None:
        """Raise DoesNotFit unless a row can hold it. Its voice must be kept."""
        start = self.voices.length(admission.voice)
        text = admission.prompt.shape[1]
        if admission.most_frames > self.sizes.frames:
            raise DoesNotFit(
                f"{admission.most_frames:,} frames are asked for; a row holds {self.sizes.frames:,}."
            )
        if start + text + admission.most_frames > self.sizes.positions:
            raise DoesNotFit(
                f"The voice ({start:,} positions), the text ({text:,}) and "
                f"{admission.most_frames:,} frames do not fit {self.sizes.positions:,} positions."
            )

    def admit(self, admissions: Sequence[Admission]) -> None:
        """Put lines into free rows. Their voices must be kept. Raises DoesNotFit, and then does
        nothing.
        """
        for admission in admissions:
            self.check(admission)
        self._prefill(admissions)

    @abstractmethod
    def _compute_prefix(self, prompt: Prompt, index: int) -> None:
        """Compute a prefix's keys and values and keep them as ``prefixes[index]``."""

    @abstractmethod
    def _prefill(self, admissions: Sequence[Admission]) -> None:
        """Run all but the last token of each prompt; the next step reads the last."""

    @abstractmethod
    def step(self, rows: int) -> None:
        """Advance the first ``rows`` rows (one of ``buckets``) by one frame."""

    @property
    @abstractmethod
    def buckets(self) -> Sequence[int]:
        """The numbers of rows that ``step`` can be called with, ascending."""

    def bucket(self, highest_slot: int) -> int:
        """The smallest bucket that holds a slot."""
        return next(rows for rows in self.buckets if rows > highest_slot)

    def report(self) -> Report:
        """Ask how far all rows are. At most two may be unread."""
        self._turn ^= 1
        return Report(torch.stack([self.done, self.count]), self._pinned[self._turn])

    def codes(self, slot: int) -> torch.Tensor:
        """A copy of a row's audio codes so far, [codebooks, frames], on the device."""
        return self.frames[slot, 1:].clone()

    def end(self, slots: Sequence[int]) -> None:
        """Let rows go that are not to be finished."""
        if slots:
            index = torch.tensor(slots, device=self.weights.device)
            self.done.index_fill_(0, index, ENDED)


@dataclass
class _Place:
    index: int
    length: int  # positions
    used_at: float  # time.monotonic()


class VoiceShelf:
    """Which voice's prefix lies where; the least recently used one gives way."""

    def __init__(self, places: int) -> None:
        self._free = list(range(places))
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def touch(self, key: Hashable) -> None:
        self._places[key].used_at = time.monotonic()
        self._places.move_to_end(key)

    def place(self, key: Hashable, length: int) -> int:
        """A place for a new voice."""
        index = self._free.pop() if self._free else self._places.popitem(last=False)[1].index
        self._places[key] = _Place(index, length, time.monotonic())
        return index

    def forget_idle(self, after_s: float) -> None:
        """Let go of voices that were not used for so long."""
        now = time.monotonic()
        for key in [k for k, place in self._places.items() if now - place.used_at >= after_s]:
            self._free.append(self._places.pop(key).index)

    def index(self, key: Hashable | None) -> int:
        return 0 if key is None else self._places[key].index

    def length(self, key: Hashable | None) -> int:
        """Positions of a prefix; 0 for no voice."""
        return 0 if key is None else self._places[key].length


def forbidden_codes(device: torch.device) -> torch.Tensor:
    """Which of the 1,024 codes (and the end token behind them) no codec knows; bool [1025].

    Decoding one of them is an assertion on a GPU that ends the process.
    """
    codes = torch.arange(SEMANTIC_TOKENS + 1, device=device)
    return (codes >= VALID_CODES) & (codes < SEMANTIC_TOKENS)


def row_seed(*parts: object) -> int:
    """A seed of a row from anything that tells it apart: int32, never negative."""
    text = "/".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") >> 1
