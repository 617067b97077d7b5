"""A tenant's own respellings: said as given, before and untouched by every other rule."""

import unicodedata
from collections.abc import Mapping

import regex

from synthesis.spoken_forms.korean_particles import PARTICLES
from synthesis.words import split_words

# Each respelling stands in the line as one private-use character, which no rule reads.
_FIRST_STAND_IN = 0xF0000

_WORD_STARTS = r"(?<![\p{L}\p{M}\p{N}_])(?<![\p{L}\p{N}][.@'’])"
# 's may follow (possessive, plural), other endings ('t, 're, .com) make another word.
_WORD_ENDS = r"(?![\p{L}\p{M}\p{N}_])(?!['’](?!s(?!\p{L}))\p{L})(?![.@][\p{L}\p{N}])"
# Any Hangul after Latin letters is a particle; after Hangul only what is known to be one.
_KOREAN_WORD_ENDS = (
    rf"(?:{_WORD_ENDS}|(?<!\p{{Hangul}})(?=\p{{Hangul}})|(?<=\p{{Hangul}})(?={PARTICLES}))"
)


def respell(
    line: str, pronunciations: Mapping[str, str], language: str
) -> tuple[str, Mapping[int, str]]:
    """The line with a stand-in for each respelling, and what ``str.translate`` puts back for them.

    line: words in NFC, joined by line breaks. Longer entries win; a respelling's words are dealt
    over the written ones in order, the first ones taking what is left over.
    """
    entries = {
        _written(entry, language).casefold(): spoken.split()
        for entry, spoken in pronunciations.items()
        if entry.strip()
    }
    ends = _KOREAN_WORD_ENDS if language == "ko" else _WORD_ENDS
    pattern = regex.compile(
        rf"{_WORD_STARTS}\L<entries>{ends}", regex.IGNORECASE, entries=list(entries)
    )
    stand_ins: dict[int, str] = {}

    def stand_in(match: regex.Match[str]) -> str:
        spoken = entries.get(match[0].casefold())
        if (
            spoken is None
        ):  # equal to the pattern's simple case folding, but not to Python's full one
            return match[0]
        pieces = []
        for words in _deal(spoken, match[0].count("\n") + 1):
            code = _FIRST_STAND_IN + len(stand_ins)
            stand_ins[code] = " ".join(words)
            pieces.append(chr(code) if words else "")
        return "\n".join(pieces)

    return (pattern.sub(stand_in, line) if entries else line), stand_ins


def _written(entry: str, language: str) -> str:
    return "\n".join(
        word.text for word in split_words(unicodedata.normalize("NFC", entry), language)
    )


def _deal(spoken: list[str], hands: int) -> list[list[str]]:
    each, more = divmod(len(spoken), hands)
    dealt, start = [], 0
    for hand in range(hands):
        end = start + each + (hand < more)
        dealt.append(spoken[start:end])
        start = end
    return dealt
