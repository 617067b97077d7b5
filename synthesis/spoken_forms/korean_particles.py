"""What may cling to a Korean noun without making another word of it, and where numbers are spaced."""

import regex

from synthesis.spoken_forms.rewriting import Match

# Particles (조사) and forms of the copula (이다), as the Standard Dictionary (표준국어대사전) lists
# them; up to three may follow each other: 에서는, 까지만은.
_CLINGING = (
    "은 는 이 가 을 를 과 와 의 에 도 만 로 으로 랑 이랑 하고 에서 에게 에게서 께 께서 한테 한테서 부터 "
    "까지 마다 보다 처럼 같이 만큼 조차 마저 밖에 뿐 나 이나 든지 이든지 든 이든 라도 이라도 라고 이라고 라는 "
    "이라는 란 이란 야 아 여 이여 요 이요 서 이서 치고 대로 커녕 다 이다 입니다 입니까 이에요 예요 이야 "
    "이었다 였다 이었습니다 였습니다 이었어요 였어요 인 일 임 인데 이고 고 이며 며 이지만 지만 이니 니 이라 라 "
    "이면 면 이라면 라면 이니까 니까 이죠 죠 이지 인가요 인가 일까요 일까 이네요 네요 이네 네 이랍니다 랍니다 "
    "이래요 래요 이었던 였던 이어서 여서 이자"
)
_ALTERNATIVES = "|".join(sorted(_CLINGING.split(), key=len, reverse=True))
# A pattern: one to three of them, and the end of the word.
PARTICLES = rf"(?:{_ALTERNATIVES}){{1,3}}(?![\p{{L}}\p{{N}}])"


# 여 (more than) belongs to the number: 십여 명, 삼천여 개.
_MORE = r"여(?=\n|[명개년곳건원분일종대회편]|가지|마리|차례|킬로|미터|그루|시간)"
# What clings to a number without being a counter; 도, 일, 인, 만 after figures are counters.
_NOT_COUNTER = regex.compile(
    rf"(?!만|도|인|일|대|서|임|고|다|든|네|요|야|아){PARTICLES}|{_MORE}|째(?!\p{{L}})|분의\n?\d"
)


def around(match: Match) -> tuple[str, str]:
    """The text right before a match and right after it, as much as the rules look at."""
    start, end = match.span()
    return match.string[max(0, start - 12) : start], match.string[end : end + 24]


def set_apart(match: Match, spoken: str, counts: bool = False) -> str:
    """A number spaced from what it clings to, except from particles.

    counts: what follows is known to be a counter, whatever it looks like.
    """
    before, after = around(match)
    lead = " " if before[-1:].isalpha() or before[-1:] in {")", "%"} else ""
    apart = after[:1].isalnum() and (counts or not _NOT_COUNTER.match(after))
    return lead + spoken + (" " if apart else "")


def ends_in_consonant(word: str) -> bool:
    """Whether the last syllable is closed (받침), which decides between 은 and 는."""
    last = word[-1:]
    return "가" <= last <= "힣" and (ord(last) - 0xAC00) % 28 != 0
