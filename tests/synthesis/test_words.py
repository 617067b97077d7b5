"""A text's words, and the language its writing gives away."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthesis.words import join_words, language_of, split_words

_ALPHABET = "ab Zé09 한국말ㅋ 日本語のカナー「」『』。、っょ 中文，。（） ไทย العربية ,.!?…—'\"()[]%:; \n\t👩‍👩‍👧🇰🇷e\u0301"


@settings(max_examples=200, deadline=None)
@given(
    text=st.one_of(st.text(alphabet=_ALPHABET, max_size=120), st.text(max_size=60)),
    language=st.sampled_from(["en", "ko", "ja", "zh", "zh-TW", "th", "ar"]),
)
def test_words_joined_again_are_the_text_with_its_white_space_evened(
    text: str, language: str
) -> None:
    words = split_words(text, language)
    assert join_words(words) == " ".join(text.split())
    assert all(word.text and not any(c.isspace() for c in word.text) for word in words)


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("  Hello,\n there \t you ", "en", ["Hello,", "there", "you"]),
        ("비가 그치자, 아이들이 나왔다.", "ko", ["비가", "그치자,", "아이들이", "나왔다."]),
        ("「猫だ。」と", "ja", ["「猫", "だ。」", "と"]),
        ("ちょっと", "ja", ["ちょっ", "と"]),
        ("データ3.5GBです", "ja", ["デー", "タ", "3.5GB", "で", "す"]),
        ("他说：“好！”", "zh", ["他", "说：", "“好！”"]),
        ("我用Python写", "zh-CN", ["我", "用", "Python", "写"]),
        ("👩‍👩‍👧家", "ja", ["👩‍👩‍👧", "家"]),
        ("مرحبا بالعالم", "ar", ["مرحبا", "بالعالم"]),
        ("   ", "ko", []),
        ("", "ja", []),
    ],
)
def test_words_are_where_the_language_breaks_its_text(
    text: str, language: str, words: list[str]
) -> None:
    assert [word.text for word in split_words(text, language)] == words


def test_only_words_after_white_space_say_that_a_space_was_there() -> None:
    words = split_words("今日は 雨", "ja")
    assert [(word.text, word.space_before) for word in words] == [
        ("今", True),
        ("日", False),
        ("は", False),
        ("雨", True),
    ]
    assert all(word.space_before for word in split_words("one two three", "en"))


@pytest.mark.parametrize(
    ("text", "speakers", "language"),
    [
        ("Good morning.", "en", "en"),
        ("Guten Morgen.", "de", "de"),
        ("안녕하세요.", "en", "ko"),
        ("오늘은 Python을 배웁니다.", "en", "ko"),
        ("ㅋㅋㅋ", "en", "ko"),
        ("안녕하세요.", "ja", "ko"),
        ("안녕하세요.", "zh-TW", "ko"),
        ("今日は雨です。", "en", "ja"),
        ("カタカナ", "ko", "ja"),
        ("今日は雨です。", "ja", "ja"),
        ("今天下雨。", "en", "zh"),
        ("今天下雨。", "zh-TW", "zh-TW"),
        # Chinese characters alone may be Japanese: the speaker decides.
        ("東京", "ja", "ja"),
        ("Good morning.", "ko", "ko"),
        ("🙂 12", "fr", "fr"),
        ("Доброе утро, Anna.", "en", "ru"),
        ("صباح الخير", "en", "ar"),
        ("Say Доброе утро to all of them.", "en", "en"),
        ("Доброго ранку", "uk", "uk"),
    ],
)
def test_the_writing_tells_the_language_and_else_the_speakers_holds(
    text: str, speakers: str, language: str
) -> None:
    assert language_of(text, speakers) == language
