"""fish-speech 1.5 as a speech engine: all lines of all jobs of this process in one batch.

The web process asks it which lines it can speak, so nothing here imports torch before the first line
is spoken or the first voice made.
"""

import itertools
import queue
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import regex
from django.conf import settings

from speakers.decoding import Waveform
from synthesis.engines.base import (
    EngineError,
    FailedLine,
    LineToSpeak,
    PreparedVoice,
    SpokenLine,
    SpokenWord,
)
from synthesis.engines.fish.languages import LANGUAGES, base_language
from synthesis.engines.fish.line_text import SpokenText, spoken_text
from synthesis.engines.fish.speed import at_speed
from synthesis.engines.fish.word_times import AlignmentFailed
from synthesis.engines.trimming import faded, speech_edges

if TYPE_CHECKING:
    from collections.abc import Hashable

    from synthesis.engines.fish.aligners import Aligners
    from synthesis.engines.fish.requests import PieceResult
    from synthesis.engines.fish.runtime import Runtime
    from synthesis.engines.fish.voices import VoiceMaker

_TRIES = 3  # of a piece: the first and two with another seed
# Frames a piece may take: so many times as long as its syllables ask for, and some for silences.
_MOST_TIMES_EXPECTED = 2.5
_MOST_EXTRA_S = 2.0
# Nobody speaks twice as fast; an aligner needs 30 ms for each sound.
_LEAST_OF_EXPECTED = 0.5
_PAUSE_BETWEEN_PIECES_S = 0.25
# Lines of one job that are handed in ahead of their turn.
_LINES_AHEAD = 64
_PUT_WAIT_S = 0.2
_DRAIN_S = 10.0  # how long lines in hand may take once the process is to end

# The scripts of the languages it knows.
_FOREIGN = regex.compile(
    r"[^\P{L}\p{Latin}\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}\p{Arabic}\p{Cyrillic}\p{Common}"
    r"\p{Inherited}]"
)
_SPOKEN = regex.compile(r"[\p{L}\p{N}]")

_WHY = {
    "no_end_token": "the voice did not come to an end",
    "not_finite": "the model computed no sound",
    "silence": "nothing could be heard",
    "loop": "the voice got stuck repeating itself",
    "too_long": "it is too long for the model together with this speaker's reference",
    "not_aligned": "the sound was too short for its words",
}


class FishEngine:
    """Clones voices, in thirteen languages."""

    name = "fish"

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._calls = itertools.count()

    def refusal(self, text: str, language: str) -> str | None:
        if base_language(language) not in LANGUAGES:
            return (
                f"This engine does not speak {language}. It speaks "
                f"{', '.join(f'{name} ({code})' for code, name in LANGUAGES.items())}."
            )
        if foreign := _FOREIGN.findall(text):
            shown = "".join(dict.fromkeys(foreign))[:10]
            return (
                f"None of this engine's languages is written with these letters: {shown}. Write the "
                "line as it is spoken."
            )
        if not _SPOKEN.search(text):
            return "There is nothing to speak in this line: it has neither letters nor digits."
        return None

    def notice(self, language: str) -> str | None:
        return None

    def prepare_voice(
        self,
        reference: Waveform,
        sample_rate: int,
        *,
        language: str,
        transcript: str,
        taken: Collection[str],
    ) -> PreparedVoice:
        return self._voices.prepare(reference, sample_rate, language, transcript)

    def speak(
        self, lines: Sequence[LineToSpeak], stopping: threading.Event
    ) -> Iterator[SpokenLine | FailedLine]:
        call = _Call(self.runtime, self.aligners, f"{next(self._calls)}", lines, stopping)
        try:
            yield from call.results()
        finally:
            call.end()

    # ------------------------------------------------------------------ what is loaded

    @cached_property
    def _loaded(self) -> "Runtime":
        import torch

        from synthesis.engines.fish.runtime import Runtime

        device = settings.FISH_DEVICE or ("cuda" if torch.cuda.is_available() else "cpu")
        return Runtime(Path(settings.FISH_CHECKPOINT_DIR), device, Path(settings.VAR_DIR))

    @property
    def runtime(self) -> "Runtime":
        """Loaded and warm. Raises CheckpointRefused."""
        with self._loading:  # cached_property alone would load twice for two threads
            return self._loaded

    @cached_property
    def _voices(self) -> "VoiceMaker":
        from synthesis.engines.fish.recogniser import WhisperRecogniser
        from synthesis.engines.fish.voices import VoiceMaker

        runtime = self.runtime
        path = settings.RECOGNISER_MODEL
        recogniser = WhisperRecogniser(path, runtime.device.type) if path else None
        return VoiceMaker(runtime.codec, runtime.codec_version, recogniser)

    @cached_property
    def aligners(self) -> "Aligners":
        from synthesis.engines.fish.aligners import Aligners

        return Aligners(settings.ENGINE_THREADS)


def warm_up() -> str | None:
    """Load this process's engine. Returns why it cannot be, for an operator, or None."""
    from synthesis.engines import get_engine
    from synthesis.engines.fish.checkpoint import CheckpointRefused

    engine = get_engine()
    assert isinstance(engine, FishEngine)
    try:
        engine.runtime  # noqa: B018 - made by being asked for
    except CheckpointRefused as exc:
        return f"The checkpoint is refused: {exc}"
    engine.aligners.start()
    return None


@dataclass
class _Line:
    """A line in work."""

    line: LineToSpeak
    text: SpokenText
    voice: "Hashable"
    sound: dict[int, Waveform] = field(default_factory=dict)  # piece -> trimmed
    tries: dict[int, int] = field(default_factory=dict)
    seeds: int = 0  # rises when all of the line is spoken again

    @property
    def expected_s(self) -> float:
        return sum(piece.expected_s for piece in self.text.pieces)


@dataclass(frozen=True)
class _Answer:
    """What became of a piece of a line."""

    line: _Line
    piece: int
    round: int  # the line's ``seeds`` when it was asked for
    result: "PieceResult"


class _Call:
    """One job's lines on their way through the engine."""

    def __init__(
        self,
        runtime: "Runtime",
        aligners: "Aligners",
        name: str,
        lines: Sequence[LineToSpeak],
        stopping: threading.Event,
    ) -> None:
        self._runtime, self._aligners, self._stopping = runtime, aligners, stopping
        self._name = name
        self._lines = lines
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        # (line, piece): what is not handed in yet, and how many are with the engine.
        self._waiting: list[tuple[_Line, int]] = []
        self._in_hand = 0
        self._first = True

    def results(self) -> Iterator[SpokenLine | FailedLine]:
        ready: list[_Line] = []
        for line in self._lines:
            try:
                key = self._runtime.prompts.key(line.tenant_id, line.voice)
            except EngineError as exc:
                yield FailedLine(line.position, exc.detail)
                continue
            text = spoken_text(line.text, line.language, line.pronunciations)
            if not text.pieces:
                yield FailedLine(line.position, "There is nothing to speak in this line.")
                continue
            ready.append(_Line(line, text, key))
        # The script's first line first, so that the job can be heard; then the longest, so that none
        # is left to run alone at the end.
        ready[1:] = sorted(ready[1:], key=lambda line: -line.expected_s)
        self._waiting = [(line, piece) for line in ready for piece in range(len(line.text.pieces))]
        stop_at: float | None = None
        while self._waiting or self._in_hand:
            if self._stopping.is_set():
                self._waiting.clear()
                stop_at = stop_at or time.monotonic() + _DRAIN_S
                if not self._in_hand or time.monotonic() > stop_at:
                    return
            self._hand_in()
            try:
                answer = self._answers.get(timeout=_PUT_WAIT_S)
            except queue.Empty:
                continue
            self._in_hand -= 1
            if result := self._take(answer):
                yield result

    def end(self) -> None:
        """Speak no more of this."""
        if self._in_hand:
            self._runtime.scheduler.drop(self._name)

    def _hand_in(self) -> None:
        from synthesis.engines.fish.requests import PieceRequest, PieceResult
        from synthesis.engines.fish.slots import row_seed

        frames = self._runtime.sizes.frames
        per_second = self._runtime.architecture.frames_per_second
        while self._waiting and self._in_hand < _LINES_AHEAD:
            line, number = self._waiting[0]
            piece = line.text.pieces[number]
            most = (_MOST_TIMES_EXPECTED * piece.expected_s + _MOST_EXTRA_S) * per_second
            voice, made_of = line.voice, line.line.voice
            asked = line.seeds

            def answer(
                result: PieceResult, line: _Line = line, number: int = number, asked: int = asked
            ) -> None:
                self._answers.put(_Answer(line, number, asked, result))

            request = PieceRequest(
                tenant=line.line.tenant_id,
                job=self._name,
                voice=voice,
                voice_prompt=partial(self._runtime.prompts.prompt, voice, made_of),
                text=piece.text,
                seed=row_seed(line.line.seed, number, line.seeds, line.tries.get(number, 0)),
                most_frames=min(frames, round(most)),
                fewest_frames=min(
                    frames // 2, round(_LEAST_OF_EXPECTED * piece.sounding_s * per_second)
                ),
                first=self._first,
                answer=answer,
            )
            if not self._runtime.queue.put(request, _PUT_WAIT_S):
                return
            self._first = False
            self._in_hand += 1
            self._waiting.pop(0)

    def _take(self, answer: _Answer) -> SpokenLine | FailedLine | None:
        """Use a piece's sound, or have it spoken again; the line, once it is whole or given up."""
        from synthesis.engines.fish.requests import Cause

        line, result = answer.line, answer.result
        if answer.round != line.seeds:
            return None  # of a line that is spoken anew, or was given up
        cause, sound = result.cause, None
        if result.waveform is not None and cause is None:
            rate = self._runtime.architecture.firefly.sample_rate
            start, end = speech_edges(result.waveform, rate)
            sound = result.waveform[start:end]
            cause = None if end > start else Cause.SILENCE
        if cause is not None:
            return self._again(line, [answer.piece], cause)
        assert sound is not None
        line.sound[answer.piece] = sound
        if len(line.sound) < len(line.text.pieces):
            return None
        try:
            return self._joined(line)
        except AlignmentFailed:
            line.sound.clear()
            return self._again(line, range(len(line.text.pieces)), Cause.NOT_ALIGNED)

    def _again(self, line: _Line, pieces: Sequence[int], cause: Any) -> FailedLine | None:
        """Hand pieces in again with another seed, at most twice; then the line fails, alone."""
        from synthesis.engines.fish import metrics
        from synthesis.engines.fish.requests import Cause

        tries = max(line.tries.get(piece, 0) for piece in pieces) + 1
        if tries >= _TRIES or cause is Cause.TOO_LONG:
            line.seeds += 1  # answers that are on their way count no more
            self._waiting = [item for item in self._waiting if item[0] is not line]
            metrics.FAILURES.labels(cause.value).inc()
            times = f" after {tries} tries" if tries > 1 else ""
            return FailedLine(
                line.line.position,
                f"The line could not be spoken{times}: {_WHY[cause.value]} ({cause.value}). Rephrase "
                "it, split it, or submit it again with another seed.",
            )
        metrics.RETRIES.labels(cause.value).inc(len(pieces))
        for piece in pieces:
            line.tries[piece] = tries
        # Before the rest: this line has waited long enough.
        self._waiting[:0] = [(line, piece) for piece in pieces]
        return None

    def _joined(self, line: _Line) -> SpokenLine:
        """The pieces as one waveform with word times. Raises AlignmentFailed."""
        rate = self._runtime.architecture.firefly.sample_rate
        pause = np.zeros(round(_PAUSE_BETWEEN_PIECES_S * rate), np.float32)
        parts: list[Waveform] = []
        for number in range(len(line.text.pieces)):
            if parts:
                parts.append(pause)
            parts.append(faded(line.sound[number], rate))
        waveform = at_speed(np.concatenate(parts), rate, line.line.speed)
        times = self._aligners.word_times(
            waveform, rate, line.text.words, line.text.spoken, line.line.language
        )
        words = [
            SpokenWord(word.text, start, end, word.space_before)
            for word, (start, end) in zip(line.text.words, times.spans, strict=True)
        ]
        return SpokenLine(line.line.position, waveform, rate, words, times.timing)
