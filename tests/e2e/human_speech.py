"""A recording of a person, from a development package: 44 s of A Tale of Two Cities."""

from importlib.util import find_spec
from pathlib import Path

# Charles Dickens, A Tale of Two Cities (1859), as far as the recording reads it.
OPENING = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the "
    "age of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the "
    "season of Light, it was the season of Darkness, it was the spring of hope, it was the winter"
    " of despair, we had everything before us, we had nothing before us, we were all going direct"
    " to Heaven, we were all going direct the other way -- in short, the period was so far like "
    "the present period, that some of its noisiest authorities insisted on its being received, "
    "for good or for evil, in the superlative degree of comparison only."
)


def two_cities() -> Path:
    """moonshine-voice's assets/two_cities.wav, without importing the package."""
    spec = find_spec("moonshine_voice")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("assets") / "two_cities.wav"
