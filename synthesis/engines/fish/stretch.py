"""The best stretch of a reference: at most 30 s, cut at pauses, clean, of whole sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import regex

from speakers.decoding import Waveform
from speakers.voice_activity import voice_activity
from synthesis.engines.fish.recogniser import HeardWord

# The model was trained on references of 10 to 30 s; more costs positions and gives nothing.
LONGEST_S = 30.0
_WISHED_S = 20.0
_PAUSE_S = 0.2
_MARGIN_S = 0.15  # of the pause, kept at each end
_CLIPPED = 0.999
_NOISE_FRAME_S = 0.02
_NOISE_WINDOW_S = 2.0
_SENTENCE_END = regex.compile(r"[.!?…。！？]+[\"'”’)\]」』]*$")
# What a flaw is worth, in seconds of speech. Judgement.
_BROKEN_SENTENCE_S = 4.0
_CLIPPING_S = 100.0  # times the percentage of clipped samples
_NOISE_S = 0.5  # for each dB that the pauses are noisier than those of the quietest stretch


@dataclass(frozen=True)
class Stretch:
    """A part of a reference and its words."""

    start_s: float
    end_s: float
    transcript: str


@dataclass(frozen=True)
class Phrase:
    """Speech between two pauses."""

    start_s: float
    end_s: float


def best_stretch(
    waveform: Waveform, sample_rate: int, words: Sequence[HeardWord], *, spaced: bool
) -> Stretch | None:
    """Choose a stretch, or None if nothing is said.

    words: all of the recording, with their times. spaced: whether the language writes spaces.
    """
    phrases = phrases_of(waveform, sample_rate)
    candidates = []
    for first, begin in enumerate(phrases):
        for end in phrases[first:]:
            start_s = max(0.0, begin.start_s - _MARGIN_S)
            end_s = min(len(waveform) / sample_rate, end.end_s + _MARGIN_S)
            if end_s - start_s > LONGEST_S:
                break
            inside = [
                i for i, w in enumerate(words) if start_s <= (w.start_s + w.end_s) / 2 < end_s
            ]
            if inside:
                candidates.append((start_s, end_s, inside[0], inside[-1] + 1))
    if not candidates:
        return _first_words(words, len(waveform) / sample_rate, spaced=spaced)
    noise = _Noise(waveform, sample_rate)
    clipped = np.concatenate([[0], np.cumsum(np.abs(waveform) >= _CLIPPED)])
    noise_db = [noise.level_db(start_s, end_s) for start_s, end_s, _, _ in candidates]
    quietest = min(noise_db)

    def worth(index: int) -> float:
        start_s, end_s, first, last = candidates[index]
        start, end = (min(len(waveform), round(at * sample_rate)) for at in (start_s, end_s))
        share = (clipped[end] - clipped[start]) / max(1, end - start)
        begins = first == 0 or _SENTENCE_END.search(words[first - 1].text) is not None
        ends = _SENTENCE_END.search(words[last - 1].text) is not None
        return (
            min(end_s - start_s, _WISHED_S)
            - _BROKEN_SENTENCE_S * ((not begins) + (not ends))
            - _CLIPPING_S * float(share) * 100
            - _NOISE_S * (noise_db[index] - quietest)
        )

    best = max(range(len(candidates)), key=worth)
    start_s, end_s, first, last = candidates[best]
    return Stretch(start_s, end_s, _text(words[first:last], spaced=spaced))


def _text(words: Sequence[HeardWord], *, spaced: bool) -> str:
    return (" " if spaced else "").join(word.text for word in words)


def _first_words(words: Sequence[HeardWord], length_s: float, *, spaced: bool) -> Stretch | None:
    """Of speech without a pause: as many words as fit."""
    if not words:
        return None
    start_s = max(0.0, words[0].start_s - _MARGIN_S)
    fitting = [word for word in words if word.end_s <= start_s + LONGEST_S] or list(words[:1])
    end_s = min(length_s, fitting[-1].end_s, start_s + LONGEST_S)
    return Stretch(start_s, end_s, _text(fitting, spaced=spaced))


def phrases_of(waveform: Waveform, sample_rate: int) -> list[Phrase]:
    """A recording's phrases, in order."""
    activity = voice_activity(waveform, sample_rate)
    speaking = np.array([False, *activity.speaking, False])
    edges = np.flatnonzero(np.diff(speaking.astype(np.int8))) * activity.frame_s
    phrases: list[Phrase] = []
    for start_s, end_s in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if phrases and start_s - phrases[-1].end_s < _PAUSE_S:
            phrases[-1] = Phrase(phrases[-1].start_s, end_s)
        else:
            phrases.append(Phrase(start_s, end_s))
    return phrases


class _Noise:
    """The level of a recording's quietest frames, every two seconds. In so much speech there are
    closures and breaths, so what is left there is the room.
    """

    def __init__(self, waveform: Waveform, sample_rate: int) -> None:
        size = round(_NOISE_FRAME_S * sample_rate)
        count = max(1, len(waveform) // size)
        power = np.square(waveform[: count * size]).reshape(count, -1).mean(1)
        frames = round(_NOISE_WINDOW_S / _NOISE_FRAME_S)
        self._floors = np.array(
            [np.percentile(power[at : at + frames], 5) for at in range(0, count, frames)]
        )

    def level_db(self, start_s: float, end_s: float) -> float:
        """Of a stretch, where it is noisiest, dBFS."""
        first = int(start_s / _NOISE_WINDOW_S)
        last = max(first + 1, int(end_s / _NOISE_WINDOW_S))
        floor = float(self._floors[first:last].max(initial=0.0))
        return float(10 * np.log10(max(floor, 1e-10)))
