"""Timeline -> cues -> JSON, WebVTT, SRT."""

import html
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import regex

from synthesis.timeline import PlacedLine, PlacedWord, Timeline

KINDS = ("json", "vtt", "srt")
MEDIA_TYPES = {
    "json": "application/json",
    "vtt": "text/vtt; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
}

# Characters in a row: 42 for alphabets, and 16, 13 and 16 for Korean, Japanese and Chinese, as in
# the timed-text style guides of the large streaming services.
_ROW_WIDTH = {"ko": 16.0, "ja": 13.0, "zh": 16.0}
_ROW_WIDTH_ALPHABET = 42.0
_ROWS = 2
_SHORTEST_S = 1.0
_LONGEST_S = 7.0
_CHARACTERS_PER_S = 17.0
_NAME_SHARE = 0.5  # of a row, that a speaker's name may take in SRT

_SENTENCE_END = regex.compile(r"[.!?…。！？]+[\"'”’」』)\]]*$")
_PHRASE_END = regex.compile(r"[,;:–—،、，；：]+[\"'”’」』)\]]*$")


@dataclass(frozen=True)
class Cue:
    """What is on screen at once: some words of one line, laid out in rows."""

    line: PlacedLine
    words: Sequence[PlacedWord]
    rows: Sequence[Sequence[PlacedWord]]

    @property
    def start_sample(self) -> int:
        return self.words[0].start_sample

    @property
    def end_sample(self) -> int:
        return self.words[-1].end_sample

    @property
    def text(self) -> str:
        return _text(self.words)


def _text(words: Sequence[PlacedWord]) -> str:
    return "".join(
        (" " if word.space_before and index else "") + word.text for index, word in enumerate(words)
    )


def row_width(language: str) -> float:
    """How many characters a row of this language holds."""
    return _ROW_WIDTH.get(language.split("-")[0], _ROW_WIDTH_ALPHABET)


def width(text: str, language: str) -> float:
    """The room a text takes, in characters of its language.

    In Korean, Japanese and Chinese rows Latin letters, digits, spaces and punctuation count half.
    """
    clusters = regex.findall(r"\X", text)
    if language.split("-")[0] not in _ROW_WIDTH:
        return float(len(clusters))
    return sum(1.0 if unicodedata.east_asian_width(c[0]) in "WF" else 0.5 for c in clusters)


def shown_name(name: str, language: str) -> str:
    """A speaker's name as a prefix of SRT rows, cut to half a row."""
    room = row_width(language) * _NAME_SHARE
    name = " ".join(name.split())
    if width(f"{name}: ", language) <= room:
        return f"{name}: "
    clusters = regex.findall(r"\X", name)
    while clusters and width("".join(clusters) + "…: ", language) > room:
        clusters.pop()
    return "".join(clusters).rstrip() + "…: "


def make_cues(timeline: Timeline) -> list[Cue]:
    """The cues of all lines, in order. None is empty, none overlaps its neighbour."""
    return [cue for line in timeline.lines for cue in _cues_of_line(line, timeline.sample_rate)]


def _cues_of_line(line: PlacedLine, sample_rate: int) -> list[Cue]:
    """The best cut of a line into cues, by dynamic programming over the places between words."""
    words = [piece for word in line.words for piece in _pieces(word, line.language)]
    layout = _Layout(words, line.language, line.speaker_name)
    best: list[tuple[float, int]] = [(0.0, 0)]  # cost of the first n words, start of their last cue
    for end in range(1, len(words) + 1):
        options = []
        for start in range(end - 1, -1, -1):
            if start < end - 1 and not layout.fits(start, end):
                # More words before it may still break better, until they fill both rows.
                if layout.width(start, end) > _ROWS * layout.row_width:
                    break
                continue
            cost = best[start][0] + _cost(
                words, layout.characters(start, end), start, end, sample_rate
            )
            options.append((cost, start))
        best.append(min(options))
    cuts = []
    end = len(words)
    while end:
        start = best[end][1]
        cuts.append((start, end))
        end = start
    return [Cue(line, words[start:end], layout.rows(start, end)) for start, end in reversed(cuts)]


def _cost(
    words: Sequence[PlacedWord], characters: int, start: int, end: int, sample_rate: int
) -> float:
    """How bad one cue of words[start:end] is. The weights are judgement, tuned by eye on prose."""
    # Until the next cue begins this one may stay on screen.
    until = words[end].start_sample if end < len(words) else words[end - 1].end_sample
    shown_s = (until - words[start].start_sample) / sample_rate
    spoken_s = (words[end - 1].end_sample - words[start].start_sample) / sample_rate
    cost = 1.0  # fewer cues are calmer
    if end < len(words):
        last = words[end - 1].text
        if _SENTENCE_END.search(last):
            cost += 0.0
        elif _PHRASE_END.search(last):
            cost += 0.8
        else:
            cost += 3.0
    if end - start > 1 and spoken_s > _LONGEST_S:
        cost += 100.0 + 40.0 * (spoken_s - _LONGEST_S)
    cost += 6.0 * max(0.0, _SHORTEST_S - shown_s)
    cost += 0.3 * max(0.0, characters / max(shown_s, 1e-3) - _CHARACTERS_PER_S)
    return cost


def _pieces(word: PlacedWord, language: str) -> list[PlacedWord]:
    """A word that is longer than a row, cut between characters; any other word as it is."""
    room = row_width(language)
    if width(word.text, language) <= room:
        return [word]
    parts: list[str] = []
    for cluster in regex.findall(r"\X", word.text):
        if parts and width(parts[-1] + cluster, language) <= room:
            parts[-1] += cluster
        else:
            parts.append(cluster)
    length = word.end_sample - word.start_sample
    total = sum(len(part) for part in parts)
    pieces: list[PlacedWord] = []
    done = 0
    for part in parts:
        start = word.start_sample + length * done // total
        done += len(part)
        end = word.start_sample + length * done // total
        pieces.append(PlacedWord(part, start, end, space_before=word.space_before and not pieces))
    return pieces


class _Layout:
    """Puts words of a line into at most two rows; the first leaves room for the speaker's name in
    SRT. Ranges are [start, end) of the line's words; widths are sums made once.
    """

    def __init__(self, words: Sequence[PlacedWord], language: str, speaker_name: str) -> None:
        self._words = words
        self.row_width = row_width(language)
        self._prefix = width(shown_name(speaker_name, language), language)
        space = width(" ", language)
        self._space = [space if word.space_before else 0.0 for word in words]
        self._until = [0.0]  # the width of the first n words, spaces before them included
        self._characters = [0]
        for word, gap in zip(words, self._space, strict=True):
            self._until.append(self._until[-1] + gap + width(word.text, language))
            self._characters.append(self._characters[-1] + len(word.text) + bool(gap))

    def width(self, start: int, end: int) -> float:
        """The room that words take in one row."""
        return self._until[end] - self._until[start] - self._space[start]

    def characters(self, start: int, end: int) -> int:
        """The length of the words' text."""
        return self._characters[end] - self._characters[start] - bool(self._space[start])

    def fits(self, start: int, end: int) -> bool:
        return self._break(start, end) is not None

    def rows(self, start: int, end: int) -> list[Sequence[PlacedWord]]:
        at = self._break(start, end) or start
        return [row for row in (self._words[start:at], self._words[at:end]) if row]

    def _break(self, start: int, end: int) -> int | None:
        """Where the second row begins (``start``: all in one row), or None if they do not fit."""
        whole = self.width(start, end)
        if whole + self._prefix <= self.row_width or end - start == 1:
            return start
        if whole > _ROWS * self.row_width:
            return None
        best: tuple[float, int] | None = None
        for at in range(start + 1, end):
            upper = self.width(start, at) + self._prefix
            lower = self.width(at, end)
            if upper > self.row_width:
                break
            if lower > self.row_width:
                continue
            cost = abs(upper - lower) / self.row_width
            last = self._words[at - 1].text
            if not (_SENTENCE_END.search(last) or _PHRASE_END.search(last)):
                cost += 0.4
            if best is None or cost < best[0]:
                best = (cost, at)
        if best is not None:
            return best[1]
        # One full row: SRT gives the name a row of its own.
        return start if whole <= self.row_width else None


def rows_of(cue: Cue) -> list[str]:
    """A cue's rows of text."""
    return [_text(row) for row in cue.rows]


def captions_json(timeline: Timeline, cues: Sequence[Cue]) -> bytes:
    """The cues with their words; every time also in samples of the audio."""

    def span(start_sample: int, end_sample: int) -> dict[str, int]:
        return {
            "start_ms": timeline.ms(start_sample),
            "end_ms": timeline.ms(end_sample),
            "start_sample": start_sample,
            "end_sample": end_sample,
        }

    body = {
        "version": 1,
        "sample_rate": timeline.sample_rate,
        "duration_ms": timeline.duration_ms,
        "cues": [
            {
                "line_id": cue.line.line_id,
                "speaker_id": cue.line.speaker_id,
                "speaker": cue.line.speaker_name,
                **span(cue.start_sample, cue.end_sample),
                "text": cue.text,
                "word_timing": cue.line.word_timing,
                "words": [
                    {"text": word.text, **span(word.start_sample, word.end_sample)}
                    for word in cue.words
                ],
            }
            for cue in cues
        ],
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def shown_until(cues: Sequence[Cue], index: int, timeline: Timeline) -> int:
    """The millisecond until which a cue stays on screen.

    It lingers after its last word while nothing else is said, until it has been up for a second
    and slowly enough to read, and never into the next cue.
    """
    cue = cues[index]
    start = timeline.ms(cue.start_sample)
    readable = max(_SHORTEST_S, len(cue.text) / _CHARACTERS_PER_S)
    wanted = max(timeline.ms(cue.end_sample), start + round(1000 * min(readable, _LONGEST_S)))
    following = (
        timeline.ms(cues[index + 1].start_sample) if index + 1 < len(cues) else timeline.duration_ms
    )
    return min(wanted, following)


def captions_vtt(timeline: Timeline, cues: Sequence[Cue]) -> bytes:
    """WebVTT, with the speaker as the voice of every cue."""
    blocks = ["WEBVTT\n"]
    for index, cue in enumerate(cues):
        start, end = timeline.ms(cue.start_sample), shown_until(cues, index, timeline)
        name = html.escape(" ".join(cue.line.speaker_name.split()), quote=False)
        rows = "\n".join(html.escape(row, quote=False) for row in rows_of(cue))
        blocks.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n<v {name}>{rows}</v>\n")
    return "\n".join(blocks).encode()


def captions_srt(timeline: Timeline, cues: Sequence[Cue]) -> bytes:
    """SubRip, UTF-8, with the speaker's name before every cue."""
    blocks = []
    for index, cue in enumerate(cues):
        start, end = timeline.ms(cue.start_sample), shown_until(cues, index, timeline)
        name = shown_name(cue.line.speaker_name, cue.line.language)
        rows = "\n".join(rows_of(cue))
        if width(name + _text(cue.rows[0]), cue.line.language) > row_width(cue.line.language):
            name = f"{name.rstrip()}\n"
        blocks.append(f"{index + 1}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{name}{rows}\n")
    return "\n".join(blocks).encode()


def _clock(ms: int, decimal: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{decimal}{ms:03}"


def write_captions(timeline: Timeline, kinds: Sequence[str]) -> dict[str, bytes]:
    """The caption files asked for, by kind."""
    cues = make_cues(timeline)
    writers = {"json": captions_json, "vtt": captions_vtt, "srt": captions_srt}
    return {kind: writers[kind](timeline, cues) for kind in kinds}
