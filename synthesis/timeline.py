"""Lines -> one timeline in samples. The audio and the captions are both drawn from it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

# A breath within one speaker's turn, and the time it takes another to come in. The mean gap
# between speakers over ten languages is about 0.2 s (Stivers et al. 2009, PNAS 106(26)); read
# scripts sound hurried at that, so a change of speaker gets more.
PAUSE_SAME_SPEAKER_MS = 300
PAUSE_CHANGE_OF_SPEAKER_MS = 500
# After the last line, so that a player does not cut its sound.
PAUSE_AT_THE_END_MS = 200


@dataclass(frozen=True)
class SpokenClip:
    """What the timeline needs to know of a spoken line. Samples at the engine's rate."""

    line_id: str
    speaker_id: str
    speaker_name: str
    language: str
    text: str
    sample_count: int
    sample_rate: int  # Hz
    words: Sequence[tuple[str, int, int, bool]]  # text, start_sample, end_sample, space_before
    word_timing: str  # aligned | estimated
    pause_after_ms: int | None


@dataclass(frozen=True)
class PlacedWord:
    """A word on the timeline, in its samples."""

    text: str
    start_sample: int
    end_sample: int
    space_before: bool


@dataclass(frozen=True)
class PlacedLine:
    """A line on the timeline, in its samples: [start_sample, end_sample)."""

    line_id: str
    speaker_id: str
    speaker_name: str
    language: str
    text: str
    start_sample: int
    end_sample: int
    words: Sequence[PlacedWord]
    word_timing: str  # aligned | estimated


@dataclass(frozen=True)
class Timeline:
    """Where every line and word lies in the finished audio."""

    sample_rate: int  # Hz, the output's
    sample_count: int  # of the whole audio, pauses included
    lines: Sequence[PlacedLine]

    @property
    def duration_ms(self) -> int:
        return self.ms(self.sample_count)

    def ms(self, sample: int) -> int:
        """A place in milliseconds, rounded half up in integers."""
        return (sample * 1000 * 2 + self.sample_rate) // (2 * self.sample_rate)

    def shares_ms(self) -> list[int]:
        """Each line's share of the audio, up to the next line's start: they add up to duration_ms."""
        edges = [0, *(self.ms(line.start_sample) for line in self.lines[1:]), self.duration_ms]
        return [end - start for start, end in itertools.pairwise(edges)]


def rescaled(sample: int, from_rate: int, to_rate: int) -> int:
    """A sample index at another rate, rounded half up."""
    return (sample * to_rate * 2 + from_rate) // (2 * from_rate)


def place_lines(clips: Sequence[SpokenClip], sample_rate: int) -> Timeline:
    """Place spoken lines one after another, with their pauses. ``sample_rate``: the output's, Hz."""
    placed = []
    at = 0
    for index, clip in enumerate(clips):
        length = rescaled(clip.sample_count, clip.sample_rate, sample_rate)
        words = [
            PlacedWord(
                text,
                at + min(length, rescaled(start, clip.sample_rate, sample_rate)),
                at + min(length, rescaled(end, clip.sample_rate, sample_rate)),
                space_before,
            )
            for text, start, end, space_before in clip.words
        ]
        placed.append(
            PlacedLine(
                clip.line_id,
                clip.speaker_id,
                clip.speaker_name,
                clip.language,
                clip.text,
                at,
                at + length,
                words,
                clip.word_timing,
            )
        )
        following = clips[index + 1].speaker_id if index + 1 < len(clips) else None
        pause = pause_ms(clip.pause_after_ms, clip.speaker_id, following)
        at += length + rescaled(pause, 1000, sample_rate)
    return Timeline(sample_rate, at, placed)


def pause_ms(asked: int | None, speaker_id: str, following_speaker_id: str | None) -> int:
    """The pause after a line. asked: by the script; following_speaker_id: None after the last line."""
    if asked is not None:
        return asked
    if following_speaker_id is None:
        return PAUSE_AT_THE_END_MS
    if following_speaker_id == speaker_id:
        return PAUSE_SAME_SPEAKER_MS
    return PAUSE_CHANGE_OF_SPEAKER_MS
