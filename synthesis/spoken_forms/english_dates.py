"""English dates, years, times of day and telephone numbers."""

import regex

from synthesis.spoken_forms.english_numbers import by_digit, cardinal, ordinal, plural, year
from synthesis.spoken_forms.rewriting import Match, Rule, breaks, ends_line, rule

_MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
]  # fmt: skip
_WEEKDAYS = {
    "Mon": "Monday", "Tues": "Tuesday", "Tue": "Tuesday", "Wed": "Wednesday", "Thurs": "Thursday",
    "Thur": "Thursday", "Thu": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_SHORT = {name[:3]: name for name in _MONTHS} | {"Sept": "September"}
_NAMES = "|".join(
    [*_MONTHS, *(rf"{short}\b\.?" for short in sorted(_SHORT, key=len, reverse=True))]
)
_MONTH = rf"(?<!\p{{L}})(?P<month>{_NAMES})"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?![\d:%]|[.,]\d)"
_YEAR = r"(?P<year>1[0-9]\d\d|20\d\d)(?![\d%]|[.,:]\d)"
_ISO_YEAR = r"(?P<year>1[0-9]\d\d|20\d\d)"
_M = r"(?P<m>0?[1-9]|1[0-2])(?!\d)"
_D = r"(?P<d>0?[1-9]|[12]\d|3[01])(?!\d)"
# After these a bare four-digit number is a year.
_BEFORE_YEARS = (
    "in|since|by|from|until|till|year|years|before|after|during|circa|late|early|mid|through|to|of|"
    "spring|summer|autumn|fall|winter|late-|early-|mid-|ca\\.|c\\.|©|copyright|"
) + "|".join(_MONTHS)
_AMOUNT_OF = (
    "total|number|sum|average|population|maximum|minimum|cost|price|height|distance|capacity|speed"
)
# Nouns that make it a count after all: in 1500 words.
_COUNTED = (
    "people|persons|words|men|women|children|kids|years|days|weeks|months|hours|minutes|seconds|miles|"
    "feet|meters|metres|kilometers|kilometres|dollars|pounds|euros|won|yen|calories|steps|pages|units|"
    "students|employees|workers|homes|houses|jobs|times|points|votes|copies|cases|cars|items|degrees|"
    "percent|square|cubic|acres|tons|tonnes|kilograms|grams|members|users|customers|countries|cities|"
    "or more|km|m|kg|g|mi|ft|lbs?|%"
)
_CLOCK_ENDS = r"(?P<half>[AaPp])\.?[Mm](?!\p{L})(?P<stop>\.?)"
# What may follow "p.m." within a sentence though it begins with a capital.
_GOES_ON = regex.compile(
    r"\n(?:\p{Ll}|\d|\(|[A-Z]{2,4}\b|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|"
    + "|".join(_MONTHS)
    + ")"
)


def telephone_rules() -> tuple[Rule, ...]:
    group = r"\(?\d{1,4}\)?"
    return (
        rule(
            r"(?<![\d.,+(-])(?:\+?1[-.\n ]?)?\(?\d{3}\)?[-.\n ]?\d{3}[-.]\d{4}(?![\d-])",
            _telephone,
        ),
        rule(rf"(?<![\d+])\+\d{{1,3}}(?:[-.\n ]?{group}){{2,6}}(?!\d)", _telephone),
        rule(
            r"(?<![\d.,-])0(?:\d{2,4}[-\n]\d{3,4}[-\n]\d{3,4}|\d{4}[-\n]\d{6})(?![\d-])", _telephone
        ),
        rule(r"(?<![\d.,$£€-])\d{3}-\d{4}(?![\d-])", _telephone),
        rule(r"(?<![\d.,$£€-])9-?11(?![\d%,-]|\.\d)", "nine one one"),
        rule(r"(?<![\d/])9/11(?![\d/])", "nine eleven"),
    )


def _telephone(match: Match) -> str:
    """Groups apart by commas, so that they can be followed."""
    text = match[0].replace("+", "plus ")
    parts = regex.findall(r"\d+|\n|plus ", text)
    spoken = ""
    for index, part in enumerate(parts):
        if part.isdigit():
            last = not any(later.isdigit() for later in parts[index + 1 :])
            spoken += by_digit(part, zero="oh") + ("" if last else ", ")
        else:
            spoken = spoken.rstrip(" ") + part if part == "\n" else spoken + part
    return spoken


def date_rules(british: bool) -> tuple[Rule, ...]:
    def said(month: int, day: int, in_year: str | None) -> str:
        tail = f" {year(int(in_year), british)}" if in_year else ""
        name = _MONTHS[month - 1]
        if british:
            return f"the {ordinal(day)} of {name}{tail}"
        return f"{name} {ordinal(day)}{',' if tail else ''}{tail}"

    def figures(match: Match) -> str:
        in_year = match["year"]
        if len(in_year) == 2:
            in_year = f"20{in_year}"
        return said(int(match["m"]), int(match["d"]), in_year)

    def month_first(match: Match) -> str:
        spoken = f"{_month(match)}{breaks(match['gap'])}{ordinal(int(match['day']))}"
        if match["last"]:
            spoken += f" to {ordinal(int(match['last']))}"
        if match["year"]:
            spoken += f"{match['comma']}{breaks(match['gap2'])}{year(int(match['year']), british)}"
        return spoken

    def day_first(match: Match) -> str:
        spoken = f"the {ordinal(int(match['day']))} of{breaks(match['gap'])}{_month(match)}"
        if match["year"]:
            spoken += f"{match['comma']}{breaks(match['gap2'])}{year(int(match['year']), british)}"
        return spoken

    def month_and_year(match: Match) -> str:
        return f"{_month(match)}{match['comma']}{breaks(match['gap'])}{year(int(match['year']), british)}"

    years = rf"(?:(?P<comma>,?)(?P<gap2>\n){_YEAR})?"
    first, second = (_D, _M) if british else (_M, _D)
    return (
        rule(rf"(?<![\d.-]){_ISO_YEAR}[-/.](?P<m>0[1-9]|1[0-2])[-/.](?P<d>0[1-9]|[12]\d|3[01])(?![\d])", figures),
        rule(rf"(?<![\d./-]){first}/{second}/(?P<year>(?:19|20)\d\d|\d\d)(?![\d/])", figures),
        rule(
            rf"(?<=(?<!\p{{L}})(?i:on|due|until|dated)\n){first}/{second}(?![\d/])",
            lambda m: said(int(m["m"]), int(m["d"]), None),
        ),
        rule(rf"{_MONTH}(?P<gap>\n?){_DAY}(?:[-–](?P<last>[12]\d|3[01]|0?[1-9])(?!\d))?{years}", month_first),
        rule(rf"(?<![\d$£€.,:/-]){_DAY}(?P<gap>\n){_MONTH}(?!\p{{L}}){years}", day_first),
        rule(rf"{_MONTH}(?P<comma>,?)(?P<gap>\n){_YEAR}", month_and_year),
        rule(
            rf"(?<!\p{{L}})({'|'.join(_WEEKDAYS)})\.(?=,|[-–]|\n(?:\d|{_MONTH}))",
            lambda m: _WEEKDAYS[m[1]],
        ),
        rule(
            r"(?<=(?<!\p{L})(?i:in|since|by|last|next|until|of|from|early|late|mid)\n)"
            r"(?P<month>Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)(?P<stop>\.)",
            lambda m: _SHORT[m["month"]] + ("." if ends_line(m) else ""),
        ),
    )  # fmt: skip


def _month(match: Match) -> str:
    name = match["month"].rstrip(".")
    return _SHORT.get(name, name)


def year_rules(british: bool) -> tuple[Rule, ...]:
    def said(match: Match) -> str:
        return year(int(match["year"]), british)

    def span(match: Match) -> str:
        low, high = match["year"], match["high"]
        spoken = year(int(high), british) if len(high) == 4 else cardinal(int(high))
        return (
            f"{said(match)}{breaks(match['gap'])}to{breaks(match['gap2'])}{spoken}" if low else ""
        )

    not_counted = rf"(?![\d%:]|[.,]\d|-\d|\n(?:{_COUNTED})(?!\p{{L}}))"
    return (
        rule(r"(?<!\d)(?P<year>1[1-9]\d0|20\d0)['’]?s(?!\p{L})", lambda m: plural(said(m))),
        rule(r"(?<![\d.,$£€])['‘’]?(?P<tens>[2-9]0)['’]?s(?!\p{L})", lambda m: plural(cardinal(int(m["tens"])))),
        rule(r"(?<![\d\p{L}])['‘’](?P<two>\d\d)(?![\d\p{L}'’\"])", lambda m: _short_year(m["two"])),
        rule(
            r"(?<![\d.,$£€/-])(?P<year>1[1-9]\d\d|20\d\d)(?P<gap>\n?)[-–—](?P<gap2>\n?)(?P<high>1[1-9]\d\d|20\d\d|[1-9]\d)"
            r"(?![\d%/-]|[.,]\d)",
            span,
        ),
        rule(
            rf"(?<=(?<!\p{{L}})(?i:{_BEFORE_YEARS}),?\n\(?)(?<!(?i:{_AMOUNT_OF})\nof\n)"
            rf"(?P<year>1[0-9]\d\d|20\d\d){not_counted}",
            said,
        ),
        rule(r"(?<![\d.,$£€-])(?P<year>1[0-9]\d\d|20\d\d)(?=\n(?:AD|BC|BCE|CE)(?!\p{L}))", said),
        rule(r"(?<=(?:AD|©)\n?)(?P<year>1[0-9]\d\d|20\d\d)(?!\d)", said),
        # mid-2019, 2019's, the 2024 Olympics
        rule(r"(?<=(?<!\p{L})(?i:mid|pre|post|early|late)-)(?P<year>1[1-9]\d\d|20\d\d)(?!\d)", said),
        rule(r"(?<![\d.,$£€-])(?P<year>1[1-9]\d\d|20\d\d)(?=['’]s(?!\p{L}))", said),
        rule(
            rf"(?<=(?<!\p{{L}})(?i:the|an?|this)\n)(?P<year>(?:19|20)\d\d)(?=\n\p{{L}}){not_counted}",
            said,
        ),
        rule(r"(?<=\()(?P<year>1[1-9]\d\d|20\d\d)(?=\))", said),
    )  # fmt: skip


def _short_year(figures: str) -> str:
    value = int(figures)
    return f"oh {cardinal(value)}" if value < 10 else cardinal(value)


def time_rules() -> tuple[Rule, ...]:
    return (
        rule(
            r"(?<=\d\n?[AaPp]\.?[Mm]\.?|:\d\d|(?<!\d)\d{1,2})[-–]"
            r"(?=\d{1,2}(?::\d\d\n?[AaPp]\.?[Mm]|\n?[AaPp]\.?[Mm])(?!\p{L}))|(?<=:\d\d)[-–](?=\d{1,2}:\d\d)",
            " to ",
        ),
        rule(
            r"(?<![\d:.,$])(?P<hour>\d{1,2}):(?P<minute>[0-5]\d):(?P<second>[0-5]\d)(?![\d:])",
            lambda m: " ".join(
                f"{cardinal(int(m[part]))} {part}{'' if int(m[part]) == 1 else 's'}"
                for part in ("hour", "minute", "second")
                if int(m[part])
            ) or "zero seconds",
        ),
        rule(
            rf"(?<![\d:.,$])(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?![\d:])(?:(?P<gap>\n?){_CLOCK_ENDS})?",
            _clock,
        ),
        rule(rf"(?<![\d:.,$])(?P<hour>1[0-2]|0?[1-9])(?P<minute>)(?P<gap>\n?){_CLOCK_ENDS}", _clock),
        rule(
            r"(?<![\d:.])(\d{1,3}):(\d{1,3})(?![\d:])",
            lambda m: f"{cardinal(int(m[1]))} to {cardinal(int(m[2]))}",
        ),
    )  # fmt: skip


def _clock(match: Match) -> str:
    """A newsreader's time: three thirty, three o'clock, three p m for 15:00."""
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    half = (match["half"] or "").lower()
    if not half and (hour > 12 or match["hour"][0] == "0"):
        half = "p" if hour >= 12 else "a"
    spoken = cardinal(hour % 12 or 12)
    if minute:
        spoken += f" {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    elif not half:
        spoken += " o'clock"
    if half:
        spoken += f"{breaks(match['gap'])}{half} m"
    if match["stop"] and not _GOES_ON.match(match.string, match.end()):
        rest = match.string[match.end() : match.end() + 1]
        spoken += "" if rest and rest in ",;:.!?" else "."
    return spoken
