"""What the tests hear of a finished file: its samples, its onsets and its loudness.

Nothing here shares code with what made the file: decoding and loudness are ffmpeg's.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from scipy.signal import correlate

from synthesis.engines import tone

Sound = npt.NDArray[np.float32]


def decode(path: Path) -> tuple[Sound, int]:
    """The first channel of a file as float32, as a player would play it, and its rate in Hz."""
    pieces: list[Sound] = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate = stream.rate
        to_float = av.AudioResampler(format="fltp", layout="mono", rate=rate)
        for frame in container.decode(stream):
            pieces += [piece.to_ndarray()[0] for piece in to_float.resample(frame)]
        pieces += [piece.to_ndarray()[0] for piece in to_float.resample(None)]
    return np.concatenate(pieces).astype(np.float32), rate


def burst_onset_s(sound: Sound, sample_rate: int, near_s: float, *, within_s: float = 0.2) -> float:
    """Where the tone engine's burst begins near a place, by cross-correlation, to part of a sample.

    Asserts that the burst is really there: that what was found looks like it.
    """
    known = tone.burst(sample_rate)
    low = max(0, round((near_s - within_s) * sample_rate))
    high = round((near_s + within_s) * sample_rate) + len(known)
    around = sound[low:high]
    score = correlate(around, known, "valid")
    best = int(np.argmax(score))
    heard = around[best : best + len(known)]
    likeness = score[best] / np.sqrt(np.sum(heard**2) * np.sum(known**2))
    assert likeness > 0.5, f"no burst near {near_s:.3f} s (likeness {likeness:.2f})"
    shift = 0.0
    if 0 < best < len(score) - 1:
        before, at, after = score[best - 1 : best + 2]
        # In double precision: an hour has more samples than float32 can count.
        shift = float(0.5 * (before - after) / (before - 2 * at + after))
    return float(low + best + shift) / sample_rate


@dataclass(frozen=True)
class Loudness:
    """By ffmpeg's ebur128 filter."""

    integrated_lufs: float
    true_peak_dbtp: float


def loudness(sound: Sound, sample_rate: int) -> Loudness:
    """How loud a mono sound is (EBU R 128) and how high its true peak."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono")
    meter = graph.add("ebur128", "peak=true:metadata=1:framelog=quiet")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    last: dict[str, str] = {}
    size = sample_rate  # a second at a time
    # The meter reports every 100 ms: silence lets it report the end of the sound. The gates of
    # EBU R 128 leave silence out of the integrated loudness.
    padded = np.pad(sound, (0, sample_rate))
    for start in range(0, len(padded), size):
        piece = np.ascontiguousarray(padded[start : start + size]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="mono")
        frame.sample_rate = sample_rate
        frame.pts = start
        graph.push(frame)
        while True:
            try:
                metered = graph.pull()
            except (BlockingIOError, EOFError):
                break
            last.update(metered.metadata)
    return Loudness(
        float(last["lavfi.r128.I"]),
        20 * float(np.log10(max(1e-9, float(last["lavfi.r128.true_peaks_ch0"])))),
    )
