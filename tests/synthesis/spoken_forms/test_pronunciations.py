"""A tenant's respellings come before every rule, and keep what clings to the word."""

import unicodedata
from collections.abc import Mapping

import pytest

from synthesis.spoken_forms import spoken_forms
from synthesis.words import split_words

ENTRIES = {
    "VoiceReel": "보이스릴",
    "SQL": "sequel",
    "New York": "Nyoo Yawk",
    "New": "noo",
    "Dr. Who": "Doctor Hoo",
    "MP3": "em pee 3",
    "New York City": "NYC",
    "C++": "see plus plus",
}


def per_word(text: str, language: str, entries: Mapping[str, str] = ENTRIES) -> list[str]:
    return spoken_forms(split_words(text, language), language, entries)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("sql", ["sequel"]),
        ('"SQL," he said', ['"sequel,"', "he", "said"]),
        ("SQL's", ["sequel's"]),
        ("SQL’s", ["sequel’s"]),
        ("NoSQL SQLite", ["NoSQL", "SQLite"]),
        ("New York!", ["Nyoo", "Yawk!"]),
        ("New York City.", ["NYC.", "", ""]),
        ("new shoes", ["noo", "shoes"]),
        ("Dr. Who and Dr. Strange", ["Doctor", "Hoo", "and", "Doctor", "Strange"]),
        ("C++ code", ["see plus plus", "code"]),
        ("an MP3 file", ["an", "em pee 3", "file"]),
    ],
)
def test_english_respellings(written: str, spoken: list[str]) -> None:
    assert per_word(written, "en") == spoken


def test_the_first_word_takes_the_extra() -> None:
    assert per_word("go New York", "en", {"New York": "the big apple"}) == [
        "go",
        "the big",
        "apple",
    ]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("VoiceReel을", "보이스릴을"),
        ("VoiceReel은 좋다.", "보이스릴은 좋다."),
        ("사과를 3개", "능금를 세 개"),
        ("사과나무", "사과나무"),
        ("사과에서도, 사과입니다.", "능금에서도, 능금입니다."),
        ("풋사과", "풋사과"),
    ],
)
def test_korean_respellings_take_particles(written: str, spoken: str) -> None:
    said = per_word(written, "ko", {**ENTRIES, "사과": "능금"})
    assert " ".join(said) == spoken


def test_entries_and_text_may_be_decomposed() -> None:
    apart = unicodedata.normalize("NFD", "사과")
    assert per_word(f"{apart}는", "ko", {"사과": "능금"}) == ["능금는"]
    assert per_word("사과는", "ko", {apart: "능금"}) == ["능금는"]


def test_other_languages_have_respellings_too() -> None:
    assert per_word("die SQL-Datei 3", "de") == ["die", "sequel-Datei", "3"]
    words = split_words("東京タワー", "ja")
    said = spoken_forms(words, "ja", {"東京": "とう きょう"})
    assert said == ["とう", "きょう", *[word.text for word in words[2:]]]


def test_an_empty_dictionary_or_entry_changes_nothing() -> None:
    assert per_word("SQL", "de", {}) == ["SQL"]
    assert per_word("SQL", "de", {" ": "x"}) == ["SQL"]
