"""The guides: Markdown in templates/docs, in each language, with the tables that the code knows."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from django.conf import settings
from django.utils.text import slugify
from django.utils.translation import gettext, override
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt

from accounts.plans import ALLOWANCES
from accounts.scopes import ROLE_SCOPES, Role, Scope
from billing.list_prices import LIST_PRICES
from billing.money import shown
from voicereel_site.examples import EXAMPLES
from voicereel_site.problems import PROBLEMS

# In the order in which they are listed, and stand in the OpenAPI document.
GUIDES = (
    "start",
    "studio",
    "captions",
    "errors",
    "limits",
    "billing",
    "webhooks",
    "people",
    "privacy",
    "signatures",
)
_FOLDER = settings.BASE_DIR / "templates/docs"


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it. text: without its marks, to be searched."""

    guide: str
    title: str
    anchor: str
    text: str


@dataclass(frozen=True)
class Guide:
    """A guide as a page. translated: whether it is in the language that was asked for."""

    name: str
    title: str
    html: str
    sections: tuple[Section, ...]


def guide_text(name: str, language: str = "en") -> str:
    """A guide's Markdown, its tables filled in."""
    path = _FOLDER / language / f"{name}.md"
    if not path.exists():
        path = _FOLDER / f"{name}.md"
    text = path.read_text()
    with override(language):
        for place, table in _TABLES.items():
            if place in text:
                text = text.replace(place, table())
    return text


@cache
def guide(name: str, language: str) -> Guide:
    """A guide in a language, or in English. name: one of GUIDES."""
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(guide_text(name, language))
    sections: list[Section] = []
    titles: list[tuple[str, str, list[str]]] = []
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following is not None:
            title = following.content.replace("`", "")
            anchor = slugify(title, allow_unicode=True)
            token.attrSet("id", anchor)
            titles.append((title, anchor, []))
        elif token.type in ("inline", "fence", "code_block") and titles:
            titles[-1][2].append(token.content)
    # A page has one heading of the first rank; a guide may have more than one.
    ranks = [token.tag for token in tokens if token.type == "heading_open"]
    lower = ranks.count("h1") > 1
    for token in tokens[3:]:
        if lower and token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1]) + 1}"
    sections = [Section(name, title, anchor, " ".join(parts)) for title, anchor, parts in titles]
    html = markdown.renderer.render(tokens, markdown.options, {})
    # In the repository pictures lie beside the guides' folder, on the site among the static files.
    html = re.sub(r'src="(\.\./)+static/', f'loading="lazy" src="{settings.STATIC_URL}', html)
    html = html.replace("<pre>", '<pre tabindex="0">').replace("<table>", '<table tabindex="0">')
    return Guide(name, sections[0].title, html, tuple(sections))


def search(words: str, language: str) -> list[tuple[Section, str]]:
    """The sections that have all of some words, the best first, each with some of its text."""
    wanted = words.casefold().split()
    if not wanted:
        return []
    found: list[tuple[int, Section, str]] = []
    for section in _sections(language):
        title, text = section.title.casefold(), section.text.casefold()
        if all(word in title or word in text for word in wanted):
            score = sum(10 * (word in title) + min(5, text.count(word)) for word in wanted)
            at = max(0, min((text.find(word) for word in wanted if word in text), default=0) - 60)
            found.append((score, section, section.text[at : at + 200]))
    found.sort(key=lambda one: -one[0])
    return [(section, extract) for _score, section, extract in found[:20]]


def _sections(language: str) -> Iterator[Section]:
    for name in GUIDES:
        yield from guide(name, language).sections


def _codes() -> str:
    return "\n".join(
        f"| `{code}` | {' '.join(map(str, kind.statuses)) or '-'} | {gettext(kind.meaning)} |"
        for code, kind in PROBLEMS.items()
    )


def _plans() -> str:
    rows = []
    for plan, allowed in ALLOWANCES.items():
        requests = _("%(requests)s in %(seconds)s s") % {
            "requests": f"{allowed.requests:,}",
            "seconds": allowed.window_s,
        }
        rows.append(
            f"| {plan} | {requests} | {allowed.jobs:,} | {allowed.lines:,} | {allowed.in_hand} | "
            f"{allowed.weight} |"
        )
    return "\n".join(rows)


def _roles() -> str:
    rows = "\n".join(
        f"| `{scope}` | "
        + " | ".join("x" if scope in ROLE_SCOPES[role] else "" for role in Role.values)
        + " |"
        for scope in Scope.values
    )
    corner = _("scope")
    head = f"| {corner} | " + " | ".join(Role.values)
    return f"{head} |\n" + "| --- " * (len(Role.values) + 1) + f"|\n{rows}"


def _prices() -> str:
    """The list's first prices, as the table of the guide has them: no database is asked."""
    rows = []
    then, nothing = _(", then "), _("nothing beyond")
    for plan, (hours, currencies, ends) in LIST_PRICES.items():
        for currency, (base_fee, minutes) in currencies.items():
            tiers = []
            for end, minute in zip(ends, minutes, strict=True):
                price = shown(Decimal(minute), currency, places=2)
                if end is not None:
                    upto = {"price": price, "minutes": f"{end * 60:,}"}
                    price = _("%(price)s up to %(minutes)s min") % upto
                tiers.append(price)
            included = _("%(minutes)s min") % {"minutes": f"{round(hours * 60):,}"}
            rows.append(
                f"| {plan} | {currency} | {shown(base_fee, currency)} | {included} | "
                f"{then.join(tiers) or nothing} |"
            )
    return "\n".join(rows)


_TABLES = {
    "{codes}": _codes,
    "{plans}": _plans,
    "{prices}": _prices,
    "{problem}": lambda: json.dumps(EXAMPLES["Problem"], indent=2),
    "{roles}": _roles,
}
