"""Latin letters in a Korean line: capitals by their names, in the way that Koreans say them."""

from synthesis.spoken_forms.korean_numbers import by_digit, sino_korean
from synthesis.spoken_forms.rewriting import Match, Rule, rule

_LETTERS = {
    "A": "에이", "B": "비", "C": "씨", "D": "디", "E": "이", "F": "에프", "G": "지", "H": "에이치",
    "I": "아이", "J": "제이", "K": "케이", "L": "엘", "M": "엠", "N": "엔", "O": "오", "P": "피",
    "Q": "큐", "R": "알", "S": "에스", "T": "티", "U": "유", "V": "브이", "W": "더블유",
    "X": "엑스", "Y": "와이", "Z": "제트",
}  # fmt: skip
# A digit that belongs to a name in letters is said in English: 엠피쓰리, 에이포.
_ENGLISH_DIGITS = dict(
    zip(
        "123456789",
        ["원", "투", "쓰리", "포", "파이브", "식스", "세븐", "에이트", "나인"],
        strict=True,
    )
)
# Capitals that are said as words, not letter by letter: institutions, and what shops shout.
_NAMES = {
    "NASA": "나사", "NATO": "나토", "FIFA": "피파", "OPEC": "오펙", "ASEAN": "아세안", "APEC": "에이펙",
    "AIDS": "에이즈", "COVID": "코비드", "COVID-19": "코비드 나인틴", "K-POP": "케이팝",
    "IKEA": "이케아", "LEGO": "레고", "POP": "팝",
    "OFF": "오프", "ON": "온", "SALE": "세일", "NEW": "뉴", "BEST": "베스트", "HOT": "핫", "EVENT": "이벤트",
    "OPEN": "오픈", "LIVE": "라이브", "STOP": "스톱", "YES": "예스", "NO": "노", "FREE": "프리", "TOP": "톱",
    "LOVE": "러브", "YOU": "유", "THE": "더", "SET": "세트", "MAX": "맥스", "PLUS": "플러스",
}  # fmt: skip
_ALONE = r"(?<![\p{Latin}\d@])(?<!\p{Latin}['’.-])"
_ENDS = r"(?![\p{Latin}\d]|['’.-][\p{Latin}\d])"


def spelled(letters: str) -> str:
    """Capitals by their names: KBS is 케이비에스."""
    return _NAMES.get(letters) or "".join(_LETTERS[letter] for letter in letters)


def _mixed(match: Match) -> str:
    """Letters and digits in one name: MP3 is 엠피쓰리, F-16 에프 십육."""
    if match[0] in _NAMES:
        return _NAMES[match[0]]
    spoken = ""
    for run in _runs(match[0]):
        if run == "-":
            spoken += " "
        elif run.isalpha():
            spoken += spelled(run)
        elif run in _ENGLISH_DIGITS:
            spoken += _ENGLISH_DIGITS[run]
        else:
            number = sino_korean(run) if len(run) <= 4 else by_digit(run)
            spoken += f" {number} "
    return " ".join(spoken.split())


def _runs(text: str) -> list[str]:
    runs: list[str] = []
    for character in text:
        if (
            runs
            and runs[-1][-1].isdigit() == character.isdigit()
            and "-" not in (character, runs[-1])
        ):
            runs[-1] += character
        else:
            runs.append(character)
    return runs


# A4, MP3, B2B, 3D, F-16, COVID-19: capitals and digits, both present, cut only at hyphens.
MIXED_NAMES: tuple[Rule, ...] = (
    rule(r"(?i:wi-?fi)(?![\p{Latin}\d])", "와이파이"),
    rule(r"(?<![\p{Latin}\d])B([1-9])(?=\n?층)", lambda m: f"지하 {m[1]}"),
    rule(r"(?<![\p{Latin}\d.])[vV](?:er\.?\n?)?(?=\d{1,3}(?:\.\d|(?![\d\p{Latin}])))", "버전 "),
    rule(
        r"(?<![\p{Latin}\d.,])(?<!\d-|\p{Latin}-)(?=[\d-]{0,12}[A-Z])(?=[A-Z-]{0,12}\d)"
        r"[A-Z\d]{1,12}(?:-[A-Z\d]{1,12}){0,3}(?![\p{Latin}\d]|-\d)",
        _mixed,
    ),
)
CAPITALS: tuple[Rule, ...] = (
    rule(r"(?<=\p{Latin})&(?=\p{Latin})", "앤"),
    rule(rf"{_ALONE}([A-Z])/([A-Z]){_ENDS}", lambda m: spelled(m[1]) + spelled(m[2])),
    rule(rf"{_ALONE}K-(?:POP|pop|Pop){_ENDS}", "케이팝"),
    rule(rf"{_ALONE}[A-Z]{{1,5}}{_ENDS}", lambda m: spelled(m[0])),
    # e스포츠, k팝: a lone letter that Hangul clings to.
    rule(r"(?<![\p{Latin}\d'’.&-])[a-z](?=\p{Hangul})", lambda m: spelled(m[0].upper())),
)
