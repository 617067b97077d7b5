"""A recording of a person, from a development package: 44 s of A Tale of Two Cities."""

from importlib.util import find_spec
from pathlib import Path


def two_cities() -> Path:
    """moonshine-voice's assets/two_cities.wav, without importing the package."""
    spec = find_spec("moonshine_voice")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("assets") / "two_cities.wav"
