"""The prices that an installation begins with: an example, which `manage.py set_price` supersedes."""

from datetime import UTC, datetime
from typing import Any

from accounts.identifiers import price_id

_FROM = datetime(2020, 1, 1, tzinfo=UTC)
_HOUR_MS = 3_600_000
# Minor units of base fee and of a minute by tier: KRW, USD, EUR.
LIST_PRICES: dict[str, Any] = {
    # plan: (included hours, {currency: (base fee, (price of a minute, ...))}, tiers' ends in hours)
    "trial": (0.5, {"KRW": (0, ()), "USD": (0, ()), "EUR": (0, ())}, ()),
    "standard": (
        0,
        {"KRW": (0, ("200", "160")), "USD": (0, ("15", "12")), "EUR": (0, ("14", "11"))},
        (20, None),
    ),
    "business": (
        20,
        {
            "KRW": (130_000, ("120", "90")),
            "USD": (9_900, ("9", "7")),
            "EUR": (8_900, ("8.5", "6.5")),
        },
        (200, None),
    ),
    "enterprise": (
        250,
        {
            "KRW": (1_300_000, ("70", "50")),
            "USD": (99_000, ("5.5", "4")),
            "EUR": (89_000, ("5", "3.5")),
        },
        (2_000, None),
    ),
}


def make_list_prices(model: Any) -> None:
    """Add the list's first prices. model: Price, as a migration knows it or as it is now."""
    for plan, (hours, currencies, ends) in LIST_PRICES.items():
        for currency, (base_fee, minutes) in currencies.items():
            model.objects.create(
                id=price_id(),
                plan=plan,
                currency=currency,
                valid_from=_FROM,
                base_fee_minor=base_fee,
                included_ms=round(hours * _HOUR_MS),
                tiers=[
                    {"up_to_ms": None if end is None else end * _HOUR_MS, "per_minute": minute}
                    for end, minute in zip(ends, minutes, strict=True)
                ],
            )
