"""What is said for what is written: korean.tsv and english.tsv, written<TAB>spoken."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthesis.spoken_forms import spoken_forms
from synthesis.words import split_words

TABLES = Path(__file__).parent


def rows(table: str) -> list[tuple[str, str]]:
    lines = (TABLES / table).read_text(encoding="utf-8").splitlines()
    cells = [line.split("\t") for line in lines if "\t" in line]
    return [(written, spoken) for written, spoken in cells]


def per_word(text: str, language: str, **pronunciations: str) -> list[str]:
    return spoken_forms(split_words(text, language), language, pronunciations)


def aloud(text: str, language: str) -> str:
    return " ".join(said for said in per_word(text, language) if said)


@pytest.mark.parametrize(("written", "spoken"), rows("korean.tsv"))
def test_korean_is_read_as_a_native_speaker_reads_it(written: str, spoken: str) -> None:
    assert aloud(written, "ko-KR") == spoken


@pytest.mark.parametrize(("written", "spoken"), rows("english.tsv"))
def test_english_is_read_as_a_newsreader_reads_it(written: str, spoken: str) -> None:
    assert aloud(written, "en-US") == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("105", "one hundred and five"),
        ("1,005", "one thousand and five"),
        ("15/1/2024", "the fifteenth of January twenty twenty-four"),
        ("2024-01-15", "the fifteenth of January twenty twenty-four"),
        ("in 2007", "in two thousand and seven"),
        ("Mr Smith", "Mister Smith"),
    ],
)
def test_the_british_say_and_and_put_the_day_first(written: str, spoken: str) -> None:
    assert aloud(written, "en-GB") == spoken


@pytest.mark.parametrize(
    ("language", "written", "spoken"),
    [
        ("en", "$5 million.", ["five", "million dollars."]),
        ("en", "Jan. 5, 2024", ["January", "fifth,", "twenty twenty-four"]),
        ("en", "5 km", ["five", "kilometers"]),
        ("en", "5 - 10", ["five", "to", "ten"]),
        ("en", "2 1/2 cups", ["two", "and a half", "cups"]),
        ("en", "so 😀 — what?", ["so", "", "", "what?"]),
        ("ko", "3시 30분에", ["세 시", "삼십 분에"]),
        ("ko", "3 ~ 5개", ["세 개에서", "", "다섯 개"]),
        ("ko", "3:30 PM.", ["오후", "세 시 삼십 분."]),
        ("ko", "2024. 1. 15. 발표", ["이천이십사 년", "일월", "십오 일", "발표"]),
        ("ko", "사과 3 개를", ["사과", "세", "개를"]),
        ("ko", "1 월 2 일", ["일", "월", "이", "일"]),
    ],
)
def test_each_written_word_gets_its_own_part(
    language: str, written: str, spoken: list[str]
) -> None:
    assert per_word(written, language) == spoken


def test_other_languages_are_left_alone() -> None:
    assert per_word("3,5 kg für 5 €", "de") == ["3,5", "kg", "für", "5", "€"]
    assert per_word("3時です。", "ja") == [word.text for word in split_words("3時です。", "ja")]


def test_no_words_say_nothing() -> None:
    assert spoken_forms([], "ko") == []


ANY_TEXT = st.one_of(
    st.text(max_size=80),
    # What the rules look at, in any order.
    st.lists(
        st.sampled_from(
            [
                "1",
                "2",
                "0",
                "10",
                "15",
                "2024",
                "1,000",
                "3.5",
                ".",
                ",",
                ":",
                ";",
                "-",
                "–",
                "~",
                "/",
                "%",
                "$",
                "₩",
                "€",
                "+",
                "=",
                "#",
                "@",
                "&",
                "'",
                '"',
                "(",
                ")",
                "a.m.",
                "p.m.",
                "Jan.",
                "May",
                "St.",
                "No.",
                "km",
                "kg",
                "°C",
                "th",
                "시",
                "분",
                "월",
                "일",
                "년",
                "개",
                "번",
                "대",
                "원",
                "만",
                "억",
                "에서",
                "제",
                "여",
                "A",
                "MP3",
                "VIII",
                "Chapter",
                "010",
                "½",
                "²",
                "①",
                "٣",
                "😀",
                "X",
                "example.com",
            ]
            + [" "] * 20
        ),
        max_size=30,
    ).map("".join),
)


@pytest.mark.parametrize("language", ["ko", "en", "en-GB"])
@settings(max_examples=150, deadline=None)
@given(text=ANY_TEXT)
def test_any_text_keeps_its_words_and_loses_its_figures(language: str, text: str) -> None:
    words = split_words(text, language)
    spoken = spoken_forms(words, language)
    assert len(spoken) == len(words)
    assert not any(character in "0123456789" for said in spoken for character in said)


@settings(max_examples=150, deadline=None)
@given(text=ANY_TEXT)
def test_korean_letters_are_neither_lost_nor_moved(text: str) -> None:
    said = iter("".join(per_word(text, "ko")))
    assert all(letter in said for letter in text if "가" <= letter <= "힣")


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize(
    "text",
    ["1" * 2000, "1," * 1000, "1-" * 1000, "1.1:" * 500, "1 " * 1000, "(1)" * 666, "-" * 2000,
     "1,111" * 400, "$1~" * 666, "a1" * 1000, "1 - " * 500, "a." * 1000, "A " * 1000, "가1" * 1000,
     "000-" * 500, "1/1 " * 500, "+1 (1" * 333, "@a." * 666, "I" * 2000, "1\u00bd" * 1000],
)  # fmt: skip
def test_no_text_takes_long(text: str, language: str) -> None:
    words = split_words(text, language)
    spoken_forms(split_words("1", language), language)  # compiled once per process
    start = time.process_time()
    spoken_forms(words, language)
    assert time.process_time() - start < 0.2
