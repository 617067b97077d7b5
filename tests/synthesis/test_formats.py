"""Which output choices go together; every one that is allowed makes a file that can be read."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from synthesis.audio import Encoder
from synthesis.formats import BIT_DEPTHS, FORMATS, OutputChoice, choose_output

# From the standards, not from our table: the lowest and highest bitrate of mono.
MP3_LIMITS = {
    8_000: (8, 64),
    11_025: (8, 64),
    12_000: (8, 64),
    16_000: (8, 160),
    22_050: (8, 160),
    24_000: (8, 160),
    32_000: (32, 320),
    44_100: (32, 320),
    48_000: (32, 320),
}
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)


def choose(**given: Any) -> tuple[OutputChoice | None, list[str]]:
    """The choice and the pointers of what is wrong."""
    nothing = {"format": None, "sample_rate": None, "bitrate_kbps": None, "bit_depth": None}
    output, errors = choose_output(**nothing | given)
    assert all(error.detail.endswith(".") for error in errors)
    assert (output is None) == bool(errors)
    return output, [error.pointer for error in errors]


def test_the_default_is_mp3_at_44100_hz_and_128_kbps() -> None:
    assert choose() == (OutputChoice("mp3", 44_100, 128, None), [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wav", OutputChoice("wav", 44_100, None, 16)),
        ("flac", OutputChoice("flac", 44_100, None, 16)),
        ("opus", OutputChoice("opus", 48_000, 128, None)),
        ("m4a", OutputChoice("m4a", 44_100, 128, None)),
    ],
)
def test_each_format_has_defaults_that_fit_it(name: str, expected: OutputChoice) -> None:
    assert choose(format=name) == (expected, [])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rate", [8_001, 9_600, 44_000, 47_999])
def test_a_rate_that_the_format_lacks_is_refused_by_field(name: str, rate: int) -> None:
    assert choose(format=name, sample_rate=rate)[1] == ["/output/sample_rate"]


@pytest.mark.parametrize("rate", MP3_LIMITS)
def test_opus_takes_its_five_rates_alone(rate: int) -> None:
    expected = [] if rate in OPUS_RATES else ["/output/sample_rate"]
    assert choose(format="opus", sample_rate=rate)[1] == expected


@pytest.mark.parametrize("rate", MP3_LIMITS)
def test_mp3_takes_the_bitrates_of_its_standard_at_each_rate(rate: int) -> None:
    low, high = MP3_LIMITS[rate]
    for bitrate in (low, high):
        assert choose(sample_rate=rate, bitrate_kbps=bitrate) == (
            OutputChoice("mp3", rate, bitrate, None),
            [],
        )
    for bitrate in (low - 1, high + 1):
        assert choose(sample_rate=rate, bitrate_kbps=bitrate)[1] == ["/output/bitrate_kbps"]


@pytest.mark.parametrize(("bitrate", "fits"), [(5, False), (6, True), (256, True), (257, False)])
def test_opus_takes_6_to_256_kbps(bitrate: int, fits: bool) -> None:
    expected = [] if fits else ["/output/bitrate_kbps"]
    assert choose(format="opus", bitrate_kbps=bitrate)[1] == expected


@pytest.mark.parametrize(
    ("rate", "highest"), [(8_000, 48), (11_025, 66), (16_000, 96), (44_100, 264), (48_000, 288)]
)
def test_aac_takes_at_most_six_bits_a_sample(rate: int, highest: int) -> None:
    assert choose(format="m4a", sample_rate=rate, bitrate_kbps=highest)[1] == []
    for bitrate in (7, highest + 1):
        answer = choose(format="m4a", sample_rate=rate, bitrate_kbps=bitrate)
        assert answer[1] == ["/output/bitrate_kbps"]


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_a_lossless_format_has_a_bit_depth_and_no_bitrate(name: str) -> None:
    for depth in BIT_DEPTHS:
        assert choose(format=name, bit_depth=depth)[0] == OutputChoice(name, 44_100, None, depth)
    assert choose(format=name, bitrate_kbps=128)[1] == ["/output/bitrate_kbps"]


@pytest.mark.parametrize("name", ["mp3", "opus", "m4a"])
def test_a_lossy_format_has_no_bit_depth(name: str) -> None:
    assert choose(format=name, bit_depth=16)[1] == ["/output/bit_depth"]


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert choose(format="wav", sample_rate=9_600, bitrate_kbps=128)[1] == [
        "/output/sample_rate",
        "/output/bitrate_kbps",
    ]
    assert choose(format="opus", sample_rate=44_100, bit_depth=16)[1] == [
        "/output/sample_rate",
        "/output/bit_depth",
    ]


def every_choice() -> list[OutputChoice]:
    """Every format at every rate, at both ends of its bitrates and at both bit depths."""
    choices = []
    for name, fmt in FORMATS.items():
        for rate in fmt.sample_rates:
            if limits := fmt.bitrates_kbps(rate):
                choices += [OutputChoice(name, rate, kbps, None) for kbps in limits]
            else:
                choices += [OutputChoice(name, rate, None, depth) for depth in BIT_DEPTHS]
    return choices


@pytest.mark.parametrize(
    "output",
    every_choice(),
    ids=lambda o: f"{o.format}-{o.sample_rate}-{o.bitrate_kbps or o.bit_depth}",
)
def test_every_allowed_choice_makes_a_file_of_that_kind(
    tmp_path: Path, output: OutputChoice
) -> None:
    path = tmp_path / f"audio.{output.format}"
    t = np.arange(output.sample_rate) / output.sample_rate
    with Encoder(path, output, title="에피소드 1") as encoder:
        encoder.write((0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32))
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        codec = {"mp3": "mp3float", "m4a": "aac", "wav": "pcm_s16le"}.get(
            output.format, output.format
        )
        if output.bit_depth == 24 and output.format == "wav":
            codec = "pcm_s24le"
        assert stream.codec_context.name == codec
        assert stream.channels == 1
        # Opus files always decode at 48 kHz (RFC 7845).
        rate = 48_000 if output.format == "opus" else output.sample_rate
        assert stream.rate == rate
        titles = {**container.metadata, **stream.metadata}
        if output.format != "wav":
            assert titles.get("title", titles.get("TITLE")) == "에피소드 1"
        if output.bit_depth:
            depth = {"s16": 16, "s32": 24}[stream.codec_context.format.name]
            assert depth == output.bit_depth
        samples = sum(frame.samples for frame in container.decode(stream))
    assert samples / rate == pytest.approx(1.0, abs=0.0 if output.bit_depth else 0.15)
