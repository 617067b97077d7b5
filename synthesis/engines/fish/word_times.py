"""When each word of a line is heard: fish-speech gives the sound of a line and no times.

English is aligned with PocketSphinx's hidden Markov models. No aligner we may ship fits the other
languages; there the pauses are found and the words spread between them by their syllables.
"""

import itertools
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import regex

from speakers.decoding import Waveform
from synthesis.audio import resample
from synthesis.engines import english
from synthesis.spoken_forms.korean_numbers import sino_korean
from synthesis.words import Word

Span = tuple[int, int]  # [start, end) in samples


class AlignmentFailed(Exception):
    """The sound cannot hold the words; the message says why. Rendered again, the line may do."""


@dataclass(frozen=True)
class WordTimes:
    """Where the words of a line are heard, and whether that was measured or reckoned."""

    spans: Sequence[Span]  # per written word, [start, end) in samples of the waveform
    timing: Literal["aligned", "estimated"]


def word_times(
    waveform: Waveform,
    sample_rate: int,
    words: Sequence[Word],
    spoken: Sequence[str],
    language: str,
) -> WordTimes:
    """The times of a line's words: in order, apart, and from the first sample to the last.

    waveform: one line, trimmed to the speech. spoken: what was said for each word, perhaps several
    words; "" for one that is not spoken, such as an emoji, which shares the time of the word before.
    Raises AlignmentFailed where English sound is too short for its words.
    """
    owners = [index for index, text in enumerate(spoken) if _SOUND.search(text)]
    if not owners:
        return WordTimes(_shared([(0, len(waveform))], [0], words, len(waveform)), "estimated")
    pauses = _pauses(waveform, sample_rate)
    texts = [spoken[index] for index in owners]
    if language.split("-")[0].lower() == "en":
        timing: Literal["aligned", "estimated"] = "aligned"
        spans = _out_of_pauses(_aligned(waveform, sample_rate, texts), pauses)
    else:
        timing = "estimated"
        last = [end - 1 for end in [*owners[1:], len(words)]]  # an unspoken dash ends a phrase too
        ends = [
            any(_PHRASE_END.search(word.text) for word in words[owner : end + 1])
            for owner, end in zip(owners, last, strict=True)
        ]
        lengths = [count_syllables(text, language) for text in texts]
        spans = _estimated(len(waveform), pauses, lengths, ends)
    # Of trimmed speech the edges are the first and the last word's.
    spans[0] = (0, spans[0][1])
    spans[-1] = (spans[-1][0], len(waveform))
    return WordTimes(_shared(spans, owners, words, len(waveform)), timing)


_SOUND = regex.compile(r"[\p{L}\p{N}]")
_PHRASE_END = regex.compile(r"(?:[,.;:!?…、。，．！？：；]|^[-–—]+$)[\"'”’」』）)\]]*$")


def _shared(
    spans: Sequence[Span], owners: Sequence[int], words: Sequence[Word], samples: int
) -> list[Span]:
    """The spans of all words from those of the spoken ones, ``owners``.

    An unspoken word shares the time of the word before, or else of the first spoken one. None is
    empty while there are as many samples as words.
    """
    begins = [0, *owners[1:]]
    ends = [*owners[1:], len(words)]
    result: list[Span] = []
    for (start, stop), begin, end in zip(spans, begins, ends, strict=True):
        lengths = np.cumsum([0, *(max(1, len(word.text)) for word in words[begin:end])])
        places = start + (stop - start) * lengths // lengths[-1]
        result += [(int(a), int(b)) for a, b in itertools.pairwise(places)]
    previous = 0
    for index, (start, end) in enumerate(result):
        following = len(result) - 1 - index
        start = max(0, min(max(start, previous), samples - following - 1))
        previous = max(start, min(max(end, start + 1), samples - following))
        result[index] = (start, previous)
    return result


# Pauses

_FRAME_S = 0.010
_SHORTEST_PAUSE_S = 0.12  # shorter silences are mostly closures of stops, within words
# Below the level of the line's loud frames. The weakest sound of speech is 28 dB below the
# strongest (Fletcher 1953, Speech and Hearing in Communication); breath and room lie lower.
_PAUSE_BELOW_DB = 30.0


def _pauses(waveform: Waveform, sample_rate: int) -> list[Span]:
    """The line's silences of at least 120 ms."""
    size = round(_FRAME_S * sample_rate)
    count = len(waveform) // size
    if not count:
        return []
    power = np.mean(np.square(waveform[: count * size].reshape(count, size)), axis=1)
    quiet = power < np.percentile(power, 95) * 10 ** (-_PAUSE_BELOW_DB / 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
    return [
        (int(start) * size, int(end) * size)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        if (end - start) * _FRAME_S >= _SHORTEST_PAUSE_S
    ]


def _out_of_pauses(spans: Sequence[Span], pauses: Sequence[Span]) -> list[Span]:
    """The spans, moved so that no word begins in the pause before it nor ends in the one after."""
    result = []
    for start, end in spans:
        for pause_start, pause_end in pauses:
            if pause_start <= start < pause_end < end:
                start = pause_end
            if start < pause_start < end <= pause_end:
                end = pause_start
        result.append((start, end))
    return result


# English: forced alignment

_ALIGNER_RATE = 16_000  # Hz; the acoustic model's
_ALIGNER_HOP = 160  # samples of a frame
# A frame is heard around the middle of its window of 410 samples, so it begins before that by
# half a hop. Measured with lines behind digital silence: onsets are then right to 3 ms (median).
_ALIGNER_OFFSET = (410 - _ALIGNER_HOP) // 2
# A path of real speech survives the first, and costs a third less; anything survives the second.
_BEAMS = (1e-64, 0.0)
_MOST_ADDED_WORDS = 50_000  # about 35 bytes each; then the dictionary is read afresh

_ENGLISH_UNIT = regex.compile(r"'?[\p{L}\p{N}][\p{L}\p{M}\p{N}']*")

_ARPABET = {
    "A": "EY", "I": "AY", "O": "OW", "Q": "OW", "W": "AW", "Y": "OY", "a": "AA", "e": "EH",
    "i": "IY", "o": "OW", "u": "UW", "æ": "AE", "ɐ": "AH", "ɑ": "AA", "ɒ": "AA", "ɔ": "AO",
    "ə": "AH", "ᵊ": "AH", "ɚ": "ER", "ɛ": "EH", "ɜ": "ER", "ɪ": "IH", "ᵻ": "IH", "ʊ": "UH",
    "ʌ": "AH", "b": "B", "d": "D", "f": "F", "h": "HH", "j": "Y", "k": "K", "l": "L", "m": "M",
    "n": "N", "p": "P", "r": "R", "s": "S", "t": "T", "v": "V", "w": "W", "x": "K", "z": "Z",
    "ð": "DH", "ŋ": "NG", "ɡ": "G", "ɹ": "R", "ɾ": "T", "T": "T", "ʃ": "SH", "ʒ": "ZH",
    "ʔ": "T", "ʤ": "JH", "ʧ": "CH", "θ": "TH",
}  # fmt: skip
# The model's phone for speech that it does not know: other scripts, which no dictionary reads.
_UNKNOWN_SPEECH = ["+SPN+"]


class _Aligner:
    """PocketSphinx with its model of US English and CMUdict: 0.1 s to load, about 30 MB.

    One per process: it holds the interpreter's lock while it works, so more would not be faster.
    A second of speech takes about 13 ms of one core, of mere noise 32 ms.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decoder: Any = None
        self._added = 0

    def align(self, pcm: bytes, units: Sequence[str]) -> list[Span] | None:
        """The frames of each unit, [first, one past the last); None where there is no path.

        pcm: 16-bit samples at 16 kHz. units: spoken words without punctuation.
        """
        with self._lock:
            decoder = self._loaded()
            text = " ".join(self._entry(unit) for unit in units)
            for beam in _BEAMS:
                for name in ("beam", "pbeam", "wbeam"):
                    decoder.config[name] = beam
                decoder.set_align_text(text)  # makes a search, which reads the beams
                decoder.start_utt()
                try:
                    decoder.process_raw(pcm, full_utt=True)
                finally:
                    decoder.end_utt()
                found = [
                    (segment.start_frame, segment.end_frame + 1)
                    for segment in decoder.seg() or ()
                    if segment.word[0] not in "<[("  # silence, noise, the grammar's own arcs
                ]
                if len(found) == len(units):
                    return found
        return None

    def _loaded(self) -> Any:
        if self._decoder is None or self._added >= _MOST_ADDED_WORDS:
            from pocketsphinx import Decoder

            # Viterbi's own path, which is all words; and silence between words for nothing, for
            # the default price swallows short pauses (measured: worst start 127 ms, not 177).
            self._decoder = Decoder(
                lm=None, loglevel="FATAL", bestpath=False, silprob=1.0, lw=1.0, maxhmmpf=-1
            )
            self._added = 0
        return self._decoder

    def _entry(self, unit: str) -> str:
        """The dictionary's name of a unit, added if it has none."""
        lower = _without_marks(unit)
        # Capitals may be spelled, "US": the front end knows which are.
        if len(unit) == 1 or not unit.isupper():
            for name in (lower, lower.strip("'")):
                if name and self._decoder.lookup_word(name) is not None:
                    return name
        phones = _phones(unit)
        name = f"/{'-'.join(phones)}/"
        if self._decoder.lookup_word(name) is None:
            self._decoder.add_word(name, " ".join(phones), update=False)
            self._added += 1
        return name


_aligner = _Aligner()


def _phones(unit: str) -> list[str]:
    """A word's phones in ARPABET, from the embedded engine's front end."""
    phonemes = "".join(phones.phonemes for phones in english.phonemize([unit]))
    phonemes = phonemes.replace("ɜɹ", "ɜ").replace("əɹ", "ɚ").replace("ɚɹ", "ɚ")
    return [_ARPABET[c] for c in phonemes if c in _ARPABET] or _UNKNOWN_SPEECH


def _aligned(waveform: Waveform, sample_rate: int, texts: Sequence[str]) -> list[Span]:
    """The spans of spoken texts, by forced alignment; silence belongs to none of them."""
    units: list[str] = []
    owners: list[int] = []
    for index, text in enumerate(texts):
        found = _ENGLISH_UNIT.findall(text.replace("’", "'"))
        units += found
        owners += [index] * len(found)
    length = round(len(waveform) * _ALIGNER_RATE / sample_rate)
    pcm = b""
    if length:
        sound = resample(waveform, sample_rate, _ALIGNER_RATE, length)
        pcm = np.round(np.clip(sound, -1.0, 1.0) * 32767).astype("<i2").tobytes()
    # Of less than a frame the decoder cannot make features.
    frames = _aligner.align(pcm, units) if length >= _ALIGNER_HOP else None
    if frames is None:
        raise AlignmentFailed(
            f"The sound, {len(waveform) / sample_rate:.2f} s, is too short for its "
            f"{len(units)} spoken words."
        )
    spans: dict[int, Span] = {}
    for owner, (first, last) in zip(owners, frames, strict=True):
        start = _sample_of_frame(first, sample_rate)
        end = min(_sample_of_frame(last, sample_rate), len(waveform))
        spans[owner] = (spans[owner][0] if owner in spans else start, end)
    return list(spans.values())


def _sample_of_frame(frame: int, sample_rate: int) -> int:
    return round((frame * _ALIGNER_HOP + _ALIGNER_OFFSET) * sample_rate / _ALIGNER_RATE)


# Other languages: pauses and syllables

# What the ways to phrase a line cost, in squared standard deviations. Measured with Kokoro's Korean,
# which knows its own times: half or double as much gives the same within 10 ms.
_UNMARKED_PAUSE_COST = 3.0  # a pause where no punctuation is
_PAUSE_IN_WORD_COST = 8.0
_MARK_WITHOUT_PAUSE_COST = 2.0
# The standard deviation of a stretch's length is this many syllables times the root of its count.
_SYLLABLE_DEVIATION = 0.4
# Limits that only a very long line meets: boundaries considered per pause, the nearest in
# proportion, and pauses in a row that lie within words.
_MOST_BOUNDARIES = 200
_MOST_PAUSES_IN_WORDS = 10


def _estimated(
    samples: int, pauses: Sequence[Span], lengths: Sequence[float], phrase_ends: Sequence[bool]
) -> list[Span]:
    """The spans of words by their lengths in syllables, spread between the pauses.

    phrase_ends: whether punctuation follows the word.
    """
    silences = np.array(pauses, dtype=np.int64).reshape(-1, 2)
    widths = silences[:, 1] - silences[:, 0]
    # From here on time is that of speech alone, as though the pauses had been cut out.
    cuts = silences[:, 0] - (np.cumsum(widths) - widths)
    speech = samples - int(widths.sum())
    syllables = np.concatenate([[0.0], np.cumsum(lengths)])
    chosen = _phrasing(cuts, speech, syllables, phrase_ends)
    places = np.interp(
        syllables,
        [0.0, *(syllables[word] for _, word in chosen), syllables[-1]],
        [0.0, *(float(cuts[pause]) for pause, _ in chosen), float(speech)],
    )
    spans = []
    for begin, end in itertools.pairwise(int(place) for place in np.round(places)):
        # A word begins after the pause at its place, and ends before it.
        start = begin + int(widths[cuts <= begin].sum())
        spans.append((start, end + int(widths[cuts < end].sum())))
    return spans


@dataclass(frozen=True)
class _Placed:
    """A pause, at each word boundary that it may stand at, and the cheapest way to have it there."""

    cut: float  # where it is heard, in samples of speech
    boundaries: npt.NDArray[np.int64]  # the word after, shape (boundaries,)
    costs: npt.NDArray[np.float64]  # of all up to it
    rows: npt.NDArray[np.int64]  # the pause placed before it
    places: npt.NDArray[np.int64]  # and at which of that one's boundaries


def _phrasing(
    cuts: npt.NDArray[np.int64],
    speech: int,
    syllables: npt.NDArray[np.float64],
    phrase_ends: Sequence[bool],
) -> list[tuple[int, int]]:
    """Which pause lies before which word: the cheapest way, as (pause, word) in order.

    cuts: the pauses' places among ``speech`` samples of speech; syllables: before each word, and
    in all. Dynamic programming: the stretches between pauses shall be as long as their syllables
    ask for, and pauses stand rather where punctuation is.
    """
    inner = [pause for pause, cut in enumerate(cuts) if 0 < cut < speech]
    words = len(phrase_ends)
    if not inner or words < 2:
        return []
    boundaries = np.arange(1, words)
    marks = np.concatenate([[0], np.cumsum(phrase_ends)])  # before each word, and in all
    prices = np.where(phrase_ends[:-1], 0.0, _UNMARKED_PAUSE_COST)
    nothing = np.zeros(1, np.int64)
    placed = [_Placed(0.0, nothing, np.zeros(1), nothing, nothing)]
    for pause in inner:
        distances = np.abs(syllables[boundaries] / syllables[-1] - cuts[pause] / speech)
        near = np.sort(np.argsort(distances, kind="stable")[:_MOST_BOUNDARIES])
        placed.append(
            _place(
                float(cuts[pause]),
                boundaries[near],
                prices[near],
                placed,
                speech,
                syllables,
                marks,
            )
        )
    placed.append(
        _place(float(speech), nothing + words, np.zeros(1), placed, speech, syllables, marks)
    )
    chosen: list[tuple[int, int]] = []
    row, place = int(placed[-1].rows[0]), int(placed[-1].places[0])
    while row > 0:
        here = placed[row]
        chosen.append((inner[row - 1], int(here.boundaries[place])))
        row, place = int(here.rows[place]), int(here.places[place])
    return chosen[::-1]


def _place(
    cut: float,
    boundaries: npt.NDArray[np.int64],
    prices: npt.NDArray[np.float64],
    placed: Sequence[_Placed],
    speech: int,
    syllables: npt.NDArray[np.float64],
    marks: npt.NDArray[np.int64],
) -> _Placed:
    """The next pause after those placed: at each boundary the cheapest of the ways there."""
    columns = np.arange(len(boundaries))
    best = np.full(len(boundaries), np.inf)
    rows = np.zeros(len(boundaries), np.int64)
    places = np.zeros(len(boundaries), np.int64)
    for row in range(max(0, len(placed) - 1 - _MOST_PAUSES_IN_WORDS), len(placed)):
        before = placed[row]
        expected = syllables[boundaries] - syllables[before.boundaries][:, None]
        actual = (cut - before.cut) / speech * syllables[-1]
        passed = marks[boundaries - 1] - marks[before.boundaries][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            costs = (actual - expected) ** 2 / (_SYLLABLE_DEVIATION**2 * expected)
        costs = np.where(expected > 0, costs + _MARK_WITHOUT_PAUSE_COST * passed, np.inf)
        costs += before.costs[:, None] + _PAUSE_IN_WORD_COST * (len(placed) - 1 - row)
        cheapest = np.argmin(costs, axis=0)
        total = costs[cheapest, columns]
        better = total < best
        best[better], rows[better], places[better] = total[better], row, cheapest[better]
    return _Placed(cut, boundaries, best + prices, rows, places)


_RUN = regex.compile(
    r"\p{Hangul}+|[\p{Hiragana}\p{Katakana}ー]+|\p{Han}+|\p{N}+|[\p{Latin}\p{M}]+|[\p{L}\p{M}]+"
)
_SMALL_KANA = frozenset("ぁぃぅぇぉゃゅょゎァィゥェォャュョヮ")
_VOWELS = regex.compile(r"[aeiouyæœøıə]+|[аеёиоуыэюяіїє]|[αεηιουω]+")
# Scripts that do not write all vowels, or write them as marks: about two letters a syllable.
_LETTERS_OF_A_SYLLABLE = 2
_MORAE_OF_A_KANJI = 2
_MORAE_OF_A_SINO_NUMERAL = (
    2  # に is one; いち, さん, よん, ろく, なな, はち, きゅう and じゅう are two
)
_SYLLABLES_OF_A_DIGIT = 2  # fünf-und-zwan-zig, vein-ti-cin-co: four for two digits


def count_syllables(text: str, language: str) -> float:
    """How long a spoken text is, in syllables (Japanese: morae); at least one."""
    base = language.split("-")[0].lower()
    return float(max(1, sum(_run_syllables(run, base) for run in _RUN.findall(text))))


def _run_syllables(run: str, language: str) -> int:
    first = run[0]
    if regex.match(r"\p{Hangul}|\p{Han}", first):
        kanji = language == "ja" and not regex.match(r"\p{Hangul}", first)
        return len(run) * (_MORAE_OF_A_KANJI if kanji else 1)
    if regex.match(r"[\p{Hiragana}\p{Katakana}ー]", first):
        return sum(c not in _SMALL_KANA for c in run)
    if regex.match(r"\p{N}", first):
        if language in ("ko", "zh", "ja") and run.isascii():
            # Chinese and Japanese count as Sino-Korean does: a syllable a digit, and one a place.
            numerals = len(sino_korean(run).replace(" ", ""))
            return numerals * (_MORAE_OF_A_SINO_NUMERAL if language == "ja" else 1)
        return len(run) * _SYLLABLES_OF_A_DIGIT
    letters = _without_marks(run)
    if 1 < len(run) <= 5 and run.isupper() and regex.match(r"\p{Latin}", first):
        return len(run)  # spelled: an abbreviation
    return len(_VOWELS.findall(letters)) or -(-len(letters) // _LETTERS_OF_A_SYLLABLE)


def _without_marks(text: str) -> str:
    """Lower-case letters without accents."""
    return "".join(
        c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c)
    )
