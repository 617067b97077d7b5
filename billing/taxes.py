"""Value-added tax of a seller in Korea, and what Korean companies are known by.

Korea: 10 % on what is supplied at home; fractions of a won are dropped, as its tax office does. Services
to buyers abroad are zero-rated. A seller elsewhere charges none here: that is for whoever runs it to
settle with its tax office.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from billing.money import truncated

HOME = "KR"
PERCENT = Decimal(10)

_NUMBER = re.compile(r"(\d{3})-?(\d{2})-?(\d{5})")
_WEIGHTS = (1, 3, 7, 1, 3, 7, 1, 3, 5)


@dataclass(frozen=True)
class Tax:
    """net_minor: the supply value; note: domestic, zero_rated or none."""

    net_minor: int
    tax_minor: int
    percent: Decimal
    note: str

    @property
    def total_minor(self) -> int:
        return self.net_minor + self.tax_minor


def tax_of(amounts: Iterable[tuple[int, bool]], *, seller: str, buyer: str) -> Tax:
    """The tax on an invoice as a whole.

    amounts: of its lines, in minor units, and whether tax is in them. seller, buyer: their countries.
    """
    plain = gross = 0
    for amount, includes_tax in amounts:
        if includes_tax:
            gross += amount
        else:
            plain += amount
    if seller != HOME or buyer != HOME:
        note = "zero_rated" if seller == HOME else "none"
        return Tax(plain + gross, 0, Decimal(0), note)
    inside = truncated(gross * PERCENT / (100 + PERCENT))
    on_top = truncated(plain * PERCENT / 100)
    return Tax(plain + gross - inside, inside + on_top, PERCENT, "domestic")


def business_number(text: str) -> str | None:
    """A Korean business registration number as 123-45-67891, if its check digit is right; else None.

    The National Tax Service's rule: digits times 1 3 7 1 3 7 1 3 5, and the tens of the ninth's product
    once more; with the tenth digit all adds up to a multiple of ten.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    digits = [int(digit) for digit in "".join(match.groups())]
    total = sum(digit * weight for digit, weight in zip(digits, _WEIGHTS, strict=False))
    total += digits[8] * _WEIGHTS[8] // 10
    if (total + digits[9]) % 10:
        return None
    return "-".join(match.groups())
