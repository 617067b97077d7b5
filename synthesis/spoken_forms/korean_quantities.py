"""Money, units, ranges and sums: symbols and Latin units to Korean words around the figures."""

from decimal import Decimal

from synthesis.spoken_forms.korean_counters import COUNTER_ENDS, NATIVE_COUNTERS
from synthesis.spoken_forms.korean_numbers import sino_korean
from synthesis.spoken_forms.korean_particles import ends_in_consonant, set_apart
from synthesis.spoken_forms.rewriting import NUMBER, START, WHOLE, Match, Rule, breaks, rule

_CURRENCIES = {
    "$": "달러", "€": "유로", "£": "파운드", "¥": "엔", "₩": "원", "￦": "원", "US$": "달러",
    "USD": "달러", "EUR": "유로", "JPY": "엔", "KRW": "원", "GBP": "파운드",
}  # fmt: skip
_CURRENCY = r"US\$|[$€£¥₩￦]|(?<!\p{Latin})(?:USD|EUR|JPY|KRW|GBP)(?!\p{Latin})"
_MULTIPLES = {
    "K": 10**3, "thousand": 10**3, "M": 10**6, "million": 10**6, "B": 10**9, "billion": 10**9,
    "T": 10**12, "trillion": 10**12,
}  # fmt: skip
_MULTIPLE = r"(?:thousand|million|billion|trillion|[KMBT](?!\p{Latin}))"
_MAN = r"(?:[십백천]?[만억조]|[백천])"

_UNITS = {
    "km": "킬로미터", "m": "미터", "cm": "센티미터", "mm": "밀리미터", "nm": "나노미터", "μm": "마이크로미터",
    "kg": "킬로그램", "g": "그램", "mg": "밀리그램", "μg": "마이크로그램", "t": "톤", "lb": "파운드",
    "oz": "온스", "ft": "피트", "L": "리터", "l": "리터", "mL": "밀리리터", "ml": "밀리리터", "dL": "데시리터",
    "kL": "킬로리터", "cc": "씨씨", "ha": "헥타르", "m²": "제곱미터", "m2": "제곱미터", "km²": "제곱킬로미터",
    "km2": "제곱킬로미터", "cm²": "제곱센티미터", "cm2": "제곱센티미터", "m³": "세제곱미터",
    "m3": "세제곱미터", "cm³": "세제곱센티미터", "cm3": "세제곱센티미터", "KB": "킬로바이트", "kB": "킬로바이트",
    "MB": "메가바이트", "GB": "기가바이트", "TB": "테라바이트", "PB": "페타바이트", "Kbps": "킬로비피에스",
    "Mbps": "메가비피에스", "Gbps": "기가비피에스", "Hz": "헤르츠", "kHz": "킬로헤르츠", "MHz": "메가헤르츠",
    "GHz": "기가헤르츠", "W": "와트", "kW": "킬로와트", "MW": "메가와트", "GW": "기가와트", "Wh": "와트시",
    "kWh": "킬로와트시", "MWh": "메가와트시", "V": "볼트", "kV": "킬로볼트", "mA": "밀리암페어",
    "mAh": "밀리암페어시", "dB": "데시벨", "kcal": "킬로칼로리", "cal": "칼로리", "hPa": "헥토파스칼",
    "ppm": "피피엠", "rpm": "알피엠", "fps": "에프피에스", "px": "픽셀", "%": "퍼센트", "%p": "퍼센트포인트",
    "%P": "퍼센트포인트", "‰": "퍼밀", "°C": "도", "°": "도",
}  # fmt: skip
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
# Speeds name the time first: 시속 오 킬로미터.
_SPEEDS = {"h": "시속", "s": "초속", "min": "분속"}

# Counters whose noun is said with both ends of a range: 세 시에서 네 시, but 십에서 이십 퍼센트.
_SAID_TWICE = rf"(?:{NATIVE_COUNTERS}|월|년|도|세)"
_TILDE = r"[~～]"
# A hyphen with white space on one side only is a sign or a dash.
_TO = rf"(?:\n?{_TILDE}\n?|[-–]|\n[-–]\n)"


def _money(match: Match) -> str:
    currency = _CURRENCIES[match["currency"]]
    number, gap, scale = match["number"], match["gap"] or "", match["scale"] or ""
    between = match["between"]
    if scale in _MULTIPLES:
        value = Decimal(number.replace(",", "")) * _MULTIPLES[scale]
        if value == int(value):
            number, scale, between = _in_groups(int(value)), "", between + gap
            gap = ""
    whole, _, decimals = number.partition(".")
    if currency == "달러" and len(decimals) == 2 and not scale:
        cents = f" {int(decimals)}센트" if int(decimals) else ""
        return f"{between}{whole}달러{cents}"
    return f"{between}{number}{gap}{scale}{'' if number[-1:].isdigit() and not scale else ' '}{currency}"


def _in_groups(value: int) -> str:
    """A round value in figures and 만, 억, 조."""
    spoken = []
    for unit in ("", "만", "억", "조", "경"):
        value, group = divmod(value, 10_000)
        if group:
            spoken.append(f"{group}{unit}")
    return " ".join(reversed(spoken)) or "0"


def _speed(match: Match) -> str:
    named = match["named"] or f"{_SPEEDS[match['per']]} "
    return f"{named}{match['number']}{match['gap']}{_UNITS[match['unit']]}"


def _both_ends(match: Match) -> str:
    if "-" in match["sep"] and not _rises(match["low"], match["high"]):
        return match[0]
    unit = match["unit"]
    low = match["low"] + (match.groupdict().get("scale") or "") + unit.strip("\n")
    return f"{low}에서{breaks(match['sep'])}{match['high']}{unit}"


def _one_unit(match: Match) -> str:
    if not _rises(match["low"], match["high"]):
        return match[0]
    return f"{match['low']}에서{breaks(match['sep'])}{match['high']}"


def _rises(low: str, high: str) -> bool:
    return Decimal(low.replace(",", "")) < Decimal(high.replace(",", ""))


def _fraction(match: Match) -> str:
    whole, gap = match["whole"], match["gap"]
    spoken = f"{sino_korean(match['below'])}분의 {sino_korean(match['above'])}"
    if whole:
        spoken = f"{_whole_and(whole)}{breaks(gap)}{spoken}"
    return set_apart(match, spoken)


def _whole_and(whole: str) -> str:
    """The whole of a mixed number, with 와 or 과: 이와 이분의 일."""
    spoken = sino_korean(whole)
    return spoken + ("과" if ends_in_consonant(spoken) else "와")


MONEY: tuple[Rule, ...] = (
    rule(
        rf"(?P<currency>{_CURRENCY})(?P<between>\n?)(?P<number>{NUMBER})"
        rf"(?:(?P<gap>\n?)(?P<scale>{_MAN}|{_MULTIPLE}))?",
        _money,
    ),
    rule(
        rf"{START}(?P<number>{NUMBER})(?:(?P<gap>\n?)(?P<scale>{_MULTIPLE}))?"
        rf"(?P<between>\n?)(?P<currency>{_CURRENCY})(?!\n?\d)",
        _money,
    ),
    rule(
        rf"{START}(?P<number>{NUMBER})\n?(?P<scale>thousand|million|billion|trillion)(?=\n(?:달러|유로|파운드|원|엔|명|개))",
        lambda m: _in_groups(int(Decimal(m["number"].replace(",", "")) * _MULTIPLES[m["scale"]])),
    ),
)

UNITS: tuple[Rule, ...] = (
    rule(
        rf"(?P<named>[시초분]속\n?)?{START}(?P<number>{NUMBER})(?P<gap>\n?)(?P<unit>km|m|cm)/(?P<per>h|s|min)(?!\p{{Latin}})",
        _speed,
    ),
    rule(
        rf"(화씨\n?)?{START}({NUMBER})(\n?)°F(?!\p{{Latin}})",
        lambda m: f"{m[1] or '화씨 '}{m[2]}{m[3]}도",
    ),
    rule(
        rf"(?<=\d|\d만|\d[천억])(\n?)({_UNIT})(?![\p{{Latin}}\d²³/])",
        lambda m: m[1] + _UNITS[m[2]],
    ),
)

RANGES: tuple[Rule, ...] = (
    rule(
        rf"{START}(?P<low>-?{NUMBER})(?P<scale>{_MAN}?)(?P<sep>{_TO})(?P<high>{NUMBER})"
        rf"(?P<unit>\n?{_SAID_TWICE})(?={COUNTER_ENDS})",
        _both_ends,
    ),
    # 1~2만 원: the scale belongs to both.
    rule(
        rf"{START}(?P<low>{NUMBER})(?P<sep>{_TO})(?P<high>{NUMBER})(?P<unit>[십백천]?[만억조])(?=\n?[원명개달유엔건대]|(?!\p{{L}}))",
        _both_ends,
    ),
    rule(
        rf"{START}(?<![-\p{{Latin}}])(?P<low>{NUMBER})(?P<sep>[-–]|\n[-–]\n)(?P<high>{NUMBER})(?=\n?\p{{Hangul}})(?!\n?번지)"
        r"(?!(?:로|으로|승|패)(?!\p{Hangul}))(?![-–])",
        _one_unit,
    ),
    rule(
        rf"{START}(?<!-)((?:19|20)\d\d)(\n?[-–]\n?)((?:19|20)\d\d)(?![\d-])",
        lambda m: f"{m[1]}에서{breaks(m[2])}{m[3]}",
    ),
    rule(
        rf"(?<=\d|\d[만억천조백]|\d\p{{Hangul}}{{1,6}})(\n?){_TILDE}(\n?)(?=[-$€£¥₩]?\d|오전|오후|새벽|밤)",
        lambda m: "에서" + breaks(m[1] + m[2]),
    ),
    rule(r"(?<=(?<!\p{L})[월화수목금토일])[~～](?=[월화수목금토일](?!\p{L}))", "에서 "),
    rule(rf"(?<![^\n(]){_TILDE}(?=\d)", ""),
)

SUMS: tuple[Rule, ...] = (
    # A shop's offer, 1+1, is said in English.
    rule(r"(?<![\d.,+])1\+1(?![\d.,+]|\n?=)", "원 플러스 원"),
    rule(r"(?<![\d.,+])2\+1(?![\d.,+]|\n?=)", "투 플러스 원"),
    rule(r"(?<=\d)(\n?)\+(\n?)(?=\d)", lambda m: f"{breaks(m[1])}더하기{breaks(m[2])}"),
    rule(r"(?<=\d)(\n?)[×*xX](\n?)(?=\d)", lambda m: f"{breaks(m[1])}곱하기{breaks(m[2])}"),
    rule(r"(?<=\d)(\n?)÷(\n?)(?=\d)", lambda m: f"{breaks(m[1])}나누기{breaks(m[2])}"),
    rule(
        rf"(?<=\d)(\n?)[-–](\n?)(?={WHOLE}\n?=)", lambda m: f"{breaks(m[1])}빼기{breaks(m[2])}"
    ),
    rule(rf"(영하\n?)?(?<![\p{{L}}\d)\]-])[-–]({NUMBER})(\n?)(?=도(?!\p{{L}}|\n?\d)|도(?:까지|에서|로|를|의|가|입니다|이하|안팎|였))",
         lambda m: f"{m[1] or '영하 '}{m[2]}{m[3]}"),
    rule(r"(?<![\p{L}\d)\]-])[-–](?=\d)", "마이너스 "),
    rule(r"±\n?(?=\d)", "플러스 마이너스 "),
    rule(r"(?<!\d)\+(?=\d)", "플러스 "),
)  # fmt: skip

FRACTIONS: tuple[Rule, ...] = (
    rule(r"(?<![\d./])24/7(?![\d/])", "이십사 시간"),
    rule(r"(?<![\d./])([1-4])/4(?=\n?분기)", lambda m: f"{sino_korean(m[1])}사"),
    rule(
        r"(?<![\d./,-])(?:(?P<whole>\d{1,4})(?P<gap>[\n ]))?(?<!\d)(?P<above>[1-9]\d{0,2})/(?P<below>[1-9]\d{0,2})(?![\d/])",
        _fraction,
    ),
)
