"""Money: integers of a currency's smallest unit. What is on the way there is Decimal, never float."""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_UP, Decimal

from django.db.models import TextChoices


class Currency(TextChoices):
    """ISO 4217."""

    KRW = "KRW"
    USD = "USD"
    EUR = "EUR"


# How many decimal places of a currency its smallest unit stands for (ISO 4217, "minor unit").
_PLACES = {Currency.KRW: 0, Currency.USD: 2, Currency.EUR: 2}
_SIGNS = {Currency.KRW: "₩", Currency.USD: "$", Currency.EUR: "€"}


def half_up(amount: Decimal) -> int:
    """To the smallest unit; a half goes away from zero, as bookkeepers round."""
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def ceiling(amount: Decimal) -> int:
    """Up to the smallest unit: what something costs at most."""
    return int(amount.quantize(Decimal(1), ROUND_CEILING))


def truncated(amount: Decimal) -> int:
    """Down towards zero to the smallest unit, as Korean VAT drops fractions of a won."""
    return int(amount.quantize(Decimal(1), ROUND_DOWN))


def shown(amount_minor: int | Decimal, currency: str, places: int = 0) -> str:
    """An amount as people read it: ``₩12,300``, ``$1.50``. places: beyond the smallest unit, of a price."""
    digits = _PLACES[Currency(currency)]
    amount = Decimal(amount_minor).scaleb(-digits)
    text = f"{abs(amount):,.{digits + places}f}"
    return f"{'-' if amount < 0 else ''}{_SIGNS[Currency(currency)]}{text}"


def plain(amount_minor: int, currency: str) -> str:
    """An amount for spreadsheets: ``12300``, ``1.50``."""
    digits = _PLACES[Currency(currency)]
    return f"{Decimal(amount_minor).scaleb(-digits):.{digits}f}"


def in_minor(amount: Decimal, currency: str) -> int:
    """An amount as people write it, such as 1.50, in minor units. Raises ValueError."""
    scaled = amount.scaleb(_PLACES[Currency(currency)])
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{amount} is no amount of {currency}")
    return int(scaled)
