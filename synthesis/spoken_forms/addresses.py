"""E-mail and web addresses, read out symbol by symbol in either language."""

from collections.abc import Mapping

import regex

from synthesis.spoken_forms.rewriting import Match, Rule, rule

# Top-level domains that a bare name (example.com) is known by; others need www. or https://.
_DOMAINS = "com|net|org|edu|gov|info|app|dev|io|ai|co\\.uk|co\\.kr|co\\.jp|kr|uk|jp|de|fr|eu"
_LABELS = r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}"
_PATH = r"(?:[/?#][A-Za-z0-9/._~?#&=%+:@-]{0,300}[A-Za-z0-9/])?"
_ELSEWHERE = r"(?<![A-Za-z0-9.@_+/-])"
_E_MAIL = rf"{_ELSEWHERE}(?:mailto:)?([A-Za-z0-9_.+-]{{1,64}}@{_LABELS})(?<![.-])"
_WEB = rf"{_ELSEWHERE}(?:https?://)({_LABELS}(?<![.-]){_PATH})"
_BARE = rf"{_ELSEWHERE}((?:www\.{_LABELS}(?<![.-])|{_LABELS}\.(?:{_DOMAINS}))(?![A-Za-z0-9.-]*[A-Za-z0-9-]){_PATH})"


def address_rules(names: Mapping[str, str], endings: Mapping[str, str]) -> tuple[Rule, ...]:
    """Rules that say an address with these names of its symbols and of its top-level domains."""

    def said(match: Match) -> str:
        address = match[1].rstrip("/")
        host, rest = regex.match(r"([^/?#]*)(.*)", address, regex.DOTALL).groups()
        labels = regex.split(r"(?=\.)", host)
        labels = [endings.get(label, label) for label in labels]
        spoken = "".join(f" {names[c]} " if c in names else c for c in "".join(labels) + rest)
        return " ".join(spoken.split())

    return tuple(rule(pattern, said) for pattern in (_E_MAIL, _WEB, _BARE))
