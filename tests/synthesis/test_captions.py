"""Captions as viewers get them: read back by parsers that are not ours."""

import html
import itertools
import json
import random
import re
import time
from dataclasses import dataclass
from typing import Any

import pysubs2
import pytest
import regex
import srt
import webvtt
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from synthesis.captions import write_captions
from synthesis.timeline import SpokenClip, Timeline, place_lines
from synthesis.words import split_words

ENGINE_RATE = 24_000
PROSE = {
    "en": [
        "It was the best of times, it was the worst of times, it was the age of wisdom.",
        "There were a king with a large jaw and a queen with a plain face, on the throne.",
        "“Why?” she asked — and nobody, not even the old man by the door, had an answer.",
        "Half-price tickets (adults: $12.50; children: $6.25) are sold until 7:30 p.m.!",
        "He typed 3 < 5 && 5 > 3, pressed Enter, and waited.",
        "No.",
    ],
    "ko": [
        "나는 그날 아침 일찍 일어나 창문을 열고 차가운 바람을 오래도록 들이마셨다.",
        "소년은 개울가에서 소녀를 보자 곧 윤 초시네 증손녀 딸이라는 걸 알 수 있었다.",
        "“어디로 가십니까?” 하고 그가 물었지만, 노인은 아무 말 없이 고개만 저었다.",
        "2024년 3월 15일, GPU 16개로 학습한 Whisper 모델을 처음 공개했습니다.",
        "비가 그치자 아이들이 골목으로 쏟아져 나왔고, 웃음소리가 담장을 넘었다.",
        "그래요.",
    ],
    "ja": [
        "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
        "「今日はいい天気ですね」と、彼女は窓の外を見ながら静かに言った。",
        "新しいデータセンターでは、GPUを3,000基まで増やす予定だという。",
        "はい。",
    ],
    "zh": [
        "北京的冬季，地上还有积雪，灰黑色的秃树枝丫叉于晴朗的天空中。",
        "“你从哪里来？”老人问，孩子却低下头，一句话也没有说。",
        "他用Python写了一个小程序，只花了3.5个小时。",
        "好。",
    ],
    "ar": [
        "كان الرجل العجوز يصطاد السمك وحده في قارب صغير، ولم يصطد شيئا منذ أيام.",
        "مرحبا بالعالم، كيف حالك اليوم؟",
    ],
    "emoji": [
        "We won 🏆🎉 and the whole family 👩‍👩‍👧‍👦 danced until dawn 💃🏽 in 🇰🇷!",
        "👍🏽 👩🏾‍🚀 🏳️‍🌈 ❤️ 👨‍👩‍👧‍👦 1️⃣",
    ],
}
NAMES = [
    "Anna",
    "Al",
    "지은",
    "국립국어원 표준국어대사전 편찬위원장 김철수",
    "The Right Honourable Sir Bartholomew Featherstonehaugh-Cholmondeley of Kirkcudbright, KBE",
    "<b>Tom</b> & Jerry > Spike",
    "R&D &amp; <i>",
    "田中さくら",
    "ليلى",
    "Zoë 👩‍👩‍👧",
]


def clip(text: str, language: str, lengths: list[int], name: str, pause: int | None) -> SpokenClip:
    """A line spoken in words of these lengths (samples), used again and again."""
    words = split_words(text, language)
    cycled = list(itertools.islice(itertools.cycle(lengths), len(words)))
    edges = [0, *itertools.accumulate(cycled)]
    return SpokenClip(
        "",
        name,
        name,
        language,
        text,
        edges[-1],
        ENGINE_RATE,
        [
            (word.text, start, end, word.space_before)
            for word, (start, end) in zip(words, itertools.pairwise(edges), strict=True)
        ],
        "aligned",
        pause,
    )


def spoken(text: str, language: str, *, ms_per_character: int = 75, name: str = "Anna") -> Timeline:
    """One line at an even pace."""
    lengths = [
        len(word.text) * ms_per_character * ENGINE_RATE // 1000
        for word in split_words(text, language)
    ]
    return place_lines([clip(text, language, lengths, name, None)], 44_100)


@st.composite
def lines(draw: st.DrawFn) -> SpokenClip:
    """A line of prose, from one word to 2,000 characters, with words of any length."""
    kind = draw(st.sampled_from([*PROSE, "ko", "en"]))
    shuffled = random.Random(draw(st.integers(0, 1 << 30)))
    characters = draw(st.sampled_from([1, 1, 1, 60, 60, 60, 150, 150, 300, 300, 300, 2000]))
    text = shuffled.choice(PROSE[kind])
    if draw(st.integers(0, 9)) == 0:
        text = text.split()[0]
    while len(text) < characters:
        text += " " + shuffled.choice(PROSE[kind])
    text = text[:2000].strip()
    longest_ms = draw(st.sampled_from([30, 400, 400, 900, 3000, 8000]))
    lengths = [
        shuffled.randint(ENGINE_RATE // 100, ENGINE_RATE * longest_ms // 1000) for _ in range(50)
    ]
    return clip(
        text,
        "en" if kind == "emoji" else kind,
        lengths,
        draw(st.sampled_from(NAMES)),
        draw(st.one_of(st.none(), st.sampled_from([0, 40, 10_000]))),
    )


scripts = st.builds(
    place_lines,
    st.lists(lines(), min_size=1, max_size=3),
    st.sampled_from([8_000, 11_025, 22_050, 24_000, 44_100, 48_000]),
)
# One strategy, drawn from by many tests: together they must stay quick.
some_scripts = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@dataclass
class Captions:
    """The three files of one timeline."""

    json: dict[str, Any]
    vtt: str
    srt: str

    @property
    def cues(self) -> list[dict[str, Any]]:
        cues: list[dict[str, Any]] = self.json["cues"]
        return cues

    def vtt_times(self) -> list[tuple[int, int]]:
        return [
            (cue.start_time.in_milliseconds(), cue.end_time.in_milliseconds())
            for cue in webvtt.from_string(self.vtt)
        ]

    def srt_times(self) -> list[tuple[int, int]]:
        return [
            (round(cue.start.total_seconds() * 1000), round(cue.end.total_seconds() * 1000))
            for cue in srt.parse(self.srt)
        ]

    def vtt_rows(self) -> list[list[str]]:
        return [
            [html.unescape(row) for row in re.sub(r"</?v[^>]*>", "", cue.raw_text).split("\n")]
            for cue in webvtt.from_string(self.vtt)
        ]

    def srt_rows(self) -> list[list[str]]:
        return [cue.content.split("\n") for cue in srt.parse(self.srt)]


def captions(timeline: Timeline) -> Captions:
    files = write_captions(timeline, ["json", "vtt", "srt"])
    return Captions(json.loads(files["json"]), files["vtt"].decode(), files["srt"].decode())


def limit_and_width(row: str, language: str) -> tuple[float, float]:
    """How much a row may hold and does hold, counted by a rule of our own."""
    limits = {"ko": 16, "ja": 13, "zh": 16}
    clusters: list[str] = regex.findall(r"\X", row)
    if language not in limits:
        return 42, len(clusters)
    half = regex.compile(r"[\p{Latin}\p{Arabic}\p{Nd}\p{Zs}\p{P}\p{S}]")
    # Full-width punctuation takes a whole place; it is the narrow one that counts half.
    wide = regex.compile(r"[\u3000-\u30ff\uff01-\uff60\U0001f000-\U0001ffff]")
    return limits[language], sum(
        0.5 if half.match(cluster) and not wide.match(cluster) else 1 for cluster in clusters
    )


def plain(text: str) -> str:
    return "".join(text.split())


@some_scripts
@given(timeline=scripts)
def test_no_cue_overlaps_its_neighbour_and_none_is_empty(timeline: Timeline) -> None:
    files = captions(timeline)
    samples = [(cue["start_sample"], cue["end_sample"]) for cue in files.cues]
    for spans in (samples, files.vtt_times(), files.srt_times()):
        assert len(spans) == len(files.cues)
        assert all(start < end for start, end in spans)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
        assert spans[0][0] >= 0
    assert all(cue["text"].strip() for cue in files.cues)
    for cue in files.cues:
        spans = [(word["start_sample"], word["end_sample"]) for word in cue["words"]]
        assert spans[0][0] == cue["start_sample"]
        assert spans[-1][1] == cue["end_sample"]
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


@some_scripts
@given(timeline=scripts)
def test_the_last_cue_ends_inside_the_file(timeline: Timeline) -> None:
    files = captions(timeline)
    assert files.json["duration_ms"] == timeline.duration_ms
    assert files.cues[-1]["end_sample"] <= timeline.sample_count
    assert files.cues[-1]["end_ms"] <= timeline.duration_ms
    assert files.vtt_times()[-1][1] <= timeline.duration_ms
    assert files.srt_times()[-1][1] <= timeline.duration_ms


@some_scripts
@given(timeline=scripts)
def test_the_words_of_all_cues_are_the_words_of_the_script(timeline: Timeline) -> None:
    shown = [[word["text"] for word in cue["words"]] for cue in captions(timeline).cues]
    words = [word.text for line in timeline.lines for word in line.words]
    every_word_fits = all(
        limit_and_width(word.text, line.language)[0] >= limit_and_width(word.text, line.language)[1]
        for line in timeline.lines
        for word in line.words
    )
    if every_word_fits:
        assert list(itertools.chain(*shown)) == words
    assert "".join(itertools.chain(*shown)) == "".join(words)


@some_scripts
@given(timeline=scripts)
def test_every_row_keeps_to_its_languages_limit(timeline: Timeline) -> None:
    files = captions(timeline)
    language_of_cue = [
        next(
            line.language
            for line in timeline.lines
            if line.start_sample <= cue["start_sample"] < line.end_sample
        )
        for cue in files.cues
    ]
    for rows_of_cues in (files.vtt_rows(), files.srt_rows()):
        for rows, language in zip(rows_of_cues, language_of_cue, strict=True):
            assert 1 <= len(rows) <= 2
            for row in rows:
                limit, width = limit_and_width(row, language)
                assert width <= limit, row


@some_scripts
@given(timeline=scripts)
def test_rows_of_spaced_languages_break_at_spaces_only(timeline: Timeline) -> None:
    assume(all(line.language in {"ko", "en", "ar"} for line in timeline.lines))
    assume(
        all(
            limit_and_width(word.text, line.language)[1]
            <= limit_and_width(word.text, line.language)[0]
            for line in timeline.lines
            for word in line.words
        )
    )
    rows = [word for rows in captions(timeline).vtt_rows() for row in rows for word in row.split()]
    assert rows == [word for line in timeline.lines for word in line.text.split()]


@some_scripts
@given(timeline=scripts)
def test_a_cue_of_several_words_lasts_at_most_seven_seconds(timeline: Timeline) -> None:
    files = captions(timeline)
    for cue in files.cues:
        if len(cue["words"]) > 1:
            assert cue["end_sample"] - cue["start_sample"] <= 7 * timeline.sample_rate
    for cue, spans in zip(
        files.cues, zip(files.vtt_times(), files.srt_times(), strict=True), strict=True
    ):
        if len(cue["words"]) > 1:
            assert all(end - start <= 7001 for start, end in spans)


@some_scripts
@given(timeline=scripts)
def test_two_parsers_each_read_the_same_times_and_text_as_the_json(timeline: Timeline) -> None:
    files = captions(timeline)
    starts = [cue["start_ms"] for cue in files.cues]
    texts = [cue["text"] for cue in files.cues]
    names = [" ".join(cue["speaker"].split()) for cue in files.cues]
    exact = [cue["start_sample"] * 1000 / timeline.sample_rate for cue in files.cues]
    assert all(abs(start - place) <= 0.5 for start, place in zip(starts, exact, strict=True))

    by_webvtt = files.vtt_times()
    by_pysubs2 = pysubs2.SSAFile.from_string(files.vtt, "vtt", keep_html_tags=True)
    assert [start for start, _ in by_webvtt] == starts
    assert [(cue.start, cue.end) for cue in by_pysubs2] == by_webvtt
    for cue, also, text, name in zip(
        webvtt.from_string(files.vtt), by_pysubs2, texts, names, strict=True
    ):
        assert plain(html.unescape(re.sub("<[^>]*>", "", cue.raw_text))) == plain(text)
        assert html.unescape(cue.voice or "") == name
        tag, rest = also.text.removesuffix("</v>").split(">", 1)
        assert html.unescape(tag) == f"<v {name}"
        assert plain(html.unescape(rest.replace(r"\N", " "))) == plain(text)

    by_srt = files.srt_times()
    also_srt = pysubs2.SSAFile.from_string(files.srt, "srt", keep_html_tags=True)
    assert [start for start, _ in by_srt] == starts
    assert [(cue.start, cue.end) for cue in also_srt] == by_srt
    assert [cue.index for cue in srt.parse(files.srt)] == list(range(1, len(starts) + 1))
    for srt_cue, also, text, name in zip(srt.parse(files.srt), also_srt, texts, names, strict=True):
        assert srt_cue.content == also.text.replace(r"\N", "\n")
        assert plain(srt_cue.content).endswith(plain(text))
        prefix = plain(srt_cue.content).removesuffix(plain(text))
        assert prefix.endswith(":")
        assert plain(name).startswith(prefix.removesuffix(":").removesuffix("…"))


def test_webvtt_is_strictly_valid_and_names_the_speaker_as_the_voice() -> None:
    timeline = place_lines(
        [
            clip("3 --> 4 <i>is</i> R&D.", "en", [9_000], "Tom & <Jerry>", None),
            clip("네, 맞아요.", "ko", [9_000], "지은", None),
        ],
        48_000,
    )
    vtt = captions(timeline).vtt
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> ")
    assert "<v Tom &amp; &lt;Jerry&gt;>3 --&gt; 4 &lt;i&gt;is&lt;/i&gt; R&amp;D.</v>" in vtt
    assert "<v 지은>네, 맞아요.</v>" in vtt
    assert len(list(webvtt.from_string(vtt, strict=True))) == 2


def test_a_word_that_fits_a_row_is_never_cut() -> None:
    timeline = spoken(
        "저는 오늘도 아이스아메리카노를 마시며 오스트레일리아에서는 커뮤니케이션학과를 다녔어요.",
        "ko",
        name="아주아주긴이름을가진화자",
    )
    files = captions(timeline)
    shown = [word["text"] for cue in files.cues for word in cue["words"]]
    assert shown == timeline.lines[0].text.split()
    assert [w for rows in files.srt_rows() for row in rows for w in row.split()][-1] == "다녔어요."
    address = "Read https://example.com/a/long/address now."
    shown = [word["text"] for cue in captions(spoken(address, "en")).cues for word in cue["words"]]
    assert shown == address.split()


def test_a_word_longer_than_a_row_is_cut_between_characters_only() -> None:
    family = "👩‍👩‍👧‍👦"
    timeline = spoken(family * 100, "en")
    rows = [row for rows in captions(timeline).vtt_rows() for row in rows]
    assert "".join(rows) == family * 100
    assert all(len(row) % len(family) == 0 and len(row) <= 42 * len(family) for row in rows)


def test_a_long_speaker_name_takes_at_most_half_a_row() -> None:
    name = "The Right Honourable Sir Bartholomew Featherstonehaugh"
    files = captions(spoken("Good evening to all of you.", "en", name=name))
    assert files.srt_rows()[0][0].startswith("The Right Honourab…: ")
    assert files.cues[0]["speaker"] == name


def test_a_short_cue_lingers_to_be_read_but_never_into_the_next() -> None:
    timeline = place_lines(
        [
            clip("Yes.", "en", [4_800], "Anna", 300),
            clip("No.", "en", [4_800], "Ben", 10_000),
            clip("Why?", "en", [4_800], "Anna", None),
        ],
        44_100,
    )
    files = captions(timeline)
    assert [(cue["start_ms"], cue["end_ms"]) for cue in files.cues] == [
        (0, 200),
        (500, 700),
        (10_700, 10_900),
    ]
    assert files.vtt_times() == [(0, 500), (500, 1_500), (10_700, 11_100)]
    assert files.srt_times() == files.vtt_times()


def test_captions_of_the_longest_line_take_less_than_two_seconds_of_work() -> None:
    timeline = spoken(("".join(PROSE["ja"]) * 20)[:2_000], "ja", ms_per_character=160)
    began = time.process_time()
    captions(timeline)
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    ("text", "language", "ms_per_character", "rows"),
    [
        (
            "When the rain finally stopped, the children ran out into the street, laughing and "
            "shouting, and for a moment the whole town seemed to have been waiting for them.",
            "en",
            75,
            [
                ["When the rain finally stopped,"],
                ["the children ran out into", "the street, laughing and shouting,"],
                ["and for a moment the whole town", "seemed to have been waiting for them."],
            ],
        ),
        (
            "비가 그치자 아이들이 골목으로 쏟아져 나왔고, 웃음소리가 담장을 넘어 온 동네로 "
            "퍼져 나갔다. 할머니는 창가에 앉아 그 모습을 오래도록 바라보았다.",
            "ko",
            160,
            [
                ["비가 그치자 아이들이", "골목으로 쏟아져 나왔고,"],
                ["웃음소리가 담장을", "넘어 온 동네로 퍼져 나갔다."],
                ["할머니는 창가에 앉아 그", "모습을 오래도록 바라보았다."],
            ],
        ),
    ],
    ids=["English", "Korean"],
)
def test_a_long_line_breaks_where_a_reader_would_pause(
    text: str, language: str, ms_per_character: int, rows: list[list[str]]
) -> None:
    timeline = spoken(text, language, ms_per_character=ms_per_character)
    assert captions(timeline).vtt_rows() == rows
