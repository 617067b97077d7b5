"""A Korean line as it is read aloud.

First everything is written as Koreans write it, figures with a counter ($5 -> 5달러, 15:30 ->
15시 30분); then the counter decides how each number is read.
"""

import regex

from synthesis.spoken_forms.addresses import address_rules
from synthesis.spoken_forms.korean_counters import counts_natively
from synthesis.spoken_forms.korean_dates import DATES, MONTH, TELEPHONES, TIMES, month_name
from synthesis.spoken_forms.korean_letters import CAPITALS, MIXED_NAMES
from synthesis.spoken_forms.korean_numbers import (
    by_digit,
    native_korean,
    sino_korean,
    written_number,
)
from synthesis.spoken_forms.korean_particles import around, ends_in_consonant, set_apart
from synthesis.spoken_forms.korean_quantities import FRACTIONS, MONEY, RANGES, SUMS, UNITS
from synthesis.spoken_forms.rewriting import (
    NUMBER,
    START,
    WHOLE,
    Match,
    Rule,
    apply_rules,
    breaks,
    rule,
)

_ADDRESSES = address_rules(
    {"@": "골뱅이", ".": "점", "/": "슬래시", "-": "대시", "_": "언더바", "?": "물음표", "=": "는",
     "&": "앤", "#": "샵", "+": "플러스", "%": "퍼센트", ":": "콜론", "~": "물결"},
    {".com": " 닷컴", ".net": " 닷넷", ".org": " 닷 오알지", ".kr": " 점 케이알", ".co": " 점 씨오",
     ".io": " 점 아이오", ".ai": " 점 에이아이", ".go": " 점 고", "www": "더블유더블유더블유"},
)  # fmt: skip

# 만, 천억 and their like after figures; not where a longer noun begins with the same syllable.
_SCALE = (
    r"[십백천]?(?:만(?![남족])|억|조(?![각건직사합])|경(?!기))"
    r"|[십백천](?=\n|\d|여|[원명개년엔톤]|달러|유로|킬로|미터|(?!\p{L}))"
)
# Numbers that name a thing are read digit by digit.
_NAMING = r"(?:번호|코드|암호|비번|OTP|PIN)(?:는|은|가|이|를|을)?:?\n?"


def speak(line: str) -> str:
    """A line of words, joined by line breaks, as it is said."""
    return apply_rules(line, _RULES)


def _native(match: Match) -> str:
    before, after = around(match)
    if not counts_natively(int(match[0]), before, after):
        return match[0]
    first = match[0] == "1" and regex.match(r"\n?번째", after)
    spoken = "첫" if first else native_korean(int(match[0]))
    return set_apart(match, spoken, counts=True)


def _scaled(match: Match) -> str:
    number, scale = written_number(match["number"]), match["scale"]
    if number == "일" and scale[0] not in "억조경":  # 만, 천만; but 일억
        number = ""
    return set_apart(match, number + breaks(match["gap"] if number else "", "") + scale)


def _figures(match: Match) -> str:
    """Digit by digit, groups apart."""
    parts = regex.split(r"(\n|-)", match[0])
    spoken = (by_digit(part) if part.isdigit() else breaks(part) for part in parts)
    return set_apart(match, "".join(spoken))


def _version(match: Match) -> str:
    parts = match[0].split(".")
    return set_apart(match, " 점 ".join(sino_korean(part.lstrip("0") or "0") for part in parts))


def _numbered(match: Match) -> str:
    """No. 5, #5: the number is a name, 오 번."""
    return breaks(match["gap"], "") + sino_korean(match[2].replace(",", "")) + " 번"


def _equals(match: Match) -> str:
    topic = "은" if ends_in_consonant(match[1]) else "는"
    return f"{match[1]}{topic}{breaks(match[2] + match[3])}"


_RULES: tuple[Rule, ...] = (
    *_ADDRESSES,
    *TELEPHONES,
    rule(
        rf"(?<={_NAMING})\d{{3,}}+(?:[-\n]\d{{2,8}}){{0,4}}(?![\d.,]|\n?(?:개|번|명|원|자리))",
        _figures,
    ),
    *DATES,
    rule(r"(?<![\d.,])(?:\d{4}\n){3}\d{4}(?!\d|[.,]\d)", _figures),
    *TIMES,
    *MONEY,
    *UNITS,
    *MIXED_NAMES,
    *RANGES,
    *FRACTIONS,
    *SUMS,
    # 코로나19, 123-45번지, 3-2로 이겼다; other hyphens between figures are silent.
    rule(r"(?<=코로나\n?)-?19(?!\d)", lambda match: set_apart(match, "일구")),
    rule(r"(?<=(?<!\d)\d{1,5})-(?=\d{1,5}\n?번지)", " 다시 "),
    rule(r"(?<=(?<![\d-])\d{1,3})-(?=\d{1,3}(?:로|으로|승|패)(?!\p{Hangul}))", " 대 "),
    rule(r"(?<!\d)\d{1,8}(?:-\d{1,8}){2,6}(?!\d)", _figures),
    rule(r"(?<=\d)-(?=\d)", " "),
    rule(r"(?i:(?<!\p{L})no)\.\n?1(?!\d)", "넘버 원"),
    rule(rf"(?:(?i:(?<!\p{{L}})no)\.(?P<gap>\n?)|#)({WHOLE})", _numbered),
    rule(r"(?<!\p{L})#(?=\p{L})", "해시태그 "),
    rule(r"(?<![\p{L}\d])@(?=\p{L})", "골뱅이 "),
    rule(r"(?<!\d)\d{1,4}(?:\.\d{1,4}){2,5}(?!\d)", _version),
    rule(MONTH, lambda match: set_apart(match, month_name(match))),
    rule(rf"{START}[1-9]\d?(?!\d|[.,]\d)", _native),
    rule(rf"(?<!\d)(?P<number>{NUMBER})(?P<gap>\n?)(?P<scale>{_SCALE})", _scaled),
    # Eight figures or more on end, neither round nor counting anything, are a code.
    rule(r"(?<!\d)(?!\d*0000(?!\d))\d{8,}+(?![,.]\d|\p{Hangul}{1,2}(?!\p{Hangul}))", _figures),
    rule(rf"(?<!\d){NUMBER}", lambda match: set_apart(match, written_number(match[0]))),
    rule(r"(\p{Hangul})(\n?)=(\n?)(?=\p{Hangul}|마이너스)", _equals),
    *CAPITALS,
    rule("(?<=\\p{L}) ?²", " 제곱"),
    rule("(?<=\\p{L}) ?³", " 세제곱"),
    rule(r"(?<=\p{L})&(?=\p{L})|(?<=\n)&(?=\n)", "앤"),
)
