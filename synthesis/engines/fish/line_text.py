"""What of a line is spoken: its words as they are said, in pieces that fit a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import regex

from synthesis.engines.fish.languages import syllables_per_second
from synthesis.engines.fish.word_times import count_syllables
from synthesis.spoken_forms import spoken_forms
from synthesis.words import Word, split_words

# As the library splits, by bytes: about 13 s of English and 12 s of Korean, whose syllables take three
# bytes each. Longer stretches drift from the voice.
_LONGEST_PIECE_BYTES = 200
_SENTENCE_END = regex.compile(r"[.!?…。！？]+[\"'”’)\]」』]*$")
_PHRASE_END = regex.compile(r"[,;:–—、，；：]+[\"'”’)\]」』]*$")
_SOUND = regex.compile(r"[\p{L}\p{N}]")
_PAUSE_S = 0.35  # at a mark of punctuation
_QUIETED = regex.compile(r"\p{Extended_Pictographic}|[\p{Cc}\p{Cf}--\p{Zs}]", regex.VERSION1)
_APOSTROPHES = str.maketrans("‘’", "''")


@dataclass(frozen=True)
class Piece:
    """Part of a line that is spoken in one go, and how long that may take."""

    text: str
    sounding_s: float  # expected without pauses
    expected_s: float


@dataclass(frozen=True)
class SpokenText:
    """A line's words as written, what is said for each ("": nothing), and the pieces."""

    words: Sequence[Word]
    spoken: Sequence[str]
    pieces: Sequence[Piece]


def spoken_text(text: str, language: str, pronunciations: Mapping[str, str]) -> SpokenText:
    """Read a line out: numbers, dates and the like as words, in pieces cut at sentence ends."""
    words = split_words(text, language)
    spoken = [_clean(form) for form in spoken_forms(words, language, pronunciations)]
    units = [
        (" " if word.space_before else "") + form
        for word, form in zip(words, spoken, strict=True)
        if form
    ]
    pieces = [_piece(cut, language) for cut in _pieces(units)]
    return SpokenText(words, spoken, pieces)


def _clean(text: str) -> str:
    return " ".join(_QUIETED.sub("", text).translate(_APOSTROPHES).split())


def _pieces(units: Sequence[str]) -> list[str]:
    """Cut at the best place that lies in the second half of what fits: a sentence's end, a phrase's, a
    word's, else a character's.
    """
    pieces: list[str] = []
    rest = [part for unit in units for part in _fitting(unit)]
    while rest:
        size = count = 0
        while count < len(rest) and size + len(rest[count].encode()) <= _LONGEST_PIECE_BYTES:
            size += len(rest[count].encode())
            count += 1
        if count < len(rest):
            count = _best_cut(rest[:count])
        piece = "".join(rest[:count]).strip()
        rest = rest[count:]
        # Marks alone say nothing; a piece of them would be silence.
        if _SOUND.search(piece):
            pieces.append(piece)
    return pieces


def _best_cut(units: Sequence[str]) -> int:
    half = len(units) // 2
    for ending in (_SENTENCE_END, _PHRASE_END):
        for count in range(len(units), half, -1):
            if ending.search(units[count - 1]):
                return count
    return len(units)


def _fitting(unit: str) -> list[str]:
    """A word, in parts if it is longer than a piece."""
    if len(unit.encode()) <= _LONGEST_PIECE_BYTES:
        return [unit]
    parts = [""]
    clusters = [
        part
        for cluster in regex.findall(r"\X", unit)
        # No letter takes so many marks; who sends one gets them one by one.
        for part in ([cluster] if len(cluster.encode()) <= _LONGEST_PIECE_BYTES else cluster)
    ]
    for character in clusters:
        if parts[-1] and len((parts[-1] + character).encode()) > _LONGEST_PIECE_BYTES:
            parts.append("")
        parts[-1] += character
    return parts


def _piece(text: str, language: str) -> Piece:
    sounding_s = count_syllables(text, language) / syllables_per_second(language)
    marks = sum(
        1 for word in text.split() if _SENTENCE_END.search(word) or _PHRASE_END.search(word)
    )
    return Piece(text, sounding_s, sounding_s + _PAUSE_S * marks)
