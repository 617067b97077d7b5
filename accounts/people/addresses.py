"""E-mail addresses that mail can be sent to, written as they are compared."""

from django.core.validators import validate_email
from django.utils.translation import gettext as _

LONGEST = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets


def normal_address(address: str) -> str:
    """An address in lower case, which can grow by it. Raises ValueError if no mail server takes it."""
    lower = address.strip().lower()
    if len(lower) > LONGEST:
        raise ValueError(_("This address is too long."))
    try:
        validate_email(lower)
        lower.rpartition("@")[2].encode("idna")
    except Exception as exc:
        raise ValueError(_("This is no address that mail can be sent to.")) from exc
    return lower
