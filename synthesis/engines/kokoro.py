"""The embedded engine: Kokoro-82M on the CPU, a dozen preset voices, word times of its own.

It does not clone. A registered speaker gets the nearest preset that is free, moved towards the
reference in pitch and colour where that measurably helps. It is deterministic: the seed changes
nothing.
"""

import itertools
import json
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import regex
from django.conf import settings
from django.utils.translation import gettext as _

from speakers.decoding import Waveform
from synthesis import stored_sentences as stored
from synthesis.engines import colour, english, korean
from synthesis.engines.base import (
    EngineError,
    FailedLine,
    Length,
    LineToSpeak,
    PreparedVoice,
    SpokenLine,
    SpokenWord,
)
from synthesis.engines.fish.languages import LANGUAGES
from synthesis.engines.kokoro_graph import (
    MOST_TOKENS,
    SAMPLE_RATE,
    SAMPLES_PER_FRAME,
    KokoroNetwork,
)
from synthesis.engines.pace import speech_ms
from synthesis.engines.phonemes import FrontEnd, Phones
from synthesis.engines.trimming import faded, speech_edges
from synthesis.spoken_forms import spoken_forms
from synthesis.words import Word, join_words, split_words

_VOICES = Path(__file__).with_name("voices")

# Longer stretches lose their melody and may pass the network's context.
_LONGEST_STRETCH = 240  # characters
_PAUSE_BETWEEN_STRETCHES_S = 0.25
_SENTENCE_END = regex.compile(r"[.!?…]+[\"'”’)\]]*$")
_PHRASE_END = regex.compile(r"[,;:–—]+[\"'”’)\]]*$")
# Korean at the voices' own pace is a blur (measured: fewer errors at 0.9).
_KOREAN_PACE = 0.9

# Beside read speech as a whole (synthesis.engines.pace), with what each line begins and ends with; measured
# over four voices, whose medians are 0.93 to 1.07 of it. And how far lines are from it at most.
_PACE, _EDGES_MS = 0.98, 100
_MOST_TIMES_EXPECTED, _MOST_EXTRA_MS = 1.5, 1_000

_FOREIGN_TO_ENGLISH = regex.compile(r"[^\P{L}\p{Latin}]")
_FOREIGN_TO_KOREAN = regex.compile(r"[^\P{L}\p{Latin}\p{Hangul}]")
_SPOKEN = regex.compile(r"[\p{L}\p{N}]")

# How often a worker that is to end looks up from its lines.
_LOOK_UP_S = 0.2

# What a candidate voice says to be compared with the reference: about five seconds.
_TRIAL_TEXT = "We will meet again by the old stone bridge tomorrow, and then you shall hear it all."
_TRIAL_TEXT_KOREAN = "우리는 내일 오래된 돌다리 옆에서 다시 만나기로 했어요."
_REFERENCE_HEARD_S = 60.0
_GAIN_THAT_COUNTS = 0.01  # of similarity; below that the plain preset is the safer voice


class KokoroEngine:
    """Speaks English, and Korean as an experiment."""

    name = "kokoro"
    on_gpu = False

    def __init__(self) -> None:
        self._loading = threading.Lock()

    def refusal(self, text: str, language: str) -> str | None:
        base = language.split("-")[0].lower()
        if base not in ("en", "ko"):
            if name := LANGUAGES.get(base):
                return _(
                    "The embedded engine speaks English (en) and Korean (ko), not %(language)s. The "
                    "fish-speech engine speaks %(name)s; ask your operator for it."
                ) % {"language": language, "name": _(name)}
            return _(
                "The embedded engine speaks English (en) and Korean (ko), not %(language)s. No engine "
                "of ours speaks it yet."
            ) % {"language": language}
        foreign = (_FOREIGN_TO_ENGLISH if base == "en" else _FOREIGN_TO_KOREAN).findall(text)
        if foreign:
            shown = "".join(dict.fromkeys(foreign))[:10]
            return _(
                "The embedded engine cannot read these letters in a line of language %(language)s: "
                "%(letters)s. Write them out, or set the line's language."
            ) % {"language": base, "letters": shown}
        if not _SPOKEN.search(text):
            return _("There is nothing to speak in this line: it has neither letters nor digits.")
        return None

    def notice(self, language: str) -> str | None:
        if language.split("-")[0].lower() != "ko":
            return None
        return stored.KOREAN_IS_EXPERIMENTAL

    def foreseen_ms(self, text: str, language: str, speed: float) -> Length:
        korean_pace = _KOREAN_PACE if language.split("-")[0].lower() == "ko" else 1.0
        pace = _PACE * korean_pace * speed
        expected = speech_ms(text, language, pace=pace) + round(_EDGES_MS / speed)
        return Length(expected, round(_MOST_TIMES_EXPECTED * expected + _MOST_EXTRA_MS / speed))

    def prepare_voice(
        self,
        reference: Waveform,
        sample_rate: int,
        *,
        language: str,
        transcript: str,
        taken: Collection[str],
    ) -> PreparedVoice:
        from synthesis.engines.speaker_encoder import embed, similarity

        reference = reference[: round(_REFERENCE_HEARD_S * sample_rate)]
        target = embed(reference, sample_rate)
        nearness = {
            name: similarity(target, np.array(preset["embedding"], np.float32))
            for name, preset in _presets().items()
            if preset["language"] == ("ko" if language.startswith("ko") else "en")
        }
        free = {name: value for name, value in nearness.items() if name not in taken} or nearness
        name = max(free, key=lambda preset: free[preset])
        # The first half shapes the voice and the second judges it, so that a gain is a real one.
        middle = len(reference) // 2
        shaping, judging = reference[:middle], reference[middle:]
        judge = embed(judging, sample_rate)
        plain: dict[str, Any] = {"preset": name}
        text = _TRIAL_TEXT_KOREAN if language.startswith("ko") else _TRIAL_TEXT
        line = LineToSpeak(0, text, language.split("-")[0], 1.0, 0, plain)
        spoken = self._spoken(line).waveform
        before = similarity(judge, embed(spoken, SAMPLE_RATE))
        pitch = colour.pitch_ratio(shaping, sample_rate, spoken, SAMPLE_RATE)
        moved = {**plain, "pitch": pitch}
        tuned = self._spoken(LineToSpeak(0, text, line.language, 1.0, 0, moved)).waveform
        bands = colour.band_gains_db(shaping, sample_rate, tuned, SAMPLE_RATE)
        coloured = {**plain, "bands_db": bands}
        both = {**moved, "bands_db": bands}
        candidates = {
            similarity(judge, embed(tuned, SAMPLE_RATE)): moved,
            similarity(judge, embed(colour.apply(spoken, bands), SAMPLE_RATE)): coloured,
            similarity(judge, embed(colour.apply(tuned, bands), SAMPLE_RATE)): both,
        }
        best = max(candidates)
        if best > before + _GAIN_THAT_COUNTS:
            return PreparedVoice("adapted", round(best, 3), name, candidates[best])
        return PreparedVoice("nearest_preset", round(before, 3), name, plain)

    def speak(
        self, lines: Sequence[LineToSpeak], stopping: threading.Event
    ) -> Iterator[SpokenLine | FailedLine]:
        # The longest first, so that no core is left with a long line at the end; and only a few
        # handed out at a time, so that jobs share the cores line by line.
        waiting = sorted(lines, key=lambda line: -len(line.text) / line.speed)
        running: set[Future[SpokenLine | FailedLine]] = set()
        try:
            while waiting or running:
                if stopping.is_set():
                    waiting.clear()
                    running = {future for future in running if not future.cancel()}
                while waiting and len(running) < 2 * settings.ENGINE_THREADS:
                    running.add(self._pool.submit(self._speak_or_fail, waiting.pop(0)))
                done, running = wait(running, timeout=_LOOK_UP_S, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(settings.ENGINE_THREADS, thread_name_prefix="kokoro")

    def _network(self) -> KokoroNetwork:
        with self._loading:
            return _load_network()

    def _speak_or_fail(self, line: LineToSpeak) -> SpokenLine | FailedLine:
        try:
            return self._spoken(line)
        except EngineError as exc:
            return FailedLine(line.position, exc.detail)

    def _spoken(self, line: LineToSpeak) -> SpokenLine:
        words = split_words(line.text, line.language)
        pieces: list[Waveform] = []
        spans: list[tuple[int, int]] = []
        at = 0
        pause = np.zeros(round(_PAUSE_BETWEEN_STRETCHES_S / line.speed * SAMPLE_RATE), np.float32)
        forms = iter(spoken_forms(words, line.language, line.pronunciations))
        for stretch in _stretches(words):
            if pieces:
                pieces.append(pause)
                at += len(pause)
            waveform, stretch_spans = self._speak_stretch(
                stretch, [next(forms) for _ in stretch], line
            )
            spans += [(at + start, at + end) for start, end in stretch_spans]
            pieces.append(waveform)
            at += len(waveform)
        spoken = np.concatenate(pieces)
        if bands := line.voice.get("bands_db"):
            spoken = colour.apply(spoken, bands)
        return SpokenLine(
            line.position,
            spoken,
            SAMPLE_RATE,
            [
                SpokenWord(word.text, start, end, word.space_before)
                for word, (start, end) in zip(words, spans, strict=True)
            ],
        )

    def _speak_stretch(
        self, words: Sequence[Word], forms: Sequence[str], line: LineToSpeak
    ) -> tuple[Waveform, list[tuple[int, int]]]:
        """Speak some words, by what is said for each. Returns the trimmed waveform and each word's
        samples in it.
        """
        preset = str(line.voice["preset"])
        phones = _front_end(line.language, preset)(forms)
        waveforms: list[Waveform] = []
        sounds: list[tuple[int | None, int, int]] = []  # word, start, end
        at = 0
        for part in _within_context(phones):
            waveform, spans = self._run(part, line)
            sounds += [
                (phone.word, at + start, at + end)
                for phone, (start, end) in zip(part, spans, strict=True)
            ]
            waveforms.append(waveform)
            at += len(waveform)
        waveform = np.concatenate(waveforms)
        first, last = speech_edges(waveform, SAMPLE_RATE)
        if last <= first:
            raise EngineError(stored.NO_SOUND)
        spans = [
            (min(max(start, first), last) - first, min(max(end, first), last) - first)
            for start, end in _word_spans(words, sounds)
        ]
        # The trimmed edges are the first and the last word's.
        spans[0] = (0, max(spans[0][1], 1))
        spans[-1] = (min(spans[-1][0], last - first - 1), last - first)
        return faded(waveform[first:last], SAMPLE_RATE), spans

    def _run(
        self, phones: Sequence[Phones], line: LineToSpeak
    ) -> tuple[Waveform, list[tuple[int, int]]]:
        """One run of the network. Returns the sound and each phone's samples in it."""
        vocabulary = _vocabulary()
        tokens = [0]
        places = []
        for phone in phones:
            start = len(tokens)
            tokens += [vocabulary[c] for c in phone.phonemes if c in vocabulary]
            places.append((start, len(tokens)))
            if phone.space_after:
                tokens.append(vocabulary[" "])
        tokens.append(0)
        if len(tokens) == 2:
            raise EngineError(stored.NOTHING_FOUND)
        style = _style(str(line.voice["preset"]))[min(len(tokens) - 2, MOST_TOKENS) - 1]
        pace = line.speed * (_KOREAN_PACE if line.language.startswith("ko") else 1.0)
        output = self._network().run(tokens, style, pace, float(line.voice.get("pitch", 1.0)))
        edges = np.concatenate([[0], np.cumsum(output.durations)]) * SAMPLES_PER_FRAME
        return output.waveform, [(int(edges[start]), int(edges[end])) for start, end in places]


def preset_names() -> list[str]:
    """The preset voices of the repository."""
    return list(_presets())


@cache
def _load_network() -> KokoroNetwork:
    return KokoroNetwork()


@cache
def _presets() -> dict[str, dict[str, Any]]:
    """The preset voices: language, and the embedding of a trial sentence."""
    presets: dict[str, dict[str, Any]] = json.loads((_VOICES / "presets.json").read_text())
    return presets


@cache
def _style(preset: str) -> npt.NDArray[np.float32]:
    """A preset's styles by number of tokens, shape (510, 256)."""
    table: npt.NDArray[np.float32] = np.load(_VOICES / f"{preset}.npy").astype(np.float32)
    return table


@cache
def _vocabulary() -> Mapping[str, int]:
    import hibari

    path = Path(hibari.__file__).with_name("assets") / "vocab.json"
    vocabulary: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    return vocabulary


def _front_end(language: str, preset: str) -> FrontEnd:
    if language.startswith("ko"):
        return korean.phonemize
    return partial(english.phonemize, british=preset.startswith("b"))


def _stretches(words: Sequence[Word]) -> list[list[Word]]:
    """The words in stretches of at most about 240 characters, cut at sentence or phrase ends."""
    stretches: list[list[Word]] = [[]]
    for word in words:
        current = stretches[-1]
        length = len(join_words([*current, word]))
        if current and length > _LONGEST_STRETCH:
            cut = _last_end(current)
            stretches[-1] = current[:cut]
            stretches.append(current[cut:])
        stretches[-1].append(word)
    return [stretch for stretch in stretches if stretch]


def _last_end(words: Sequence[Word]) -> int:
    """Where to cut words that are too long together: after a sentence, else a phrase, else all."""
    for pattern in (_SENTENCE_END, _PHRASE_END):
        for index in range(len(words) - 1, len(words) // 3, -1):
            if pattern.search(words[index].text):
                return index + 1
    return len(words)


def _within_context(phones: Sequence[Phones]) -> Iterator[list[Phones]]:
    """The phones in parts that fit the network's context, even those of one endless word."""
    part: list[Phones] = []
    size = 0
    for phone in phones:
        for start in range(0, max(1, len(phone.phonemes)), MOST_TOKENS - 10):
            piece = phone.phonemes[start : start + MOST_TOKENS - 10]
            if size + len(piece) + 1 > MOST_TOKENS:
                yield part
                part, size = [], 0
            part.append(Phones(phone.word, piece, phone.space_after))
            size += len(piece) + 1
    yield part


def _word_spans(
    words: Sequence[Word], sounds: Sequence[tuple[int | None, int, int]]
) -> list[tuple[int, int]]:
    """Each word's samples. A word begins where the sound before it ends: measured against forced
    alignment that is nearer (40 ms) than where its own first phoneme does (100 ms).

    Words that are not spoken, such as an emoji, share the time of the word before.
    """
    spans: list[tuple[int, int] | None] = [None] * len(words)
    previous_end = 0
    for word, start, end in sounds:
        if word is not None and end > start:
            known = spans[word]
            spans[word] = (known[0], end) if known else (min(start, previous_end), end)
        previous_end = end
    spoken = [index for index, span in enumerate(spans) if span]
    if not spoken:
        raise EngineError(stored.NOTHING_FOUND)
    result: list[tuple[int, int]] = []
    for index, owner in enumerate(spoken):
        begin = 0 if index == 0 else owner
        end = spoken[index + 1] if index + 1 < len(spoken) else len(words)
        span = spans[owner]
        assert span is not None
        lengths = np.cumsum([0, *(max(1, len(word.text)) for word in words[begin:end])])
        places = span[0] + (span[1] - span[0]) * lengths // lengths[-1]
        result += [(int(a), int(b)) for a, b in itertools.pairwise(places)]
    return result
