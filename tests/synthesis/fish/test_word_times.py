"""Word times of lines that come without: against Kokoro's own, a person, and made sound."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
import webrtcvad

from speakers.decoding import Waveform
from synthesis.engines.base import LineToSpeak, SpokenLine
from synthesis.engines.kokoro import KokoroEngine
from synthesis.words import Word, split_words
from tests.e2e.human_speech import OPENING, two_cities

pytest.importorskip("pocketsphinx", reason="The aligner is not installed: requirements-gpu.txt")

from synthesis.engines.fish import word_times as module
from synthesis.engines.fish.word_times import AlignmentFailed, WordTimes, word_times

RATE = 44_100

# Text, voice, and what is said for the words that are not said as they are written.
LINES: list[tuple[str, str, dict[str, str]]] = [
    ("Good morning, and welcome back to the show.", "af_heart", {}),
    ("We moved in three years ago, in the spring.", "bm_daniel", {}),
    ("Somebody has to, if we want a seat; otherwise we stand.", "af_heart", {}),
    (
        "I paid $5 for 12 apples at Dr. Smith's well-known orchard!",
        "am_michael",
        {"$5": "five dollars", "12": "twelve", "Dr.": "doctor"},
    ),
    ("Kaladin said to Zorblax: don't go beyond the Xylander gate.", "am_michael", {}),
    ("A little less than an hour and a half.", "bf_emma", {}),
]


def times(
    waveform: Waveform, text: str, language: str = "en", said: dict[str, str] | None = None
) -> WordTimes:
    """The times of a text's words, checked for what always holds."""
    words = split_words(text, language)
    spoken = [(said or {}).get(word.text, word.text) for word in words]
    found = word_times(waveform.astype(np.float32), RATE, words, spoken, language)
    assert_in_order(found, waveform, words)
    return found


def assert_in_order(found: WordTimes, waveform: Waveform, words: Sequence[Word]) -> None:
    assert len(found.spans) == len(words)
    assert found.spans[0][0] == 0
    assert found.spans[-1][1] == len(waveform)
    previous = 0
    for start, end in found.spans:
        assert previous <= start <= end <= len(waveform)
        assert start < end or len(waveform) < len(words)
        previous = end


@pytest.fixture(scope="module")
def kokoro_lines() -> list[tuple[SpokenLine, Waveform]]:
    """The lines as the embedded engine speaks them, and their sound at our rate."""
    made = []
    engine = KokoroEngine()
    for text, preset, _ in LINES:
        (line,) = engine.speak(
            [LineToSpeak(0, text, "en", 1.0, 0, {"preset": preset})], threading.Event()
        )
        assert isinstance(line, SpokenLine)
        made.append((line, soxr.resample(line.waveform, line.sample_rate, RATE)))
    return made


def noise(seconds: float, level: float = 0.1) -> Waveform:
    samples = np.random.default_rng(0).standard_normal(round(seconds * RATE)) * level
    return samples.astype(np.float32)


@pytest.mark.services  # the embedded engine speaks first
def test_english_words_begin_where_kokoro_put_them(
    kokoro_lines: list[tuple[SpokenLine, Waveform]],
) -> None:
    """Measured: median 27 ms, 90 % within 50 ms. Kokoro's own frames are 25 ms long."""
    differences_ms: list[float] = []
    for (text, _, said), (line, waveform) in zip(LINES, kokoro_lines, strict=True):
        found = times(waveform, text, said=said)
        assert found.timing == "aligned"
        differences_ms += [
            1000 * abs(start / RATE - word.start_sample / line.sample_rate)
            for (start, _), word in zip(found.spans[1:], line.words[1:], strict=True)
        ]
    assert np.median(differences_ms) <= 45
    assert np.percentile(differences_ms, 90) <= 90


@pytest.mark.services  # the embedded engine speaks first
def test_a_word_begins_where_the_silence_before_it_ends(
    kokoro_lines: list[tuple[SpokenLine, Waveform]],
) -> None:
    silence = np.zeros(RATE * 4 // 10, np.float32)
    for first, second in ((0, 2), (1, 5), (2, 0), (5, 1)):
        before, after = kokoro_lines[first][1], kokoro_lines[second][1]
        found = times(
            np.concatenate([before, silence, after]), f"{LINES[first][0]} {LINES[second][0]}"
        )
        word = len(LINES[first][0].split())
        onset = len(before) + len(silence) + RATE // 100  # lines keep 10 ms before their speech
        assert abs(found.spans[word][0] - onset) <= 0.040 * RATE
        assert found.spans[word - 1][1] <= len(before) + 0.020 * RATE


@pytest.mark.services  # the embedded engine speaks first
def test_a_word_does_not_begin_in_the_pause_before_it(
    kokoro_lines: list[tuple[SpokenLine, Waveform]],
) -> None:
    line, waveform = kokoro_lines[0]
    found = times(waveform, LINES[0][0])
    assert line.words[2].text == "and"  # 180 ms after "morning,", of which the aligner hears 100
    assert abs(found.spans[2][0] / RATE - line.words[2].start_sample / line.sample_rate) <= 0.030


def test_a_persons_phrases_begin_where_a_voice_detector_hears_them() -> None:
    """Measured: median 22 ms, at most 62 ms. The detector's frames are 10 ms long."""
    recording, rate = soundfile.read(two_cities(), dtype="float32")
    recording = recording[
        round(1.1 * rate) : round(41.8 * rate)
    ]  # breath and room before and after
    found = times(soxr.resample(recording, rate, RATE), OPENING, said={"--": ""})

    detector = webrtcvad.Vad(3)
    size = rate // 100
    pcm = np.round(recording * 32767).astype("<i2")
    voiced = [
        detector.is_speech(pcm[at : at + size].tobytes(), rate)
        for at in range(0, len(pcm) - size, size)
    ]
    onsets_s = [
        frame / 100
        for frame in range(20, len(voiced))
        if voiced[frame] and not any(voiced[frame - 20 : frame])
    ]
    starts_s = np.array([start / RATE for start, _ in found.spans])
    misses_s = [np.min(np.abs(starts_s - onset)) for onset in onsets_s]
    assert len(misses_s) >= 10
    assert np.median(misses_s) <= 0.045
    assert np.max(misses_s) <= 0.120


@pytest.mark.services  # the embedded engine speaks first
def test_each_written_word_has_the_time_of_all_its_spoken_words(
    kokoro_lines: list[tuple[SpokenLine, Waveform]],
) -> None:
    text, _, said = LINES[3]
    line, waveform = kokoro_lines[3]
    found = times(waveform, text, said=said)
    start, end = found.spans[2]
    assert line.words[2].text == "$5"
    assert 0.7 < (end - start) / RATE < 1.0  # "five dollars", not "five" alone
    assert abs(end / RATE - line.words[2].end_sample / line.sample_rate) < 0.1


@pytest.mark.services  # the embedded engine speaks first
def test_what_is_not_spoken_shares_the_time_of_the_word_before(
    kokoro_lines: list[tuple[SpokenLine, Waveform]],
) -> None:
    text = "Good morning, 🙂 and — welcome back to the show."
    found = times(kokoro_lines[0][1], text, said={"🙂": "", "—": ""})
    plain = times(kokoro_lines[0][1], LINES[0][0])
    assert (found.spans[1][0], found.spans[2][1]) == plain.spans[1]
    assert (found.spans[3][0], found.spans[4][1]) == plain.spans[2]


@pytest.mark.parametrize(
    ("unit", "phones"),
    [
        ("zorblax", "Z AO R B L AE K S"),
        ("Kaladin", "K AE L AH D IH N"),
        ("bird", "B ER D"),
        ("better", "B EH T ER"),
        ("joyous", "JH OY AH S"),
        ("US", "Y UW EH S"),
        ("안녕", "+SPN+"),
    ],
)
def test_words_that_no_dictionary_has_get_phones_of_the_aligner(unit: str, phones: str) -> None:
    assert " ".join(module._phones(unit)) == phones


@pytest.mark.parametrize("seconds_per_word", [0.3, 0.6, 2.0])
@pytest.mark.parametrize("kind", ["white", "brown", "silence", "tone"])
def test_english_is_aligned_even_where_there_is_only_noise(
    kind: str, seconds_per_word: float
) -> None:
    text = "\"It's\" the Zorblax' café: well-known, 안녕 to U.S. rock'n'roll — STOP! 'Tis I."
    length = round(seconds_per_word * len(text.split()) * RATE)
    sound = {
        "white": noise(length / RATE),
        "brown": np.cumsum(noise(length / RATE)) * 0.01,
        "silence": np.zeros(length),
        "tone": 0.5 * np.sin(np.arange(length) * 0.02),
    }[kind]
    assert times(sound, text, said={"—": ""}).timing == "aligned"


@pytest.mark.parametrize("samples", [0, 1, 160, 500, 1_000, RATE // 2])
def test_sound_too_short_for_its_words_is_refused(samples: int) -> None:
    with pytest.raises(AlignmentFailed, match="too short for its 7 spoken words"):
        times(
            noise(samples / RATE),
            "Extraordinary circumstances necessitate extraordinarily long-winded sentences.",
        )


@pytest.mark.services  # the embedded engine speaks first
def test_threads_share_the_aligner_and_get_the_same_times(
    kokoro_lines: list[tuple[SpokenLine, Waveform]],
) -> None:
    expected = [times(w, line[0]) for line, (_, w) in zip(LINES[:2], kokoro_lines[:2], strict=True)]
    found: dict[int, WordTimes] = {}

    def work(number: int) -> None:
        found[number] = times(kokoro_lines[number % 2][1], LINES[number % 2][0])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(6)] == expected * 3


def test_memory_does_not_grow_with_words_that_no_dictionary_has() -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def speak(numbers: range) -> None:
        for number in numbers:
            name = "".join("bdgklmnprstvz"[number // 13**i % 13] + "aeiou"[i] for i in range(3))
            times(noise(0.4), f"{name}x")

    speak(range(20))
    before = resident_bytes()
    speak(range(20, 200))
    assert resident_bytes() - before < 2_000_000


def test_the_aligners_dictionary_is_renewed_before_it_grows_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MOST_ADDED_WORDS", 3)
    for name in ("zorblok", "zorblim", "zorblat", "zorblend", "zorblusk"):
        assert times(noise(1.5), f"The {name} the {name}.").timing == "aligned"
        assert module._aligner._added <= 3


# Made speech: a syllable is a burst of 160 ms, as long and as regular as in calm Korean.
SYLLABLE_S = 0.160


def made_speech(phrases: Sequence[int | float]) -> Waveform:
    """Bursts for an int of syllables, and silence for a float of seconds, in turn."""
    pieces: list[npt.NDArray[np.floating]] = []
    shape = 0.3 + 0.7 * np.sin(np.linspace(0, np.pi, round(SYLLABLE_S * RATE)))
    for part in phrases:
        if isinstance(part, float):
            pieces.append(np.zeros(round(part * RATE)))
        else:
            pieces.append(noise(part * SYLLABLE_S)[: part * len(shape)] * np.tile(shape, part))
    return np.concatenate(pieces).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "phrases", "expected_syllables_s"),
    [
        # Nothing but syllables.
        ("우리는 내일 만나요", [8], [(0, 0), (3, 0), (5, 0)]),
        # A pause at the comma.
        ("안녕하세요, 오늘은 날씨가 좋네요.", [5, 0.5, 9], [(0, 0), (5, 0.5), (8, 0.5), (11, 0.5)]),
        # At the mark, though the boundary without one is nearer in proportion.
        ("그는 문을, 열고 나갔다.", [6, 0.4, 4], [(0, 0), (3, 0), (6, 0.4), (7.6, 0.4)]),
        # Where no mark is.
        ("어머니는 저녁을 다시 데웠다", [7, 0.3, 5], [(0, 0), (4, 0), (7, 0.3), (9, 0.3)]),
        # Two pauses, the second within a word: a closure that lasted.
        (
            "네. 대한민국에서 왔습니다.",
            [1, 0.6, 3, 0.13, 3, 4],
            [(0, 0), (1, 0.6), (7, 0.73)],
        ),
        # A dash that is not spoken is punctuation too.
        ("모두가 떠났다 — 그날은", [4, 0.5, 4], [(0, 0), (2, 0), None, (4, 0.5)]),
        # Digits are read as Sino-Korean: 이천이십사년.
        ("2024년 서울", [8], [(0, 0), (6, 0)]),
    ],
)
def test_other_languages_are_spread_by_syllables_between_their_pauses(
    text: str,
    phrases: Sequence[int | float],
    expected_syllables_s: Sequence[tuple[float, float] | None],
) -> None:
    found = times(made_speech(phrases), text, "ko", said={"—": ""})
    assert found.timing == "estimated"
    for (start, _), expected in zip(found.spans, expected_syllables_s, strict=True):
        if expected is not None:
            syllables, pauses_s = expected
            assert abs(start / RATE - (syllables * SYLLABLE_S + pauses_s)) <= 0.050


def test_a_word_before_a_pause_ends_where_the_pause_begins() -> None:
    found = times(made_speech([5, 0.5, 9]), "안녕하세요, 오늘은 날씨가 좋네요.", "ko")
    assert abs(found.spans[0][1] / RATE - 5 * SYLLABLE_S) <= 0.030


@pytest.mark.parametrize(
    ("language", "text", "shares"),
    [
        ("ja", "きょうは がっこう", [3, 4]),  # small kana join the one before; っ is a mora
        ("ja", "東京 まで", [4, 2]),  # a kanji is two morae
        ("zh", "你好 二零二四年", [2, 5]),
        ("zh", "25 好", [3, 1]),  # 二十五
        ("ko", "KBS 방송국", [3, 3]),  # spelled
        ("de", "Überraschung am See", [4, 1, 1]),
        ("fr", "été beau", [2, 1]),
        ("es", "25 días", [4, 1]),
        ("ru", "Привет мир", [2, 1]),
        ("ar", "مرحبا كيف", [3, 2]),
    ],
)
def test_a_word_is_as_long_as_its_syllables(
    language: str, text: str, shares: Sequence[int]
) -> None:
    words = [Word(part, True) for part in text.split()]
    found = word_times(noise(3), RATE, words, [word.text for word in words], language)
    lengths = np.array([end - start for start, end in found.spans]) / (3 * RATE)
    assert lengths == pytest.approx(np.array(shares) / sum(shares), abs=0.001)


@pytest.mark.parametrize("language", ["ko", "zh"])
@pytest.mark.parametrize("samples", [0, 1, 3, 8, 400, RATE])
def test_words_are_in_order_however_short_the_sound(language: str, samples: int) -> None:
    times(noise(samples / RATE), "가 나, 다! 라 🙂 마", language, said={"🙂": ""})
    times(np.zeros(samples, np.float32), "가 나, 다! 라 마", language)


def test_a_long_line_with_many_pauses_takes_no_long_time() -> None:
    # Ten minutes and 1,500 characters: more boundaries and pauses than are all compared.
    text = "你好世界今天天气很好，" * 150
    found = times(made_speech([10, 0.3] * 150), text, "zh")
    starts_s = np.array([start / RATE for start, _ in found.spans])
    assert abs(starts_s[10] - (10 * SYLLABLE_S + 0.3)) <= 0.050
    assert abs(starts_s[1490] - 149 * (10 * SYLLABLE_S + 0.3)) <= 0.050
