"""What of a line is spoken, and in which pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthesis.engines.fish.line_text import spoken_text

SENTENCE = "The night train leaves the harbour a little after ten, when the last ferry is in. "


def texts(text: str, language: str = "en") -> list[str]:
    return [piece.text for piece in spoken_text(text, language, {}).pieces]


def test_a_short_line_is_one_piece_as_it_is_said() -> None:
    found = spoken_text("Meet me at 3:30 p.m.,   it costs $5. 🎉", "en", {})
    assert [piece.text for piece in found.pieces] == [
        "Meet me at three thirty p m, it costs five dollars."
    ]
    assert [word.text for word in found.words] == [
        "Meet", "me", "at", "3:30", "p.m.,", "it", "costs", "$5.", "🎉"
    ]  # fmt: skip
    assert found.spoken[-1] == ""


def test_a_long_line_is_cut_at_sentence_ends() -> None:
    found = texts(SENTENCE * 6)
    assert len(found) == 3
    assert all(piece == (SENTENCE * 2).strip() for piece in found)


def test_korean_is_measured_in_bytes() -> None:
    sentence = "저는 금요일마다 귤 한 봉지와 책을 들고 그 기차를 탔습니다. "
    found = texts(sentence * 6, "ko")
    assert all(len(piece.encode()) <= 200 for piece in found)
    assert all(piece.endswith("탔습니다.") for piece in found)
    assert " ".join(found) == (sentence * 6).strip()


def test_without_sentence_ends_it_is_cut_at_phrases_then_words_then_characters() -> None:
    phrases = texts("one two three four five six seven eight, " * 10)
    assert all(piece.endswith("eight,") for piece in phrases)
    words = texts("seven " * 100)
    assert all(set(piece.split()) == {"seven"} for piece in words)
    characters = texts("ㅋ" * 500, "ko")
    assert "".join(characters) == "ㅋ" * 500
    assert all(len(piece.encode()) <= 200 for piece in characters)


@pytest.mark.parametrize(
    "text",
    ["Hello, Za" + "\u0308" * 120, "a" + "\u0301" * 150, "\u1100" * 80, "\u0628" + "\u064b" * 120],
)
def test_a_letter_with_more_marks_than_fit_is_cut_too(text: str) -> None:
    found = texts(text, "de")
    assert all(0 < len(piece.encode()) <= 200 for piece in found)


def test_marks_alone_are_no_piece() -> None:
    sentence = "x" * 195 + " y."
    assert texts(f"{sentence} ... ...") == [sentence]


def test_languages_without_spaces_are_joined_without_them() -> None:
    assert texts("今天天气很好。我们去公园吧！", "zh") == ["今天天气很好。我们去公园吧！"]
    long = "今天天气很好。" * 20
    assert "".join(texts(long, "zh")) == long
    assert all(piece.endswith("。") for piece in texts(long, "zh"))


def test_pronunciations_are_said_and_the_written_form_is_kept() -> None:
    found = spoken_text("Ask SQL's author.", "en", {"sql": "sequel"})
    assert found.pieces[0].text == "Ask sequel's author."
    assert [word.text for word in found.words] == ["Ask", "SQL's", "author."]


@pytest.mark.parametrize(
    ("text", "language", "shortest_s", "longest_s"),
    [
        (SENTENCE, "en", 3.0, 6.0),
        ("안녕하세요, 만나서 반갑습니다.", "ko", 1.5, 4.0),
        ("Hi.", "en", 0.2, 1.0),
    ],
)
def test_the_expected_length_is_that_of_speech(
    text: str, language: str, shortest_s: float, longest_s: float
) -> None:
    [piece] = spoken_text(text, language, {}).pieces
    assert shortest_s < piece.expected_s < longest_s
    assert piece.sounding_s < piece.expected_s


@given(st.text(max_size=400), st.sampled_from(["en", "ko", "zh", "ja", "de", "ar"]))
def test_nothing_is_lost_between_words_and_pieces(text: str, language: str) -> None:
    found = spoken_text(text, language, {})
    said = "".join(found.spoken).replace(" ", "")
    pieces = "".join(piece.text for piece in found.pieces)
    # Marks between two pieces may be left out, letters never.
    assert [c for c in pieces if c.isalnum()] == [c for c in said if c.isalnum()]
    assert all(0 < len(piece.text.encode()) <= 200 for piece in found.pieces)
