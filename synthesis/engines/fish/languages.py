"""The languages of fish-speech 1.5, and how fast they are spoken."""

from django.utils.translation import gettext_noop

# Named by the model card of 1.5.
LANGUAGES = {
    "en": gettext_noop("English"),
    "zh": gettext_noop("Chinese"),
    "ja": gettext_noop("Japanese"),
    "de": gettext_noop("German"),
    "fr": gettext_noop("French"),
    "es": gettext_noop("Spanish"),
    "ko": gettext_noop("Korean"),
    "ar": gettext_noop("Arabic"),
    "ru": gettext_noop("Russian"),
    "nl": gettext_noop("Dutch"),
    "it": gettext_noop("Italian"),
    "pl": gettext_noop("Polish"),
    "pt": gettext_noop("Portuguese"),
}

# Read speech, syllables a second (Japanese: morae): Pellegrino, Coupé & Marsico 2011, Language 87(3),
# table 1. Korean: Coupé et al. 2019, Science Advances 5(9). The others are near the mean.
_SYLLABLES_PER_S = {
    "en": 6.2, "de": 6.0, "fr": 7.2, "it": 7.0, "ja": 7.8, "zh": 5.2, "es": 7.8, "ko": 6.9,
}  # fmt: skip
_MEAN_SYLLABLES_PER_S = 6.5


def base_language(language: str) -> str:
    """``en-US`` -> ``en``."""
    return language.split("-")[0].lower()


def syllables_per_second(language: str) -> float:
    return _SYLLABLES_PER_S.get(base_language(language), _MEAN_SYLLABLES_PER_S)
