"""Loudness, resampling, the streaming mixdown and the encoders: arrays in, files out.

Whatever the length of the script, at most one line is in memory at a time, or a minute and a half.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import numpy.typing as npt
import pyloudnorm
import soxr
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import sosfilt

from speakers.decoding import Waveform
from synthesis.formats import FORMATS, OutputChoice
from synthesis.timeline import PlacedLine, Timeline
from synthesis.waveform import Outline

TARGET_LUFS = -16.0  # integrated; what podcast platforms ask of mono and stereo alike
# dBTP ceilings of the limiter. The promise is -1; a filter's tail between two limited samples may
# pass the ceiling by a little, and a lossy codec moves peaks (measured: up to 1.6 dB).
_CEILING_LOSSLESS_DBTP = -1.5
_CEILING_LOSSY_DBTP = -3.0
_LOOKAHEAD_S = 0.005
# The limiter makes peaky voices quieter; each round gives most of that back.
_ROUNDS = 6
_CLOSE_ENOUGH_LU = 0.25
_LARGEST_GAIN_DB = 60.0  # above that a line is noise, not speech
_BLOCK_SAMPLES = 1 << 18  # of work at a time: 6 s at 44.1 kHz
_OVERSAMPLING = 4  # BS.1770-4, annex 2
# An inter-sample peak of band-limited speech stays below so many times the highest sample.
_HIGHEST_BETWEEN = 2
_STEP_SAMPLES = 1_024  # a fiftieth of a second
# A track that is no longer than this is resampled once and kept, and not for each round: 16 MB.
_KEPT_SAMPLES = 1 << 22

ReadLine = Callable[[int], tuple[Waveform, int]]  # index of a line -> waveform, rate in Hz


def resample(waveform: Waveform, from_rate: int, to_rate: int, length: int) -> Waveform:
    """The waveform at another rate (Hz), exactly ``length`` samples long, which must be about right."""
    if from_rate != to_rate:
        waveform = soxr.resample(waveform, from_rate, to_rate, quality="HQ")
    if len(waveform) < length:
        waveform = np.pad(waveform, (0, length - len(waveform)))
    return waveform[:length]


class _Energy:
    """Energy of K-weighted sound in steps of 100 ms, from pieces at any place."""

    def __init__(self, sample_rate: int) -> None:
        self.hop = sample_rate // 10
        self.sums: npt.NDArray[np.float64] = np.zeros(64)
        self.end = 0  # in samples

    def add(self, at: int, squares: npt.NDArray[np.float64]) -> None:
        """Add squared samples that begin at sample ``at``."""
        self.end = max(self.end, at + len(squares))
        needed = -(-self.end // self.hop)
        if needed > len(self.sums):
            self.sums = np.pad(self.sums, (0, max(needed, 2 * len(self.sums)) - len(self.sums)))
        steps = np.arange(at // self.hop, -(-(at + len(squares)) // self.hop))
        edges = np.maximum(steps * self.hop - at, 0)
        self.sums[steps] += np.add.reduceat(squares, edges)

    def steps(self, count: int) -> npt.NDArray[np.float64]:
        """The first ``count`` steps; beyond the sound they are silent."""
        return np.pad(self.sums[:count], (0, max(0, count - len(self.sums))))


def _integrated_lufs(sums: npt.NDArray[np.float64], hop: int) -> float:
    """Gated loudness (ITU-R BS.1770-4) of 100 ms energy sums; -inf for silence.

    Blocks of 400 ms overlap by three quarters; an absolute gate of -70 LUFS, then one 10 LU under
    the mean. Less than 400 ms counts as one block.
    """
    width = min(4, len(sums))
    blocks = np.convolve(sums, np.ones(width), "valid") / (width * hop)
    with np.errstate(divide="ignore"):
        loudness = -0.691 + 10 * np.log10(blocks)
    loud = blocks[loudness > -70.0]
    if not len(loud):
        return float("-inf")
    relative = -0.691 + 10 * np.log10(np.mean(loud)) - 10.0
    kept = blocks[(loudness > -70.0) & (loudness > relative)]
    return float(-0.691 + 10 * np.log10(np.mean(kept)))


@lru_cache
def _k_weighting(sample_rate: int) -> npt.NDArray[np.float64]:
    """The pre-filter of BS.1770 in second-order sections, with the constants that pyloudnorm's own
    meter has.
    """
    stages = [
        pyloudnorm.IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, sample_rate, "high_shelf"),
        pyloudnorm.IIRfilter(0.0, 0.5, 38.0, sample_rate, "high_pass"),
    ]
    return np.array([[*(stage.passband_gain * stage.b), *stage.a] for stage in stages])


def _weigh(waveform: Waveform, sample_rate: int) -> npt.NDArray[np.float64]:
    weighed: npt.NDArray[np.float64] = sosfilt(_k_weighting(sample_rate), waveform)
    return weighed


@dataclass(frozen=True)
class _Measured:
    """Integrated loudness in LUFS, of each speaker alone and of the mix with its pauses."""

    speakers: dict[str, float]
    mix: float


def speaker_gains(timeline: Timeline, read_line: ReadLine, ceiling_dbtp: float) -> dict[str, float]:
    """One factor per speaker id that makes the speakers equally loud and the mix TARGET_LUFS.

    One gain per speaker, not per line: a whisper stays a whisper. What the limiter will take away
    is measured and given back, which for most voices needs no second round.
    """
    gains_db = {line.speaker_id: 0.0 for line in timeline.lines}
    measured = _measure(timeline, read_line, gains_db, None)
    # What each speaker alone shall have, so that the mix, with its pauses, has TARGET_LUFS.
    target = TARGET_LUFS
    for _ in range(_ROUNDS):
        gains_db = {
            speaker: min(gain_db + _lack(target, measured.speakers[speaker]), _LARGEST_GAIN_DB)
            for speaker, gain_db in gains_db.items()
        }
        measured = _measure(timeline, read_line, gains_db, ceiling_dbtp)
        off = _lack(TARGET_LUFS, measured.mix)
        target += off
        apart = [_lack(target - off, lufs) for lufs in measured.speakers.values()]
        if max(abs(off), *map(abs, apart)) <= _CLOSE_ENOUGH_LU:
            break
    return {speaker: 10 ** (gain_db / 20) for speaker, gain_db in gains_db.items()}


def _measure(
    timeline: Timeline,
    read_line: ReadLine,
    gains_db: Mapping[str, float],
    ceiling_dbtp: float | None,
) -> _Measured:
    """How loud the speakers and the mix are with these gains, limited unless the ceiling is None."""
    joined: dict[str, _Energy] = defaultdict(lambda: _Energy(timeline.sample_rate))
    mix = _Energy(timeline.sample_rate)
    for index, line in enumerate(timeline.lines):
        waveform = _at_output_rate(timeline, line, *read_line(index))
        waveform = waveform * np.float32(10 ** (gains_db[line.speaker_id] / 20))
        if ceiling_dbtp is not None:
            waveform = limit(waveform, timeline.sample_rate, ceiling_dbtp)
        squares = np.square(_weigh(waveform, timeline.sample_rate))
        if len(squares):
            joined[line.speaker_id].add(joined[line.speaker_id].end, squares)
            mix.add(line.start_sample, squares)
    hop = timeline.sample_rate // 10
    return _Measured(
        {
            speaker: _integrated_lufs(_whole_steps(energy), hop)
            for speaker, energy in joined.items()
        },
        _integrated_lufs(mix.steps(max(1, timeline.sample_count // hop)), hop),
    )


def _whole_steps(energy: _Energy) -> npt.NDArray[np.float64]:
    """Without the last, partly filled step, which would count as a quieter one."""
    return energy.steps(max(1, energy.end // energy.hop))


def loudness(waveform: Waveform, sample_rate: int) -> float:
    """The integrated loudness of a waveform in LUFS; -inf for silence. sample_rate: Hz."""
    energy = _Energy(sample_rate)
    energy.add(0, np.square(_weigh(waveform, sample_rate)))
    return _integrated_lufs(_whole_steps(energy), energy.hop)


def _lack(target: float, lufs: float) -> float:
    """The gain in dB that is missing to the target; none for silence."""
    return target - lufs if np.isfinite(lufs) else 0.0


def _at_output_rate(
    timeline: Timeline, line: PlacedLine, waveform: Waveform, sample_rate: int
) -> Waveform:
    length = line.end_sample - line.start_sample
    return resample(waveform, sample_rate, timeline.sample_rate, length)


def limit(waveform: Waveform, sample_rate: int, ceiling_dbtp: float) -> Waveform:
    """Turn down, smoothly, what would pass the ceiling between or on the samples.

    A look-ahead limiter: the gain that each sample needs is held for 5 ms on both sides (a moving
    minimum) and smoothed by a mean of the same width, which never exceeds it.
    """
    ceiling = 10 ** (ceiling_dbtp / 20)
    if np.abs(waveform).max(initial=0.0) * _HIGHEST_BETWEEN <= ceiling:
        return waveform
    peaks = _true_peaks(waveform, sample_rate, ceiling)
    if peaks.max() <= ceiling:
        return waveform
    needed = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))
    width = 2 * round(_LOOKAHEAD_S * sample_rate) + 1
    held = minimum_filter1d(needed, width, mode="nearest")
    gain = uniform_filter1d(held, width, mode="nearest")
    return (waveform * np.minimum(gain, needed)).astype(np.float32)


def _true_peaks(waveform: Waveform, sample_rate: int, ceiling: float) -> Waveform:
    """For every sample the highest magnitude at it and up to the next one, oversampled where that could
    pass the ceiling.
    """
    peaks = np.abs(waveform)
    margin = 64  # samples on both sides, for the filter to settle
    for start, end in _loud_stretches(peaks, ceiling / _HIGHEST_BETWEEN):
        low, high = max(0, start - margin), min(len(waveform), end + margin)
        fine = np.abs(
            soxr.resample(
                waveform[low:high], sample_rate, sample_rate * _OVERSAMPLING, quality="HQ"
            )
        )
        fine = np.pad(fine, (0, max(0, (high - low) * _OVERSAMPLING - len(fine))))
        fine = fine[: (high - low) * _OVERSAMPLING]
        coarse = reduce(np.maximum, (fine[phase::_OVERSAMPLING] for phase in range(_OVERSAMPLING)))
        peaks[start:end] = coarse[start - low : end - low]
    # A peak between two samples belongs to both.
    peaks[1:] = np.maximum(peaks[1:], peaks[:-1])
    return peaks


def _loud_stretches(magnitudes: Waveform, threshold: float) -> Iterator[tuple[int, int]]:
    """Where samples pass a threshold, in steps that are short beside a word: [start, end), each at most a
    block and apart from the others.
    """
    steps = np.arange(0, len(magnitudes), _STEP_SAMPLES)
    loud = np.maximum.reduceat(magnitudes, steps) > threshold
    # What lies between a loud sample and its quiet neighbour is in a stretch too.
    loud[:-1] |= loud[1:]
    loud[1:] |= loud[:-1]
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False)) * _STEP_SAMPLES
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        for start in range(first, min(last, len(magnitudes)), _BLOCK_SAMPLES):
            yield start, min(start + _BLOCK_SAMPLES, last, len(magnitudes))


def mixdown(
    timeline: Timeline, read_line: ReadLine, gains: Mapping[str, float], ceiling_dbtp: float
) -> Iterator[Waveform]:
    """The finished sound, piece by piece: exactly ``timeline.sample_count`` samples in all."""
    at = 0
    for index, line in enumerate(timeline.lines):
        yield from _silence(line.start_sample - at)
        waveform = _at_output_rate(timeline, line, *read_line(index))
        louder = waveform * np.float32(gains[line.speaker_id])
        yield limit(louder, timeline.sample_rate, ceiling_dbtp)
        at = line.end_sample
    yield from _silence(timeline.sample_count - at)


def _silence(samples: int) -> Iterator[Waveform]:
    for start in range(0, samples, _BLOCK_SAMPLES):
        yield np.zeros(min(_BLOCK_SAMPLES, samples - start), dtype=np.float32)


class Encoder:
    """Writes one mono audio file, piece by piece.

    >>> with Encoder(path, OutputChoice("mp3", 44_100, 128, None), title="Episode 1") as encoder:
    ...     encoder.write(waveform)
    """

    def __init__(self, path: Path, output: OutputChoice, *, title: str = "") -> None:
        fmt = FORMATS[output.format]
        options = {"movflags": "+faststart"} if fmt.container == "ipod" else {}
        self._container = av.open(str(path), "w", format=fmt.container, options=options)
        if title:
            self._container.metadata["title"] = title
        codec = "pcm_s24le" if (output.format, output.bit_depth) == ("wav", 24) else fmt.codec
        stream = self._container.add_stream(codec, rate=output.sample_rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        self._stream = stream
        if fmt.codec == "libmp3lame":
            # Its fast mode: 1.6 times the speed of the default, and indistinguishable for speech.
            self._stream.options = {"compression_level": "7"}
        if output.bitrate_kbps is not None:
            self._stream.bit_rate = output.bitrate_kbps * 1000
        if fmt.lossless:
            self._stream.format = "s32" if output.bit_depth == 24 else "s16"
        self._sample_rate = output.sample_rate
        self._at = 0

    def write(self, waveform: Waveform) -> None:
        """Append samples, float32 in [-1, 1]."""
        for start in range(0, len(waveform), _BLOCK_SAMPLES):
            piece = np.ascontiguousarray(waveform[start : start + _BLOCK_SAMPLES]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="mono")
            frame.sample_rate = self._sample_rate
            frame.pts = self._at
            self._at += piece.shape[1]
            self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def _resampled_once(timeline: Timeline, read_line: ReadLine) -> ReadLine:
    """The lines at the timeline's own rate, kept in memory."""

    @cache
    def read(index: int) -> tuple[Waveform, int]:
        waveform = _at_output_rate(timeline, timeline.lines[index], *read_line(index))
        return waveform, timeline.sample_rate

    return read


def write_audio(
    path: Path, timeline: Timeline, read_line: ReadLine, output: OutputChoice, *, title: str = ""
) -> bytes:
    """Make the audio file of a timeline: equal speakers, TARGET_LUFS, true peak at most -1 dBTP.

    Returns its outline (synthesis.waveform).
    """
    lossless = FORMATS[output.format].lossless
    ceiling = _CEILING_LOSSLESS_DBTP if lossless else _CEILING_LOSSY_DBTP
    if timeline.sample_count <= _KEPT_SAMPLES:
        read_line = _resampled_once(timeline, read_line)
    gains = speaker_gains(timeline, read_line, ceiling)
    outline = Outline(timeline.sample_count)
    with Encoder(path, output, title=title) as encoder:
        for piece in mixdown(timeline, read_line, gains, ceiling):
            encoder.write(piece)
            outline.add(piece)
    return outline.peaks()
