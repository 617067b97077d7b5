"""Faster or slower at the same pitch: fish-speech has no speed of its own."""

import av
import numpy as np
from av.filter import Graph

from speakers.decoding import Waveform
from synthesis.engines.trimming import faded

_BEHIND = 16_384  # samples, several of atempo's windows


def at_speed(waveform: Waveform, sample_rate: int, speed: float) -> Waveform:
    """The waveform played ``speed`` times as fast, 0.5 to 2 (FFmpeg's atempo, which is WSOLA)."""
    if speed == 1.0 or not len(waveform):
        return waveform
    graph = Graph()
    source = graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono")
    tempo = graph.add("atempo", f"{speed:.4f}")
    sink = graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    # What it still holds at the end would be lost, so there is silence behind the sound.
    padded = np.concatenate([waveform, np.zeros(_BEHIND, np.float32)])
    frame = av.AudioFrame.from_ndarray(padded[None], format="flt", layout="mono")
    frame.sample_rate = sample_rate
    frame.pts = 0
    source.push(frame)
    source.push(None)
    parts = []
    while True:
        try:
            piece = sink.pull()
            assert isinstance(piece, av.AudioFrame)
            parts.append(piece.to_ndarray()[0])
        except (av.EOFError, av.BlockingIOError):
            break
    length = round(len(waveform) / speed)
    stretched = np.concatenate([*parts, np.zeros(length, np.float32)])[:length]
    return faded(stretched, sample_rate)
