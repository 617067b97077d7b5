"""Dates, times of day and telephone numbers, from figures to Korean words around them."""

import regex

from synthesis.spoken_forms.korean_numbers import by_digit, sino_korean
from synthesis.spoken_forms.rewriting import Match, Rule, breaks, rule

_YEAR = r"(?:1[0-9]|20)\d\d"
_MONTH = r"(?:0?[1-9]|1[0-2])(?!\d)"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?!\d)"
_WEEKDAY = r"\(?[월화수목금토일](?:요일)?\)"
_HOUR = r"(?:[01]?\d|2[0-4])"
_HALF = {"A": "오전", "P": "오후"}
# 유월 and 시월 lose their finals (표준어: 한글 맞춤법 52항).
_MONTH_NAMES = {6: "유", 10: "시"}
# What history calls by its date: 6·25 전쟁, 3.1절.
_LISTED = r"\n?(?:호|학년|위|번|등|차|층|급|단계|분기|월|일|개|명|세|인|기|동|권|장|조|반|년)"
_REMEMBERED = r"(?:전쟁|사변|절|운동|혁명|사태|민주|항쟁|사건|참사|테러|의거|선언|쿠데타|계엄)"


def _date(match: Match) -> str:
    year, month, day = int(match["year"]), int(match["month"]), int(match["day"])
    return f"{year}년{breaks(match['gap1'])}{month}월{breaks(match['gap2'])}{day}일"


def month_name(match: Match) -> str:
    """일월, 유월, 시월: one word each."""
    month = int(match["month"])
    return (_MONTH_NAMES.get(month) or sino_korean(str(month))) + match["gap"] + "월"


def _time(match: Match) -> str:
    hour, minute, second = int(match["hour"]), int(match["minute"]), match["second"]
    spoken = f"{hour}시" + (f" {minute}분" if minute or second else "")
    spoken += f" {int(second)}초" if second else ""
    half = match["before"] or match["after"]
    if not half:
        return spoken
    return f"{_HALF[half.upper()]}{breaks(match['gap1'] or match['gap2'])}{spoken}"


def _remembered(match: Match) -> str:
    month, day = match[1], match[2]
    return sino_korean(month) + (sino_korean(day) if month == day else by_digit(day))


def _telephone(match: Match) -> str:
    text = regex.sub(r"[-.()]", " ", match[0].replace("+", "플러스 "))
    spoken = regex.sub(r"\d+", lambda figures: by_digit(figures[0]), text)
    return "\n".join(" ".join(piece.split()) for piece in spoken.split("\n"))


def _mobile(match: Match) -> str:
    """Eleven figures on end: three, four, four; ten: three, three, four."""
    figures = match[0]
    return " ".join(by_digit(part) for part in (figures[:3], figures[3:-4], figures[-4:]))


TELEPHONES: tuple[Rule, ...] = (
    rule(
        r"(?<![\d.,+-])(?:\+82[-\n]?\(?0?\)?\d{1,2}[-.\n]?|\(?0\d{1,3}\)?(?:\n-\n|[-.\n]?))\d{3,4}(?:\n-\n|[-.\n])\d{4}(?![\d-])",
        _telephone,
    ),
    rule(r"(?<![\d.,-])01[016-9]\d{7,8}(?![\d-])", _mobile),
    # Nationwide numbers (대표번호) begin with 15, 16 or 18; with a counter it is a range.
    rule(r"(?<![\d.,-])1[568]\d\d-\d{4}(?![\d-]|\n?(?:년|원|명|개|만|[a-zA-Z%]))", _telephone),
    rule(
        r"(?<![\d.,-])11[0-9](?=(?:에|로|을|를)?\n?(?:신고|구급|구조|종합|상황|대원|센터|콜|전화|연락|안전))",
        _telephone,
    ),
)

DATES: tuple[Rule, ...] = (
    rule(
        rf"(?<![\d.-])(?P<year>{_YEAR})(?P<mark>[-./])(?P<gap1>\n?)(?P<month>{_MONTH})(?P=mark)(?P<gap2>\n?)"
        rf"(?P<day>{_DAY})(?:\.(?=\n?[\p{{L}}(~\d]))?",
        _date,
    ),
    rule(rf"(?<![\d.-])({_YEAR})-(0[1-9]|1[0-2])(?![\d-])", lambda m: f"{m[1]}년 {int(m[2])}월"),
    rule(r"['‘’](?=\d\d년)", ""),
    rule(
        rf"(?<![\d./])({_MONTH})/({_DAY})(?={_WEEKDAY})", lambda m: f"{int(m[1])}월 {int(m[2])}일 "
    ),
    rule(
        rf"(?<![\d./])({_MONTH})/([12]\d|3[01])(?![\d/])(?=부터|까지|\n오전|\n오후|\n마감|\n접수)",
        lambda m: f"{int(m[1])}월 {int(m[2])}일",
    ),
    rule(rf"(?<![\d.·])(\d{{1,2}})·(\d{{1,2}})(?![\d·]|{_LISTED})", _remembered),
    rule(rf"(?<![\d.·])(\d{{1,2}})\.(\d{{1,2}})(?=\n?{_REMEMBERED})", _remembered),
    # 1·2학년, 1,2학년: a list
    rule(r"(?<=\d)·(?=\d)", ", "),
    rule(r"(?<=(?<![\d,.])\d{1,2}),(?=\d{1,2}(?![\d,.]))", ", "),
)

TIMES: tuple[Rule, ...] = (
    rule(
        rf"(?<![\d:.,])(?:(?<!\p{{Latin}})(?P<before>[AaPp])\.?[Mm]\.?(?P<gap1>\n?))?(?<!\d)(?P<hour>{_HOUR}):(?P<minute>[0-5]\d)"
        r"(?::(?P<second>[0-5]\d))?(?:(?P<gap2>\n?)(?P<after>[AaPp])(?:\.[Mm]\.|[Mm])(?!\p{Latin}))?(?![\d:])",
        _time,
    ),
    rule(
        r"(?<![\d:.,])(?P<hour>\d{1,2})(\n?)(?P<after>[AaPp])(?:\.[Mm]\.|[Mm])(?![\p{Latin}\d])",
        lambda m: f"{_HALF[m['after'].upper()]}{breaks(m[2])}{int(m['hour'])}시",
    ),
    # A score or a ratio.
    rule(r"(?<![\d:.])(\d{1,3})(\n?):(\n?)(\d{1,3})(?![\d:])",
         lambda m: f"{m[1]}{breaks(m[2])}대{breaks(m[3])}{m[4]}"),
    rule(r"(?<=\d\n?시간?)반(?!\p{L}{2})", " 반"),
)  # fmt: skip

MONTH = r"(?<![\d.,])(?P<month>0?[1-9]|1[0-2])(?P<gap>\n?)월(?!드)"
