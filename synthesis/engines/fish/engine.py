"""fish-speech 1.5 as a speech engine: all lines of all jobs of this process in one batch.

The web process asks it which lines it can speak, so nothing here imports torch before the first line
is spoken or the first voice made.
"""

import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import regex
from django.conf import settings
from django.utils.translation import gettext as _

from speakers.decoding import Waveform
from synthesis import stored_sentences as stored
from synthesis.engines.base import (
    EngineError,
    FailedLine,
    Length,
    LineToSpeak,
    PreparedVoice,
    SpokenLine,
    SpokenWord,
)
from synthesis.engines.fish.languages import LANGUAGES, base_language
from synthesis.engines.fish.line_text import SpokenText, spoken_text
from synthesis.engines.fish.speed import at_speed
from synthesis.engines.fish.word_times import AlignmentFailed, WordTimes
from synthesis.engines.pace import speech_ms
from synthesis.engines.trimming import faded, speech_edges

if TYPE_CHECKING:
    from collections.abc import Hashable
    from concurrent.futures import Future

    from synthesis.engines.fish.aligners import Aligners
    from synthesis.engines.fish.requests import Cause, PieceRequest, PieceResult
    from synthesis.engines.fish.runtime import Runtime
    from synthesis.engines.fish.tokens import Prompt
    from synthesis.engines.fish.voices import VoiceMaker

_TRIES = 3  # of a piece: the first and two with another seed
# Frames a piece may take: so many times as long as its syllables ask for, and some for silences.
_MOST_TIMES_EXPECTED = 2.5
_MOST_EXTRA_S = 2.0
# Nobody speaks twice as fast; an aligner needs 30 ms for each sound.
_LEAST_OF_EXPECTED = 0.5
_PAUSE_BETWEEN_PIECES_S = 0.25
# Of one job, handed in ahead of their turn.
_PIECES_AHEAD = 64
_LOOK_UP_S = 0.2  # how often a job that waits looks whether it is to end
_DRAIN_S = 10.0  # how long lines in hand may take once the process is to end

# The scripts of the languages it knows.
_FOREIGN = regex.compile(
    r"[^\P{L}\p{Latin}\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}\p{Arabic}\p{Cyrillic}\p{Common}"
    r"\p{Inherited}]"
)
_SPOKEN = regex.compile(r"[\p{L}\p{N}]")

_WHY = {
    "no_end_token": stored.NO_END,
    "not_finite": stored.NOT_FINITE,
    "silence": stored.SILENCE,
    "loop": stored.LOOP,
    "too_long": stored.TOO_LONG,
    "not_aligned": stored.NOT_ALIGNED,
}


class FishEngine:
    """Clones voices, in thirteen languages."""

    name = "fish"
    on_gpu = True

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._calls = itertools.count()

    def refusal(self, text: str, language: str) -> str | None:
        if base_language(language) not in LANGUAGES:
            known = ", ".join(f"{_(name)} ({code})" for code, name in LANGUAGES.items())
            return _("This engine does not speak %(language)s. It speaks %(known)s.") % {
                "language": language,
                "known": known,
            }
        if foreign := _FOREIGN.findall(text):
            shown = "".join(dict.fromkeys(foreign))[:10]
            return _(
                "None of this engine's languages is written with these letters: %(letters)s. Write the "
                "line as it is spoken."
            ) % {"letters": shown}
        if not _SPOKEN.search(text):
            return _("There is nothing to speak in this line: it has neither letters nor digits.")
        return None

    def notice(self, language: str) -> str | None:
        return None

    def foreseen_ms(self, text: str, language: str, speed: float) -> Length:
        expected = speech_ms(text, language, pace=speed)
        # A piece is cut off there (_Call._request).
        most = _MOST_TIMES_EXPECTED * expected + 1000 * _MOST_EXTRA_S / speed
        return Length(expected, round(most))

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
    def _made_voices(self) -> "VoiceMaker":
        from synthesis.engines.fish.recogniser import WhisperRecogniser
        from synthesis.engines.fish.voices import VoiceMaker

        runtime = self._loaded
        device = runtime.device
        path = settings.RECOGNISER_MODEL
        recogniser = WhisperRecogniser(path, device.type, device.index or 0) if path else None
        return VoiceMaker(runtime.codec, runtime.codec_version, recogniser)

    @property
    def _voices(self) -> "VoiceMaker":
        with self._loading:
            return self._made_voices

    @cached_property
    def _made_aligners(self) -> "Aligners":
        from synthesis.engines.fish.aligners import Aligners

        return Aligners(settings.ENGINE_THREADS)

    @property
    def aligners(self) -> "Aligners":
        with self._loading:
            return self._made_aligners


def warm_up() -> None:
    """Load this process's engine. Raises CheckpointRefused, or what else keeps it from working."""
    from synthesis.engines import get_engine

    engine = get_engine()
    assert isinstance(engine, FishEngine)
    engine.runtime  # noqa: B018 - made by being asked for
    engine.aligners.start()


@dataclass
class _Line:
    """A line in work."""

    line: LineToSpeak
    text: SpokenText
    voice: "Hashable"
    voice_prompt: "Prompt"
    sound: dict[int, Waveform] = field(default_factory=dict)  # piece -> trimmed
    tries: dict[int, int] = field(default_factory=dict)
    pools_lost: int = 0
    given_up: bool = False

    @property
    def expected_s(self) -> float:
        return sum(piece.expected_s for piece in self.text.pieces)


@dataclass(frozen=True)
class _Spoken:
    """What became of a piece of a line."""

    line: _Line
    piece: int
    result: "PieceResult"


@dataclass(frozen=True)
class _Timed:
    """A line's whole sound and, in the future, its words' times."""

    line: _Line
    waveform: Waveform
    times: "Future[WordTimes]"


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
        self._answers: queue.SimpleQueue[_Spoken | _Timed] = queue.SimpleQueue()
        self._waiting: deque[tuple[_Line, int]] = deque()  # pieces that are not handed in yet
        self._in_hand = 0  # pieces that the engine has
        self._aligning = 0  # lines
        self._first = True

    def results(self) -> Iterator[SpokenLine | FailedLine]:
        yield from self._read_out()
        stop_at: float | None = None
        while self._waiting or self._in_hand or self._aligning:
            if self._stopping.is_set():
                if stop_at is None:
                    stop_at = time.monotonic() + _DRAIN_S
                    self._in_hand -= self._runtime.queue.remove(self._name)
                self._waiting.clear()
                if not (self._in_hand or self._aligning) or time.monotonic() > stop_at:
                    return
            self._hand_in()
            try:
                answer = self._answers.get(timeout=_LOOK_UP_S)
            except queue.Empty:
                if self._runtime.closed:
                    raise RuntimeError("The engine has ended.") from None
                continue
            if result := self._take(answer):
                yield result

    def end(self) -> None:
        """Speak no more of this."""
        if self._in_hand:
            self._runtime.scheduler.drop(self._name)

    def _read_out(self) -> Iterator[FailedLine]:
        """From lines to pieces in the order in which they are handed in."""
        ready: list[_Line] = []
        for line in self._lines:
            try:
                key = self._runtime.prompts.key(line.tenant_id, line.voice)
            except EngineError as exc:
                yield FailedLine(line.position, exc.detail)
                continue
            text = spoken_text(line.text, line.language, line.pronunciations)
            if text.pieces:
                prompt = self._runtime.prompts.prompt(key, line.voice)
                ready.append(_Line(line, text, key, prompt))
            else:
                yield FailedLine(line.position, stored.NOTHING_TO_SPEAK)
        # The script's first line first, so that the job can be heard; then the longest, so that none
        # is left to run alone at the end.
        ready[1:] = sorted(ready[1:], key=lambda line: -line.expected_s)
        self._waiting.extend(
            (line, piece) for line in ready for piece in range(len(line.text.pieces))
        )

    def _hand_in(self) -> None:
        while self._waiting and self._in_hand < _PIECES_AHEAD:
            line, number = self._waiting[0]
            # With something in hand there are answers to take, rather than to wait here.
            wait_s = 0.0 if self._in_hand else _LOOK_UP_S
            if not self._runtime.queue.put(self._request(line, number), wait_s):
                return
            self._waiting.popleft()
            self._in_hand += 1
            self._first = False

    def _request(self, line: _Line, number: int) -> "PieceRequest":
        from synthesis.engines.fish.requests import PieceRequest
        from synthesis.engines.fish.slots import row_seed

        piece = line.text.pieces[number]
        frames = self._runtime.sizes.frames
        per_second = self._runtime.architecture.frames_per_second
        most = (_MOST_TIMES_EXPECTED * piece.expected_s + _MOST_EXTRA_S) * per_second
        fewest = _LEAST_OF_EXPECTED * piece.sounding_s * per_second
        return PieceRequest(
            tenant=line.line.tenant_id,
            job=self._name,
            voice=line.voice,
            voice_prompt=line.voice_prompt,
            prompt=self._runtime.line_prompt(piece.text),
            seed=row_seed(line.line.seed, number, line.tries.get(number, 0)),
            most_frames=min(frames, round(most)),
            fewest_frames=min(frames // 2, round(fewest)),
            first=self._first,
            answer=lambda result: self._answers.put(_Spoken(line, number, result)),
        )

    def _take(self, answer: _Spoken | _Timed) -> SpokenLine | FailedLine | None:
        """Go on with a line; returns it once it is whole or given up."""
        if isinstance(answer, _Timed):
            self._aligning -= 1
            return self._finish(answer)
        self._in_hand -= 1
        line, result = answer.line, answer.result
        if line.given_up:
            return None
        from synthesis.engines.fish.requests import Cause

        cause = result.cause
        if result.waveform is not None and cause is None:
            rate = self._runtime.architecture.firefly.sample_rate
            start, end = speech_edges(result.waveform, rate)
            # A copy, which does not keep what was cut off.
            line.sound[answer.piece] = faded(result.waveform[start:end], rate)
            cause = None if end > start else Cause.SILENCE
        if cause is not None:
            return self._again(line, [answer.piece], cause)
        if len(line.sound) == len(line.text.pieces):
            self._align(line)
        return None

    def _again(self, line: _Line, pieces: Sequence[int], cause: "Cause") -> FailedLine | None:
        """Hand pieces in again with another seed, at most twice; then the line fails, alone."""
        from synthesis.engines.fish import metrics

        for piece in pieces:
            line.sound.pop(piece, None)
            line.tries[piece] = line.tries.get(piece, 0) + 1
        tries = max(line.tries[piece] for piece in pieces)
        # Another seed makes nothing shorter.
        if tries >= _TRIES or cause.value == "too_long":
            line.given_up = True
            line.sound.clear()
            self._waiting = deque(item for item in self._waiting if item[0] is not line)
            metrics.FAILURES.labels(cause.value).inc()
            why = {"why": _WHY[cause.value], "cause": cause.value}
            if tries > 1:
                detail = stored.NOT_SPOKEN_AFTER_TRIES % {**why, "tries": tries}
            else:
                detail = stored.NOT_SPOKEN % why
            return FailedLine(line.line.position, detail)
        metrics.RETRIES.labels(cause.value).inc(len(pieces))
        # Before the rest: this line has waited long enough.
        self._waiting.extendleft((line, piece) for piece in reversed(pieces))
        return None

    def _align(self, line: _Line) -> None:
        """Join the pieces and ask for the words' times."""
        rate = self._runtime.architecture.firefly.sample_rate
        pause = np.zeros(round(_PAUSE_BETWEEN_PIECES_S * rate), np.float32)
        parts: list[Waveform] = []
        for number in range(len(line.text.pieces)):
            if parts:
                parts.append(pause)
            parts.append(line.sound[number])
        waveform = at_speed(np.concatenate(parts), rate, line.line.speed)
        text = line.text
        times = self._aligners.submit(waveform, rate, text.words, text.spoken, line.line.language)
        self._aligning += 1
        times.add_done_callback(lambda done: self._answers.put(_Timed(line, waveform, done)))

    def _finish(self, timed: _Timed) -> SpokenLine | FailedLine | None:
        from synthesis.engines.fish.requests import Cause

        line = timed.line
        try:
            times = timed.times.result()
        except AlignmentFailed:
            return self._again(line, range(len(line.text.pieces)), Cause.NOT_ALIGNED)
        except BrokenProcessPool:
            line.pools_lost += 1
            if line.pools_lost >= _TRIES:
                raise
            self._align(line)
            return None
        line.sound.clear()
        words = [
            SpokenWord(word.text, start, end, word.space_before)
            for word, (start, end) in zip(line.text.words, times.spans, strict=True)
        ]
        rate = self._runtime.architecture.firefly.sample_rate
        return SpokenLine(line.line.position, timed.waveform, rate, words, times.timing)
