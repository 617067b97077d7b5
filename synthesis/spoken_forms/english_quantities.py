"""English money, units, fractions, ranges and sums."""

from synthesis.spoken_forms.english_numbers import cardinal, number_words, ordinal, plural
from synthesis.spoken_forms.rewriting import NUMBER, START, WHOLE, Match, Rule, breaks, rule

# One, many, and a hundredth part, one and many.
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "", ""),
    "₩": ("won", "won", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
_WHOSE = {"US": "US ", "C": "Canadian ", "CA": "Canadian ", "A": "Australian ", "AU": "Australian ",
          "HK": "Hong Kong ", "NZ": "New Zealand ", "S": "Singapore "}  # fmt: skip
_SCALES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "b": "billion",
           "B": "billion", "bn": "billion", "T": "trillion"}  # fmt: skip
_SCALE = r"(?:(?:thousand|million|billion|trillion)(?!\p{L})|(?:mn|bn|[kKmMbBT])(?![\p{L}\d]))"
# A sum before one of these is an adjective: a five dollar bill.
_PRICED = "bill|note|coin|ticket|fee|fine|prize|tip|menu|stamp|gift|discount|deal|loan|budget"
_MARK = r"(?P<whose>(?<!\p{L})(?:US|CA?|AU?|HK|NZ|S))?(?P<mark>[$£€¥₩₹])"

_UNITS = {
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "nm": "nanometer",
    "mi": "mile", "yd": "yard", "kg": "kilogram", "g": "gram", "mg": "milligram", "lb": "pound",
    "lbs": "pound", "oz": "ounce", "L": "liter", "l": "liter", "mL": "milliliter", "ml": "milliliter",
    "gal": "gallon", "KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte",
    "PB": "petabyte", "Mbps": "megabit per second", "Gbps": "gigabit per second", "kW": "kilowatt",
    "MW": "megawatt", "GW": "gigawatt", "W": "watt", "kWh": "kilowatt hour", "MWh": "megawatt hour",
    "V": "volt", "kV": "kilovolt", "mAh": "milliamp hour", "dB": "decibel", "kcal": "kilocalorie",
    "cal": "calorie", "ms": "millisecond", "sec": "second", "secs": "second", "min": "minute",
    "mins": "minute", "hr": "hour", "hrs": "hour", "yr": "year", "yrs": "year", "px": "pixel", "ha": "hectare",
    "km/h": "kilometer per hour", "kph": "kilometer per hour", "mph": "mile per hour",
    "m/s": "meter per second", "mpg": "mile per gallon", "km²": "square kilometer",
    "m²": "square meter", "m2": "square meter", "cm²": "square centimeter", "m³": "cubic meter",
    "m3": "cubic meter", "°": "degree", "°C": "degree Celsius", "°F": "degree Fahrenheit",
}  # fmt: skip
_ALIKE = {"ft": ("foot", "feet"), "Hz": ("hertz",) * 2, "kHz": ("kilohertz",) * 2, "MHz": ("megahertz",) * 2,
          "GHz": ("gigahertz",) * 2, "%": ("percent",) * 2, "rpm": ("R P M",) * 2, "psi": ("P S I",) * 2,
          "fps": ("frames per second",) * 2, "ppm": ("parts per million",) * 2,
          "¢": ("cent", "cents"), "sq\nft": ("square\nfoot", "square\nfeet")}  # fmt: skip
_UNIT = "|".join(sorted([*_UNITS, *_ALIKE], key=len, reverse=True))


def _unit_words(unit: str, one: bool) -> str:
    if unit in _ALIKE:
        return _ALIKE[unit][0 if one else 1]
    spoken = _UNITS[unit]
    if one:
        return spoken
    head, per, tail = spoken.partition(" per ")
    if head.startswith("degree"):
        return head.replace("degree", "degrees", 1)
    return f"{head}s{per}{tail}"


def money_rules(british: bool) -> tuple[Rule, ...]:
    def said(match: Match) -> str:
        one, many, cent, _ = _CURRENCIES[match["mark"]]
        whose = _WHOSE.get(match["whose"] or "", "")
        number, scale = match["number"], match["scale"] or ""
        whole, _, decimals = number.partition(".")
        if scale:
            scale = breaks(match["gap"]) + _SCALES.get(scale, scale)
        elif len(decimals) == 2 and cent:
            return _with_cents(whole, decimals, whose, match["mark"])
        adjective = not scale and match["noun"] is not None
        name = one if adjective or (number == "1" and not scale) else many
        return f"{number_words(number, british)}{scale} {whose}{name}"

    def _with_cents(whole: str, decimals: str, whose: str, mark: str) -> str:
        one, many, cent, cents = _CURRENCIES[mark]
        pounds = f"{number_words(whole, british)} {whose}{one if whole == '1' else many}"
        small = int(decimals)
        if not small:
            return pounds
        pence = f"{cardinal(small)} {cent if small == 1 else cents}"
        return pence if whole == "0" else f"{pounds} and {pence}"

    tail = rf"(?:(?P<gap>[\n-]?)(?P<scale>{_SCALE}))?(?=(?P<noun>[\n-](?:{_PRICED})(?!\p{{L}}))?)"
    return (
        rule(r"(?<=[$£€])\.(?=\d)", "0."),
        # $5-10 million: the sign and the scale are said once.
        rule(
            rf"{_MARK}\n?({WHOLE}(?:\.\d{{1,2}})?)[-–](?=[$£€¥₩₹]?{NUMBER})",
            lambda m: f"{number_words(m[3], british)} to {m['whose'] or ''}{m['mark']}",
        ),
        rule(rf"{_MARK}\n?(?P<number>{NUMBER}){tail}", said),
        rule(rf"{START}(?P<number>{NUMBER})(?P<whose>)(?P<mark>[£€₩¥])(?P<gap>)(?P<scale>)(?P<noun>\b\B)?", said),
    )  # fmt: skip


def unit_rules(british: bool) -> tuple[Rule, ...]:
    def measured(match: Match) -> str:
        number, unit, hyphen = match["number"], match["unit"], match["gap"] == "-"
        words = _unit_words(unit, one=number == "1" or hyphen)
        return f"{number_words(number, british)}{breaks(match['gap'])}{words}"

    def height(match: Match) -> str:
        return f"{cardinal(int(match[1]))} foot {cardinal(int(match[2]))}"

    return (
        rule(r"(?<!\d)([1-9])['’′](1[01]|\d)(?:[\"”″]|''|’’)?(?![\d\p{L}])", height),
        rule(
            rf"{START}(?P<number>{NUMBER})(?P<gap>[\n-]?)(?P<unit>{_UNIT})(?![\p{{L}}\d²³/]|['’]\p{{L}})",
            measured,
        ),
    )


# Units after a fraction, which is in words by then: only those that are no English word.
_PART_UNITS: tuple[Rule, ...] = (
    rule(
        r"(?<=(?:half|quarters?|halves|thirds?|fifths?|eighths?)\n?)(km|kg|cm|mm|mL|ml|mi|lbs?|oz|ft|hrs?)(?!\p{L})\.?",
        lambda m: ("" if m.string[m.start() - 1] == "\n" else " ") + _unit_words(m[1], one=not _and_part(m)),
    ),
)  # fmt: skip


def _and_part(match: Match) -> bool:
    """Whether the fraction follows a whole: two and a half miles, but three quarters mile."""
    return "and " in match.string[max(0, match.start() - 20) : match.start()]


def fraction_rules(british: bool) -> tuple[Rule, ...]:
    def said(match: Match) -> str:
        above, below = int(match["above"]), int(match["below"])
        whole, gap = match["whole"], match["gap"]
        spoken = _fraction(above, below)
        if not whole:
            return spoken
        if above == 1 and below in (2, 4):
            spoken = spoken.replace("one", "a", 1)
        return f"{number_words(whole, british)}{breaks(gap)}and {spoken}"

    def _fraction(above: int, below: int) -> str:
        if above >= below or below > 100:
            return f"{cardinal(above, british)} over {cardinal(below, british)}"
        part = {2: "half", 4: "quarter"}.get(below) or ordinal(below)
        return f"{cardinal(above)} {part if above == 1 else _plural_part(part)}"

    return (
        rule(r"(?<![\d./])24/7(?![\d/])", "twenty-four seven"),
        rule(r"(?<![\d./])50[/-]50(?![\d/])", "fifty-fifty"),
        rule(
            r"(?<![\d./,$£€-])(?:(?P<whole>\d{1,4})(?P<gap>[\n -]))?(?<!\d)(?P<above>[1-9]\d{0,2})/(?P<below>[1-9]\d{0,2})"
            r"(?:ths?|rds?|nds?|s)?(?![\d/]|\p{L}(?!\p{L}?(?!\p{L})))",
            said,
        ),
        *_PART_UNITS,
    )  # fmt: skip


def _plural_part(part: str) -> str:
    """halves, quarters, thirds."""
    return "halves" if part == "half" else plural(part)


def _to(dash: str) -> str:
    return "\nto\n" if "\n" in dash else " to "


RANGES: tuple[Rule, ...] = (
    rule(
        rf"(?<![\d.,\p{{L}}-])(?P<low>{NUMBER})(?P<unit>%?)(?P<sep>[-–—~]|\n[-–—~]\n)(?=[$£€]?{NUMBER}(?![\d-]|\n?=))",
        lambda m: f"{m['low']}{m['unit']}{_to(m['sep'])}",
    ),
)


def sum_rules() -> tuple[Rule, ...]:
    """Signs: minus, plus, times, equals."""

    def between(signs: str, name: str, follows: str = r"(?=\d)") -> Rule:
        return rule(
            rf"(?<=\d%?)(\n?){signs}(\n?){follows}",
            lambda m: f"{breaks(m[1])}{name}{breaks(m[2])}",
        )

    return (
        between(r"\+", "plus", r"(?=[$£€\d])"),
        between(r"[×*]", "times"),
        between("[xX]", "by"),
        between("÷", "divided by"),
        between("[-–]", "minus", rf"(?={WHOLE}\n?=)"),
        between("=", "equals", r"(?=[-$£€\d])"),
        between("<", "is less than"),
        between(">", "is greater than"),
        rule(r"(?<=\d)\+(?![\p{L}\d$£€])", " plus"),
        rule(r"±\n?(?=\d)", "plus or minus "),
        rule(r"(?<![\p{L}\d)\]-])[-–](?=[$£€¥₩.]?\d)", "minus "),
        rule(r"(?<![\p{L}\d)])[~≈](?=[$£€]?\d)", "about "),
        rule(r"(?<![\p{L}\d])\+(?=\d)", "plus "),
    )
