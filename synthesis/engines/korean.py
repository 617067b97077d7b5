"""Korean text -> Kokoro's phonemes: experimental, because Kokoro was never trained on Korean.

The sound changes are those of the Standard Pronunciation (표준 발음법) that matter within an
eojeol: liaison, nasalisation, liquids, tensing, aspiration, palatalisation. Measured with a small
Korean recogniser the result is partly intelligible (character error rate about 0.22 at best).
"""

import re
from collections.abc import Sequence

from synthesis.engines import english
from synthesis.engines.phonemes import Phones
from synthesis.spoken_forms.korean_numbers import sino_korean

_INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_FINALS = ["", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"]
_CLUSTERS = {
    "ㄳ": "ㄱㅅ", "ㄵ": "ㄴㅈ", "ㄶ": "ㄴㅎ", "ㄺ": "ㄹㄱ", "ㄻ": "ㄹㅁ", "ㄼ": "ㄹㅂ",
    "ㄽ": "ㄹㅅ", "ㄾ": "ㄹㅌ", "ㄿ": "ㄹㅍ", "ㅀ": "ㄹㅎ", "ㅄ": "ㅂㅅ",
}  # fmt: skip
# What is left of a final before a consonant or at the end.
_NEUTRAL = {
    **dict.fromkeys("ㄲㅋㄳㄺ", "ㄱ"), **dict.fromkeys("ㅅㅆㅈㅊㅌㅎ", "ㄷ"),
    **dict.fromkeys("ㅍㅄㄿ", "ㅂ"), **dict.fromkeys("ㄵㄶ", "ㄴ"), "ㄻ": "ㅁ",
    **dict.fromkeys("ㄼㄽㄾㅀ", "ㄹ"),
}  # fmt: skip
_TENSE = dict(zip("ㄱㄷㅂㅅㅈ", "ㄲㄸㅃㅆㅉ", strict=True))
_ASPIRATED = dict(zip("ㄱㄷㅂㅈ", "ㅋㅌㅍㅊ", strict=True))
_NASAL = dict(zip("ㄱㄷㅂ", "ㅇㄴㅁ", strict=True))

_VOWEL_PHONEMES = dict(
    zip(
        _VOWELS,
        [
            "a",
            "ɛ",
            "ja",
            "jɛ",
            "ɔ",
            "e",
            "jɔ",
            "je",
            "o",
            "wa",
            "wɛ",
            "we",
            "jo",
            "u",
            "wɔ",
            "we",
            "wi",
            "ju",
            "ɯ",
            "ɰi",
            "i",
        ],
        strict=True,
    )
)
_INITIAL_PHONEMES = dict(
    zip(_INITIALS, ["k", "k", "n", "t", "t", "ɾ", "m", "p", "p", "s", "s", "", "ʨ", "ʨ", "ʨʰ",
                    "kʰ", "tʰ", "pʰ", "h"], strict=True)
)  # fmt: skip
_VOICED = dict(zip("ㄱㄷㅂㅈ", ["ɡ", "d", "b", "ʥ"], strict=True))
_FINAL_PHONEMES = {
    "": "",
    "ㄱ": "k",
    "ㄴ": "n",
    "ㄷ": "t",
    "ㄹ": "l",
    "ㅁ": "m",
    "ㅂ": "p",
    "ㅇ": "ŋ",
}

_RUN = re.compile(r"[가-힣]+|[A-Za-z]+|\d+|[^가-힣A-Za-z\d]+")


def phonemize(words: Sequence[str]) -> list[Phones]:
    """The phonemes of consecutive eojeol; numbers in Sino-Korean, Latin words in English."""
    phones = []
    for index, word in enumerate(words):
        spoken = "".join(_run_phonemes(run) for run in _RUN.findall(word.replace(",", ", ")))
        marks = "".join(c for c in word[-2:] if c in ",.!?…")
        phones.append(Phones(index, spoken, space_after=not marks))
        if marks:
            phones.append(Phones(None, marks, space_after=True))
    return phones


def _run_phonemes(run: str) -> str:
    if "가" <= run[0] <= "힣":
        return _syllable_phonemes(_pronounced(run))
    if run.isascii() and run.isalpha():
        return "".join(phones.phonemes for phones in english.phonemize([run]))
    if run.isdigit():
        return _syllable_phonemes(_pronounced(sino_korean(run).replace(" ", "")))
    return ""


def _pronounced(word: str) -> list[list[str]]:
    """Syllables as [initial, vowel, final], after the sound changes."""
    syllables = []
    for character in word:
        code = ord(character) - 0xAC00
        syllables.append([_INITIALS[code // 588], _VOWELS[code % 588 // 28], _FINALS[code % 28]])
    for here, following in zip(syllables, [*syllables[1:], None], strict=True):
        if here[2]:
            _change(here, following)
    return syllables


def _change(here: list[str], following: list[str] | None) -> None:
    """Apply the sound changes between a syllable's final and the next one's initial, in place."""
    final = here[2]
    if following is None:
        here[2] = _NEUTRAL.get(final, final)
    elif following[0] == "ㅇ":
        _liaison(here, following)
    elif final in "ㅎㄶㅀ" and following[0] in "ㄱㄷㅈㅅㄴ":
        rest = {"ㅎ": "", "ㄶ": "ㄴ", "ㅀ": "ㄹ"}[final]
        if following[0] == "ㄴ":
            rest = rest or "ㄴ"
            following[0] = "ㄹ" if rest == "ㄹ" else "ㄴ"
        else:
            following[0] = "ㅆ" if following[0] == "ㅅ" else _ASPIRATED[following[0]]
        here[2] = rest
    elif following[0] == "ㅎ" and _NEUTRAL.get(final, final) in "ㄱㄷㅂ":
        sound = _CLUSTERS[final][1] if final in _CLUSTERS else final
        plain = sound if sound in _ASPIRATED else _NEUTRAL.get(sound, sound)
        following[0] = _ASPIRATED[plain]
        here[2] = _CLUSTERS[final][0] if final in _CLUSTERS else ""
    else:
        _assimilate(here, following)


def _liaison(here: list[str], following: list[str]) -> None:
    final = here[2]
    if final == "ㅇ":
        return
    if final == "ㅎ":
        here[2] = ""
        return
    if final in "ㄶㅀ":
        here[2], following[0] = "", _CLUSTERS[final][0]
        return
    if final in _CLUSTERS:
        here[2], moved = tuple(_CLUSTERS[final])
        following[0] = "ㅆ" if moved == "ㅅ" else moved
    else:
        here[2], following[0] = "", final
    if following[1] == "ㅣ":
        following[0] = {"ㄷ": "ㅈ", "ㅌ": "ㅊ"}.get(following[0], following[0])


def _assimilate(here: list[str], following: list[str]) -> None:
    final = _NEUTRAL.get(here[2], here[2])
    initial = following[0]
    if final in _NASAL:
        if initial in "ㄴㅁ":
            final = _NASAL[final]
        elif initial == "ㄹ":
            final, following[0] = _NASAL[final], "ㄴ"
        elif initial in _TENSE:
            following[0] = _TENSE[initial]
    elif (final, initial) == ("ㄹ", "ㄴ"):
        following[0] = "ㄹ"
    elif (final, initial) == ("ㄴ", "ㄹ"):
        final = "ㄹ"
    elif final in "ㅁㅇ" and initial == "ㄹ":
        following[0] = "ㄴ"
    here[2] = final


def _syllable_phonemes(syllables: Sequence[Sequence[str]]) -> str:
    spoken = ""
    before: str | None = None  # the final before; None at the start of a word
    for initial, vowel, final in syllables:
        onset = _INITIAL_PHONEMES[initial]
        if initial in _VOICED and before in ("", "ㄴ", "ㄹ", "ㅁ", "ㅇ"):
            onset = _VOICED[initial]
        elif initial in "ㅅㅆ" and vowel in "ㅣㅑㅕㅛㅠㅟ":
            onset = "ɕ"
        elif initial == "ㄹ" and before == "ㄹ":
            onset = "l"
        nucleus = _VOWEL_PHONEMES[vowel]
        if vowel == "ㅢ" and (initial != "ㅇ" or before is not None):
            nucleus = "i"
        spoken += onset + nucleus + _FINAL_PHONEMES[final]
        before = final
    return spoken
