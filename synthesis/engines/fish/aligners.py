"""Word times in processes of their own: the aligner holds the interpreter's lock while it works, and
would stall the thread that keeps the GPU busy.
"""

import atexit
import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property

import numpy as np

from speakers.decoding import Waveform
from synthesis.engines.fish.languages import base_language
from synthesis.engines.fish.word_times import WordTimes, word_times
from synthesis.words import Word


class Aligners:
    """A pool that is started with the first English line; the other languages cost nothing."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._starting = threading.Lock()

    def start(self) -> None:
        """Have the processes up and their models loaded, so that no line waits for that."""
        noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
        ready = [
            self._pool.submit(word_times, noise, 16_000, [Word("ready", False)], ["ready"], "en")
            for _ in range(2 * self._processes)
        ]
        for one in ready:
            one.result()

    def word_times(
        self,
        waveform: Waveform,
        sample_rate: int,
        words: Sequence[Word],
        spoken: Sequence[str],
        language: str,
    ) -> WordTimes:
        """As word_times.word_times. Raises AlignmentFailed."""
        if base_language(language) != "en":
            return word_times(waveform, sample_rate, words, spoken, language)
        with self._starting:
            pool = self._pool
        return pool.submit(word_times, waveform, sample_rate, words, spoken, language).result()

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(
            self._processes,
            # Not forked: this process has threads, and perhaps a GPU.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_end_with_the_parent,
        )
        atexit.register(pool.shutdown, cancel_futures=True)
        return pool


def _end_with_the_parent() -> None:
    """A parent that is killed cannot tell its children to go."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
