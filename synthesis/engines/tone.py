"""An engine whose lines have exact lengths and begin with a known burst: for tests, benchmarks, and the
jobs of test keys.

A line is a chirp of 20 ms, found again by cross-correlation whatever the encoder, and then a tone
whose pitch is the voice's. Its length follows from its text alone.
"""

import hashlib
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from speakers.decoding import Waveform
from synthesis import stored_sentences as stored
from synthesis.engines.base import (
    FailedLine,
    Length,
    LineToSpeak,
    PreparedVoice,
    SpokenLine,
    SpokenWord,
)
from synthesis.words import split_words

SAMPLE_RATE = 24_000
MS_PER_CHARACTER = 60
_BURST_S = 0.02


def voice_of(speaker_id: str) -> dict[str, float]:
    """A speaker's voice in test jobs, whatever engine it was registered for: a pitch of its own."""
    return {"pitch_hz": 110 + hashlib.sha256(speaker_id.encode()).digest()[0], "level": 0.5}


def burst(sample_rate: int = SAMPLE_RATE) -> Waveform:
    """The onset: a linear chirp from 300 to 3,300 Hz, which every allowed output rate carries."""
    t = np.arange(round(_BURST_S * sample_rate)) / sample_rate
    return (0.8 * np.sin(2 * np.pi * (300 * t + 3000 / _BURST_S * t * t / 2))).astype(np.float32)


class ToneEngine:
    """Speaks any language, in tones."""

    name = "tone"
    on_gpu = False

    def refusal(self, text: str, language: str) -> str | None:
        return None

    def notice(self, language: str) -> str | None:
        return None

    def foreseen_ms(self, text: str, language: str, speed: float) -> Length:
        characters = len("".join(text.split()))  # of all its words
        exact = round(characters * MS_PER_CHARACTER / speed)
        return Length(exact, exact + 1)  # its samples are rounded

    def prepare_voice(
        self,
        reference: Waveform,
        sample_rate: int,
        *,
        language: str,
        transcript: str,
        taken: Collection[str],
    ) -> PreparedVoice:
        """A pitch of 110 to 330 Hz and a level of the reference, so that levels can differ."""
        digest = hashlib.sha256(reference.tobytes()).digest()
        data = {"pitch_hz": 110 + digest[0], "level": float(np.abs(reference).max())}
        return PreparedVoice("nearest_preset", None, data=data)

    def speak(
        self, lines: Sequence[LineToSpeak], stopping: threading.Event
    ) -> Iterator[SpokenLine | FailedLine]:
        for line in lines:
            if stopping.is_set():
                return
            if "[unspeakable]" in line.text:
                yield FailedLine(line.position, stored.ASKED_TO_FAIL)
            else:
                yield _speak(line)


def _speak(line: LineToSpeak) -> SpokenLine:
    voice: Mapping[str, Any] = line.voice
    words = split_words(line.text, line.language)
    lengths = [
        round(len(word.text) * MS_PER_CHARACTER / line.speed * SAMPLE_RATE / 1000) for word in words
    ]
    ends = np.cumsum(lengths).tolist()
    starts = [0, *ends[:-1]]
    t = np.arange(ends[-1]) / SAMPLE_RATE
    waveform = (0.25 * np.sin(2 * np.pi * voice["pitch_hz"] * t)).astype(np.float32)
    onset = burst()[: len(waveform)]
    waveform[: len(onset)] = onset
    return SpokenLine(
        line.position,
        waveform * np.float32(voice["level"]),
        SAMPLE_RATE,
        [
            SpokenWord(word.text, start, end, word.space_before)
            for word, start, end in zip(words, starts, ends, strict=True)
        ],
    )
