"""The languages of fish-speech 1.5, and how fast they are spoken."""

# Named by the model card of 1.5.
LANGUAGES = {
    "en": "English", "zh": "Chinese", "ja": "Japanese", "de": "German", "fr": "French",
    "es": "Spanish", "ko": "Korean", "ar": "Arabic", "ru": "Russian", "nl": "Dutch",
    "it": "Italian", "pl": "Polish", "pt": "Portuguese",
}  # fmt: skip

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
