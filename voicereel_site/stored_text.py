"""Sentences that workers wrote into the database, in the language of whoever reads them.

They are stored in English, whoever made them happen, and recognised again: each app's module
``stored_sentences`` holds all that it stores, as constants. So are those that Python and the frameworks
say in English alone.
"""

import re
from functools import cache
from importlib import import_module
from types import ModuleType

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import module_has_submodule
from django.utils.translation import get_language, gettext

from voicereel_site import framework_sentences

_PART = re.compile(r"%\((\w+)\)s|%%|[^%]+")


def translated(text: str) -> str:
    """A stored sentence in the active language, with the sentences in it; what is none, as it is."""
    if not text or get_language() in (settings.LANGUAGE_CODE, None):
        return text
    return _translated(text)


def _translated(text: str) -> str:
    for pattern, sentence in _sentences():
        if match := pattern.fullmatch(text):
            found = {name: _translated(value) for name, value in match.groupdict().items()}
            return gettext(sentence) % found if found else gettext(sentence)
    return text


@cache
def _sentences() -> list[tuple[re.Pattern[str], str]]:
    """Each stored sentence with what recognises it, those that say most first."""
    modules: list[ModuleType] = [framework_sentences]
    for app in apps.get_app_configs():
        if app.module is not None and module_has_submodule(app.module, "stored_sentences"):
            modules.append(import_module(f"{app.name}.stored_sentences"))
    constants = (item for module in modules for item in vars(module).items())
    found = {value for name, value in constants if name.isupper() and isinstance(value, str)}
    by_length = sorted(found, key=lambda sentence: -len(_PART.sub(_literal, sentence)))
    return [(_recogniser(sentence), sentence) for sentence in by_length]


def _literal(part: re.Match[str]) -> str:
    return "" if part[1] else part[0]


def _recogniser(sentence: str) -> re.Pattern[str]:
    """What matches a sentence with its placeholders filled in; each may be named once."""
    pattern = ""
    for part in _PART.finditer(sentence):
        pattern += f"(?P<{part[1]}>.*?)" if part[1] else re.escape(part[0].replace("%%", "%"))
    return re.compile(pattern, re.DOTALL)
