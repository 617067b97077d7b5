"""How pages write moments, lengths, amounts and names: filters of templates."""

from datetime import datetime
from decimal import Decimal

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from accounts.scopes import Role
from billing.money import half_up, shown
from voicereel_site.stored_text import translated

register = template.Library()


@register.filter
def moment(at: datetime | None, form: str = "%Y-%m-%d %H:%M") -> str:
    """A moment in the reader's zone, with the zone for whoever points at it."""
    if at is None:
        return ""
    local = timezone.localtime(at)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(timespec="seconds"),
        local.strftime("%Y-%m-%d %H:%M:%S %Z"),
        local.strftime(form),
    )


@register.filter
def in_own_language(text: str) -> str:
    """A sentence that a worker stored, in the reader's language."""
    return translated(text)


@register.filter
def day(at: datetime | None) -> str:
    return moment(at, "%Y-%m-%d")


@register.filter
def length_of(ms: int | None) -> str:
    """Milliseconds as a clock shows them: 0:07, 12:34, 1:02:03."""
    if ms is None:
        return ""
    seconds = (ms + 500) // 1000
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@register.filter
def grouped(number: int) -> str:
    """12,345"""
    return f"{number:,}"


@register.filter
def percent(share: float) -> str:
    """0.714 as 71 %"""
    return f"{share * 100:.0f} %"


@register.filter
def unlocalize_number(number: float) -> str:
    """A number as fields of forms have it, whatever the language: 1, 1.25."""
    return str(number) if isinstance(number, int) else f"{number:.4f}".rstrip("0").rstrip(".")


@register.filter
def money(amount_minor: int | Decimal | None, currency: str) -> str:
    """An amount with its currency's sign, such as ₩12,300; what is not rounded yet, rounded half up."""
    if amount_minor is None:
        return ""
    return shown(half_up(Decimal(amount_minor)), currency)


ROLE_WORDS = {
    Role.OWNER: gettext_lazy("owner"),
    Role.ADMIN: gettext_lazy("admin"),
    Role.DEVELOPER: gettext_lazy("developer"),
    Role.BILLING: gettext_lazy("billing"),
    Role.VIEWER: gettext_lazy("viewer"),
}


@register.simple_tag
def role_word(role: str) -> str:
    """A role in the reader's language."""
    return str(ROLE_WORDS[Role(role)])


@register.simple_tag
def icon(name: str) -> SafeString:
    """A picture of icons.svg, which says nothing by itself."""
    return format_html(
        '<svg class="icon" aria-hidden="true" width="20" height="20"><use href="/static/icons.svg#{}"></use></svg>',
        name,
    )
