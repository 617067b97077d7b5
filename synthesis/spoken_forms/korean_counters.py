"""Which numbers Koreans count with before a noun: native (세 개) or Sino-Korean (삼 층)."""

import regex

from synthesis.spoken_forms.korean_particles import PARTICLES

# Counters that take native numerals (Standard Dictionary, 표준국어대사전: 의존 명사, and nouns and
# loans used like them). All others take Sino-Korean: 분, 초, 년, 일, 원, 층, 도, 학년 ...
_NATIVE_COUNTERS = (
    "시 시간 개 명 사람 살 마리 권 잔 병 대 장 벌 켤레 송이 그루 채 척 자루 달 가지 번 번째 배 끼 군데 "
    "곳 판 통 갑 다발 모금 바퀴 걸음 차례 남매 형제 자매 팀 쌍 건 편 곡 줄 칸 알 톨 포기 조각 그릇 접시 "
    "컵 캔 박스 상자 봉지 팩 묶음 뭉치 모 마디 문장 골 경기 식구 가구 종류 밤 돌 해 방울 숟가락 스푼 가닥 "
    "토막 자리 발짝 발자국 짝 뼘 필 올 친구 나라 도시 학교 회사 글자 가족 꼭지"
)
NATIVE_COUNTERS = "|".join(sorted(_NATIVE_COUNTERS.split(), key=len, reverse=True))
_SUFFIXES = "(?:들|씩|째|쯤|경|짜리|당|여|간|정도|가량|이상|이하|미만|초과|남짓|안팎|배기|꼴|전|후|내|동안|중|반|분)"
# A pattern: what may follow a counter in its word.
COUNTER_ENDS = rf"(?:{_SUFFIXES}){{0,2}}(?:(?![\p{{L}}\p{{N}}])|(?=\d)|{PARTICLES})"
_NATIVE = regex.compile(rf"\n?(?P<counter>{NATIVE_COUNTERS}){COUNTER_ENDS}")

# 번 after which a number is a name, not how often: 3번 출구, 1번을 누르세요.
_NUMBERED_BY_BEON = regex.compile(
    r"\n?번가|\n?번(?:을|를|은|이|으로)?\n?(?:출구|버스|문제|국도|도로|타자|선수|트랙|채널|방|홀|코스|게이트|창구|타석|레인|"
    r"마을버스|좌석|열|줄|칸|자리|척추|교향곡|협주곡|소나타|후보|항목|보기|질문|답|정답|키|버튼|누르|눌러|눌렀|선택)"
)
_NUMBER_BEFORE_BEON = regex.compile(
    r"(?:기호|번호|등번호|버스|문제|국도|노선|보기|정답은|답은|번호는|반|교향곡|협주곡|소나타|타자|선수)\n?$"
)
_PREFIXED = regex.compile(r"제\n?$")
# 대 of an age group (20대), an office (16대 대통령) or the greatest few (3대 요소), not of cars.
_NOT_CARS = regex.compile(
    r"(?:대|\n대\n)\d|\n?대\n?(?:보험|요소|그룹|강(?!의)|양(?!의)|폭포|은행|기업|명절|영양소|원칙|과제|의무|성인|종교|미항|메이저|도시|"
    r"시장|산업|지표|조건|문명|천왕|사건|악재|대통령|회장|국회|총리|왕|불가사의|뉴스|관광지|공약|범죄)"
)
_AMONG = regex.compile(r"(?:세계|국내|전국|아시아|한국)\n?$")
_PEOPLE_BEFORE = regex.compile(
    r"(?:손님|고객|고객님|어르신|선생님|관객|관람객|회원|참석자|참가자|당첨자|신청자|어른|신사|숙녀|승객|여러분|할머니|할아버지|"
    r"아주머니|교수님|작가님|부모님|스님|수녀님|신부님|목사님)\n?(?:총\n?|약\n?)?$"
)
_PEOPLE_AFTER = regex.compile(r"\n?분(?:께서|께|의\n?(?:손님|고객|선생님|어르신))|\n?분\n?모두")


def counts_natively(number: int, before: str, after: str) -> bool:
    """Whether a number from 1 to 99 is native here, by the text right before and after it."""
    if _PREFIXED.search(before):
        return False
    if _PEOPLE_BEFORE.search(before) and regex.match(
        rf"\n?분(?!\p{{L}}|\n?\d)|\n?분{PARTICLES}", after
    ):
        return True
    if _PEOPLE_AFTER.match(after):
        return True
    found = _NATIVE.match(after)
    if found is None:
        return False
    counter = found["counter"]
    if counter == "번":
        return not (_NUMBERED_BY_BEON.match(after) or _NUMBER_BEFORE_BEON.search(before))
    if counter == "대":
        by_ten = number % 10 == 0
        return not (by_ten or _NOT_CARS.match(after) or _AMONG.search(before))
    # Clock times go to 24; a day's hours and more are said in Sino-Korean (이십사 시간 영업).
    if counter == "시":
        return number <= 24
    return counter != "시간" or number < 24
