"""The words of invoices and reports, in English and Korean."""

from collections.abc import Callable

_WORDS: dict[str, tuple[str, str]] = {
    "invoice": ("Invoice", "청구서"),
    "draft_invoice": ("Draft invoice", "청구서 (초안)"),
    "credit_note": ("Credit note", "감액 청구서"),
    "usage_report": ("Usage report", "사용 보고서"),
    "void": ("Void", "무효"),
    "so_far": ("so far", "현재까지"),
    "number": ("Number", "번호"),
    "issued": ("Issued", "발행일"),
    "due": ("Due", "납부 기한"),
    "made": ("Made", "작성 시각"),
    "period": ("Period", "청구 기간"),
    "time_zone": ("Time zone", "시간대"),
    "seller": ("From", "공급자"),
    "buyer": ("To", "공급받는 자"),
    "tax_id": ("Tax id", "세금 식별번호"),
    "business_number": ("Business registration number", "사업자등록번호"),
    "representative": ("Representative", "대표자"),
    "business_type": ("Type of business", "업태"),
    "business_item": ("Item of business", "종목"),
    "what": ("What", "내역"),
    "quantity": ("Quantity", "수량"),
    "price": ("Price", "단가"),
    "amount": ("Amount", "금액"),
    "base_fee": ("Base fee", "기본 요금"),
    "audio": ("Audio made", "생성한 오디오"),
    "late_audio": ("Audio of an earlier month, reported late", "지난달 오디오 (늦게 집계됨)"),
    "credit": ("Credit", "크레딧"),
    "included": ("included", "기본 제공"),
    "of_which": ("of which", "그중"),
    "of_which_included": ("of which in the plan", "그중 기본 제공량"),
    "minutes": ("min", "분"),
    "minute": ("min", "분"),
    "days": ("days", "일"),
    "net": ("Net", "공급가액"),
    "supply_value": ("Supply value", "공급가액"),
    "tax": ("VAT", "부가가치세"),
    "total": ("Total", "합계"),
    "tax_domestic": (
        "VAT of 10 % of the supply value; fractions of a won are dropped.",
        "부가가치세는 공급가액의 10 %이며 원 미만은 버립니다.",
    ),
    "tax_zero_rated": (
        "Zero-rated: services supplied to a buyer outside Korea.",
        "영세율 적용: 국외 사업자에게 공급한 용역입니다.",
    ),
    "tax_none": ("No VAT is charged.", "부가가치세를 부과하지 않습니다."),
    "pay_by_transfer": (
        "Please pay by bank transfer and name {number}.",
        "계좌 이체로 납부하시고 입금자명에 {number}를 적어 주십시오.",
    ),
    "pay_by_card": (
        "The card on file is charged; nothing needs to be done.",
        "등록된 카드로 결제되므로 따로 하실 일은 없습니다.",
    ),
    "no_tax_invoice": (
        "This document is not an electronic tax invoice (세금계산서).",
        "이 문서는 전자세금계산서가 아닙니다. 전자세금계산서는 따로 발급됩니다.",
    ),
    "approval_number": ("Approval number of the tax invoice", "세금계산서 승인번호"),
    "of_invoice": ("Of invoice", "원 청구서"),
    "reason": ("Reason", "사유"),
    "cost": ("Cost, before credits and tax", "요금 (크레딧과 세금 제외)"),
    "audio_minutes": ("Audio, minutes", "오디오 (분)"),
    "characters": ("Characters", "글자 수"),
    "nothing_used": ("Nothing was used in this month.", "이 달에는 사용 내역이 없습니다."),
    "by_day": ("By day", "일별"),
    "by_key": ("By API key", "API 키별"),
    "by_speaker": ("By speaker", "화자별"),
    "by_project": ("By project", "프로젝트별"),
    "day": ("Day", "날짜"),
    "key": ("Key", "키"),
    "speaker": ("Speaker", "화자"),
    "project": ("Project", "프로젝트"),
    "none": ("none", "없음"),
    "more_in_csv": ("{count} more are in the CSV.", "나머지 {count}개는 CSV에 있습니다."),
    "plan_trial": ("Trial", "체험"),
    "plan_standard": ("Standard", "스탠더드"),
    "plan_business": ("Business", "비즈니스"),
    "plan_enterprise": ("Enterprise", "엔터프라이즈"),
}
LANGUAGES = ("en", "ko")


def words(language: str) -> Callable[[str], str]:
    """A function from a key to the words in a language."""
    index = LANGUAGES.index(language)
    return lambda key: _WORDS[key][index]
