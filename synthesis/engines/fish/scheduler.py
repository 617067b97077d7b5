"""Continuous batching: one thread that keeps the decoder's rows full.

Each round admits what waits, advances all rows a few frames, looks who has come to an end, and hands
finished codes to the vocoder. On a GPU the look is at the round before, so the GPU never waits for the
host; a row that has ended meanwhile stands still.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog
import torch

from speakers.decoding import Waveform
from synthesis.engines.fish import metrics
from synthesis.engines.fish.requests import Cause, PieceRequest, PieceResult, RequestQueue
from synthesis.engines.fish.slots import (
    ENDED,
    NOT_FINITE,
    OVER_BUDGET,
    RUNNING,
    Admission,
    DoesNotFit,
    Report,
    SlotDecoder,
)
from synthesis.engines.fish.vocoder import PendingAudio, Vocoder, cut

log = structlog.get_logger(__name__)

FRAMES_A_ROUND = 2
# A finished piece waits so many rounds for company in the vocoder; about 30 ms on an H100.
_VOCODER_PATIENCE = 8
_IDLE_WAIT_S = 0.2
_GROUPS_AHEAD = 2
_LOOP_FRAMES = 32  # 1.5 s that only repeat themselves
_LONGEST_LOOP = 8
# A voice that nobody has used for so long leaves the device, be it only because its speaker was
# deleted meanwhile.
_VOICE_IDLE_S = 900.0
_VOICES_EVERY_S = 10.0


@dataclass
class _Row:
    request: PieceRequest
    admitted_in: int  # the round


@dataclass
class _Finished:
    """A piece on its way through the vocoder."""

    request: PieceRequest
    codes: torch.Tensor  # [codebooks, frames]
    first_codes: torch.Tensor  # of the first codebook, in host memory once the sound is there
    chunks: list[tuple[torch.Tensor, int]]  # codes, and the frames of context they begin with
    since: int  # the round
    parts: dict[int, Waveform] = field(default_factory=dict)


class Scheduler:
    """Owns decoder and vocoder; everything of it runs in one thread."""

    def __init__(self, decoder: SlotDecoder, vocoder: Vocoder, queue: RequestQueue) -> None:
        self._decoder, self._vocoder, self._queue = decoder, vocoder, queue
        firefly = decoder.architecture.firefly
        self._context, self._samples_per_frame = firefly.context_frames, firefly.samples_per_frame
        self._sample_rate = firefly.sample_rate
        self._lag = 1 if decoder.weights.device.type == "cuda" else 0
        self._rows: dict[int, _Row] = {}
        self._free = sorted(range(decoder.sizes.rows), reverse=True)
        self._round = 0
        self._reports: deque[tuple[int, Report]] = deque()
        self._finished: deque[tuple[_Finished, int]] = deque()  # chunks that wait: piece, number
        self._speaking: deque[tuple[PendingAudio, list[tuple[_Finished, int, int]]]] = deque()
        self._dropped: set[str] = set()
        self._lock = threading.Lock()
        self._round_began = 0.0  # time.monotonic(); 0: at rest
        self._looked_at_voices = time.monotonic()

    @property
    def rows_in_use(self) -> int:
        return len(self._rows)

    def drop(self, job: str) -> None:
        """Speak no more for a job; answers may still come. From any thread."""
        self._queue.remove(job)
        with self._lock:
            self._dropped.add(job)

    def run(self, stopping: threading.Event) -> None:
        """Work until told to stop."""
        while not stopping.is_set():
            self._round_began = time.monotonic()
            if not self.work():
                self._round_began = 0.0
                self._queue.wait(_IDLE_WAIT_S)
            if time.monotonic() - self._looked_at_voices > _VOICES_EVERY_S:
                self._looked_at_voices = time.monotonic()
                self._decoder.voices.forget_idle(_VOICE_IDLE_S)

    def stuck_s(self) -> float:
        """For how long the round in work has been going on. From any thread."""
        began = self._round_began
        return time.monotonic() - began if began else 0.0

    def work(self) -> bool:
        """One round. Returns whether there was anything to do."""
        started = time.perf_counter()
        self._let_go()
        self._admit()
        busy = bool(self._rows or self._finished or self._speaking)
        if self._rows:
            self._advance()
        self._look()
        self._speak()
        self._collect(wait=not self._rows and not self._finished)
        if busy:
            metrics.BUSY_SECONDS.inc(time.perf_counter() - started)
        metrics.LINES_WAITING.set(len(self._queue))
        metrics.ROWS_IN_USE.set(len(self._rows))
        metrics.VOICES_KEPT.set(len(self._decoder.voices))
        return busy

    # ------------------------------------------------------------------ rows

    def _let_go(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, set()
        if dropped:
            slots = [slot for slot, row in self._rows.items() if row.request.job in dropped]
            self._decoder.end(slots)
            for slot in slots:
                self._release(slot)

    def _release(self, slot: int) -> _Row:
        self._free.append(slot)
        # The lowest slots first: a step of few rows is cheaper.
        self._free.sort(reverse=True)
        return self._rows.pop(slot)

    def _admit(self) -> None:
        admissions: list[Admission] = []
        while self._free and (request := self._queue.take()):
            slot = self._free[-1]
            admission = Admission(
                slot=slot,
                voice=request.voice,
                prompt=request.prompt,
                seed=request.seed,
                most_frames=request.most_frames,
                fewest_frames=request.fewest_frames,
                sampling=request.sampling,
            )
            try:
                if request.voice not in self._decoder.voices:
                    # It may push another out, but not one that is still to be read.
                    self._decoder.admit(admissions)
                    admissions = []
                self._decoder.keep_voice(request.voice, request.voice_prompt)
                self._decoder.check(admission)
            except DoesNotFit as exc:
                log.warning("piece.does_not_fit", job_id=request.job, reason=str(exc))
                request.answer(PieceResult(None, Cause.TOO_LONG))
                continue
            admissions.append(admission)
            self._free.pop()
            self._rows[slot] = _Row(request, self._round)
        if admissions:
            self._decoder.admit(admissions)

    def _advance(self) -> None:
        rows = self._decoder.bucket(max(self._rows))
        for _ in range(FRAMES_A_ROUND):
            self._decoder.step(rows)
        self._reports.append((self._round, self._decoder.report()))
        self._round += 1
        metrics.STEPS.inc(FRAMES_A_ROUND)
        if len({row.request.job for row in self._rows.values()}) > 1:
            metrics.SHARED_STEPS.inc(FRAMES_A_ROUND)

    def _look(self) -> None:
        while len(self._reports) > (self._lag if self._rows else 0):
            number, report = self._reports.popleft()
            done, count = report.read()
            for slot in [slot for slot, row in self._rows.items() if row.admitted_in <= number]:
                if done[slot] != RUNNING:
                    self._end(slot, done[slot], count[slot])

    def _end(self, slot: int, outcome: int, count: int) -> None:
        codes = self._decoder.codes(slot)
        request = self._release(slot).request
        frames = count - 1 if outcome == ENDED else count  # the last one held the end token
        cause = {OVER_BUDGET: Cause.NO_END, NOT_FINITE: Cause.NOT_FINITE}.get(outcome)
        if cause is None and frames == 0:
            cause = Cause.SILENCE
        if cause is not None:
            request.answer(PieceResult(None, cause))
            return
        codes = codes[:, :frames]
        chunks = cut(codes, self._context)
        piece = _Finished(request, codes, _copy_to_host(codes[0]), chunks, self._round)
        self._finished.extend((piece, number) for number in range(len(chunks)))
        metrics.TOKENS.inc(frames)

    # ------------------------------------------------------------------ sound

    def _speak(self) -> None:
        group = self._vocoder.group
        while self._finished:
            # Not more than the vocoder has room for: it would make the decoder wait.
            if self._rows and len(self._speaking) >= _GROUPS_AHEAD:
                return
            oldest = self._finished[0][0]
            patient = self._rows and self._round - oldest.since < _VOCODER_PATIENCE
            if len(self._finished) < group and patient:
                return
            # Chunks of like length together: a group is as wide as its longest.
            ahead = sorted(
                [self._finished.popleft() for _ in range(min(group, len(self._finished)))],
                key=lambda item: item[0].chunks[item[1]][0].shape[1],
            )
            taken = [(piece, number, *piece.chunks[number]) for piece, number in ahead]
            pending = self._vocoder.start([codes for _, _, codes, _ in taken])
            self._speaking.append((pending, [(p, number, past) for p, number, _, past in taken]))

    def _collect(self, *, wait: bool) -> None:
        while self._speaking and (wait or self._speaking[0][0].ready()):
            pending, chunks = self._speaking.popleft()
            for waveform, (piece, number, past) in zip(pending.read(), chunks, strict=True):
                piece.parts[number] = waveform[past * self._samples_per_frame :]
                if len(piece.parts) == len(piece.chunks):
                    self._answer(piece)

    def _answer(self, piece: _Finished) -> None:
        waveform = np.concatenate([piece.parts[number] for number in range(len(piece.chunks))])
        metrics.AUDIO_SECONDS.inc(len(waveform) / self._sample_rate)
        piece.request.answer(PieceResult(waveform, _flaw(piece, waveform)))


def _flaw(piece: _Finished, waveform: Waveform) -> Cause | None:
    if not np.isfinite(waveform).all():
        return Cause.NOT_FINITE
    return Cause.LOOP if repeats_itself(piece.first_codes.tolist()) else None


def _copy_to_host(values: torch.Tensor) -> torch.Tensor:
    """Without waiting for the GPU: the vocoder, which starts after the copy, tells when it is there."""
    if values.device.type == "cpu":
        return values
    pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return pinned.copy_(values, non_blocking=True)


def repeats_itself(codes: Sequence[int]) -> bool:
    """Whether codes end in a second and a half of one short pattern, as a model does that is stuck."""
    tail = codes[-_LOOP_FRAMES:]
    return len(tail) == _LOOP_FRAMES and any(
        all(a == b for a, b in zip(tail, tail[period:], strict=False))
        for period in range(1, _LONGEST_LOOP + 1)
    )
