"""Word times in processes of their own: the aligner holds the interpreter's lock while it works, and
would stall the thread that keeps the GPU busy.
"""

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess

import numpy as np

from speakers.decoding import Waveform
from synthesis.engines.fish.languages import base_language
from synthesis.engines.fish.word_times import WordTimes, word_times
from synthesis.words import Word


class Aligners:
    """A pool that is started with the first English line; the other languages cost nothing."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Have the processes up and their models loaded, so that no line waits for that."""
        noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
        ready = [
            self.submit(noise, 16_000, [Word("ready", False)], ["ready"], "en")
            for _ in range(2 * self._processes)
        ]
        for one in ready:
            one.result()

    def submit(
        self,
        waveform: Waveform,
        sample_rate: int,
        words: Sequence[Word],
        spoken: Sequence[str],
        language: str,
    ) -> Future[WordTimes]:
        """Ask for what word_times.word_times gives. The future may raise AlignmentFailed."""
        request = (waveform, sample_rate, words, spoken, language)
        if base_language(language) != "en":
            done: Future[WordTimes] = Future()
            done.set_result(word_times(*request))
            return done
        with self._lock, _born_without_signals():
            try:
                return self._started().submit(word_times, *request)
            except BrokenProcessPool:
                # A process of it was killed, perhaps for its memory. Others take its place.
                self._pool = None
                return self._started().submit(word_times, *request)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes,
                # Not forked: this process has threads, and perhaps a GPU.
                mp_context=_DeafContext(),
                initializer=_end_with_the_parent,
            )
            atexit.register(self._pool.shutdown, cancel_futures=True)
        return self._pool


class _DeafProcess(SpawnProcess):
    """Does not hear SIGTERM, by which a pool that has lost a process ends the others, and then waits
    for them: one that was killed with its hand on their queue keeps them from ending by themselves.
    """

    def terminate(self) -> None:
        self.kill()


class _DeafContext(SpawnContext):
    Process = _DeafProcess


@contextmanager
def _born_without_signals() -> Iterator[None]:
    """Processes that are started in the block never hear what ends a service. It is sent to all of its
    processes, and their parent may have lines in hand; it ends them itself.
    """
    # Starting this helper of multiprocessing's unblocks them; it must be there already.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_the_parent() -> None:
    """A parent that is killed cannot tell its children to go."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
