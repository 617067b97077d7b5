"""A text's words: what captions count, place and never change."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import regex

# Written without spaces: there a word is a character with the punctuation that clings to it.
UNSPACED_LANGUAGES = frozenset({"ja", "zh", "th"})

# Runs that must not be cut: Latin words and numbers; opening brackets go with what follows, and
# closing ones, marks and small kana with what precedes (Japanese line-breaking rules, JIS X 4051).
_UNSPACED_UNIT = regex.compile(
    r"[「『（【《〈“‘(\[]*"
    r"(?:[\p{Latin}\p{N}][\p{Latin}\p{N}\p{M}'’.,:%-]*|\X)"
    r"[」』）】》〉”’)\]、。，．！？!?…‥ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ：；・]*"
)


@dataclass(frozen=True)
class Word:
    """A word as written. ``space_before`` says whether white space stands before it."""

    text: str
    space_before: bool


def split_words(text: str, language: str) -> list[Word]:
    """The words of a text, in order: joined again they give the text with its white space evened."""
    words: list[Word] = []
    for chunk in text.split():
        if language.split("-")[0] in UNSPACED_LANGUAGES:
            units = [unit for unit in _UNSPACED_UNIT.findall(chunk) if unit] or [chunk]
        else:
            units = [chunk]
        words += [Word(unit, space_before=index == 0) for index, unit in enumerate(units)]
    return words


def join_words(words: Sequence[Word]) -> str:
    """The text of consecutive words."""
    return "".join(
        (" " if word.space_before and index else "") + word.text for index, word in enumerate(words)
    )


_SCRIPT_LANGUAGES = (
    (re.compile(r"[가-힣ᄀ-ᇿ㄰-㆏]"), "ko"),
    (re.compile(r"[ぁ-ヿ]"), "ja"),
    (re.compile(r"[一-鿿]"), "zh"),
)
# Letters that languages we speak have alone; a foreign name or two does not make a line theirs.
_LETTER_LANGUAGES = (
    (regex.compile(r"\p{Cyrillic}"), "ru"),
    (regex.compile(r"\p{Arabic}"), "ar"),
)
# Speakers of other languages may write in these letters too, as Ukrainian is: they are not overruled.
_OTHER_LETTERS = frozenset({"en", "de", "fr", "es", "nl", "it", "pl", "pt", "ko", "ja", "zh"})
_LETTER = regex.compile(r"\p{L}")


def language_of(text: str, default: str) -> str:
    """The language that the writing system gives away, else ``default`` (the speaker's)."""
    if text.isascii():
        return default
    if default.split("-")[0] in {"ja", "zh"} and not re.search(r"[가-힣]", text):
        return default
    for pattern, language in _SCRIPT_LANGUAGES:
        if pattern.search(text):
            return language
    if default.split("-")[0] not in _OTHER_LETTERS:
        return default
    letters = len(_LETTER.findall(text))
    for pattern, language in _LETTER_LANGUAGES:
        if 2 * len(pattern.findall(text)) > letters:
            return language
    return default
