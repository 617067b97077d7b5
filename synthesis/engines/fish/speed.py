"""Faster or slower at the same pitch: fish-speech has no speed of its own."""

import av
import numpy as np
from av.filter import Graph

from speakers.decoding import Waveform


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
    frame = av.AudioFrame.from_ndarray(waveform[None], format="flt", layout="mono")
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
    return np.concatenate(parts) if parts else waveform[:0]
