"""How long a text will take to say, reckoned from its letters: cheap enough to be asked for each request.

Held to the embedded engine in tests/e2e/test_embedded_engine.py: 15 % at the median of lines.
"""

import regex

from synthesis.engines.fish.languages import base_language, syllables_per_second

# Letters of a syllable, in writing; other alphabets are near the Latin one.
_LETTERS_PER_SYLLABLE = 2.75
_SYLLABLES_PER_DIGIT = 2.4  # "seven", "hundred" and the rest of what is said with them
_SYLLABLES_PER_CAPITAL = 1.1  # of abbreviations that are spelled: "API"
_PAUSE_MS = {"sentence": 380, "phrase": 230}
_SENTENCE_ENDS = regex.compile(r"[.!?…。！？]+(?=\s|$)")
_PHRASE_ENDS = regex.compile(r"[,;:–—、，；：]+(?=\s|$)")
_SYLLABIC = regex.compile(r"[\p{Hangul}\p{Hiragana}\p{Katakana}]")
_HAN = regex.compile(r"\p{Han}")
_SPELLED = regex.compile(r"\b\p{Lu}{2,}\b")


def syllables_of(text: str, language: str) -> float:
    """About how many syllables a text has; morae in Japanese."""
    syllabic = len(_SYLLABIC.findall(text)) if not text.isascii() else 0
    han = len(_HAN.findall(text)) if not text.isascii() else 0
    digits = sum(character.isdigit() for character in text)
    letters = sum(character.isalpha() for character in text) - syllabic - han
    spelled = sum(map(len, _SPELLED.findall(text)))
    return (
        syllabic
        + han * (2 if base_language(language) == "ja" else 1)
        + digits * _SYLLABLES_PER_DIGIT
        + spelled * _SYLLABLES_PER_CAPITAL
        + (letters - spelled) / _LETTERS_PER_SYLLABLE
    )


def speech_ms(text: str, language: str, *, pace: float = 1.0) -> int:
    """Milliseconds that a text takes at a voice's own speed. pace: of the engine, 2 is twice as fast."""
    spoken_s = syllables_of(text, language) / syllables_per_second(language)
    # The last mark's pause is cut off, or the timeline's.
    sentences = max(0, len(_SENTENCE_ENDS.findall(text)) - 1)
    pauses = (
        sentences * _PAUSE_MS["sentence"] + len(_PHRASE_ENDS.findall(text)) * _PAUSE_MS["phrase"]
    )
    return round((spoken_s * 1000 + pauses) / pace)
