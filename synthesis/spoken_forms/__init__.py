"""Written words -> what is spoken: numbers, dates, money, units and abbreviations read out.

The speech model mumbles or loops at digits and symbols. English and Korean have rules; in other
languages only a tenant's own pronunciations apply.
"""

from collections.abc import Mapping, Sequence

from synthesis.spoken_forms import english, korean
from synthesis.spoken_forms.characters import composed, plain_characters, said_only
from synthesis.spoken_forms.pronunciations import respell
from synthesis.words import Word


def spoken_forms(
    words: Sequence[Word], language: str, pronunciations: Mapping[str, str] | None = None
) -> list[str]:
    """For each written word what is said for it; '' where nothing is (an emoji, a dash) or where
    it is said in a neighbour's.

    pronunciations: written -> spoken, said as given. Marks that shape prosody stay on their words.
    """
    if not words:
        return []
    base, _, region = language.replace("_", "-").lower().partition("-")
    has_rules = base in {"en", "ko"}
    written = [word.text for word in words]
    before = [plain_characters(text) if has_rules else composed(text) for text in written]
    line, stand_ins = respell("\n".join(before), pronunciations or {}, base)
    if base == "ko":
        line = korean.speak(line)
    elif base == "en":
        line = english.speak(line, british=region == "gb")
    after = line.split("\n")
    if has_rules:
        after = said_only(before, after)
        return [text.translate(stand_ins) for text in after]
    return [
        text if piece == kept else piece.translate(stand_ins)
        for text, kept, piece in zip(written, before, after, strict=True)
    ]
