"""A worker that kills itself, with -9, at stages of jobs' lives: what ``make chaos`` runs.

    celery -A benchmarks.chaos_worker worker

CHAOS_LOG: a file that all workers append a line of JSON to for each line that is spoken, each that is
kept, and each death. CHAOS_KILLS: how often each stage shall be hit in all, as the log counts.
SLOW_LINE_MS: as for the slow worker.

It dies only while all jobs of its process are first attempts: a job may lose three workers in a row by
chance, which is a poison's end and not what is looked for here.
"""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from celery.signals import worker_init

from tests.operations.slow_worker import app

__all__ = ["STAGES", "app"]

STAGES = ("claim", "render", "mix", "upload", "finish")
_CHANCE = 0.25

_active: dict[str, Any] = {}  # the jobs that this process renders
_local = threading.local()
_lock = threading.Lock()


def note(event: str, **details: Any) -> None:
    """Append to the log: lines so short are written whole."""
    line = json.dumps({"event": event, "at": time.time(), **details}) + "\n"
    handle = os.open(os.environ["CHAOS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)


def _deaths() -> Counter[str]:
    lines = Path(os.environ["CHAOS_LOG"]).read_text().splitlines()
    found = (json.loads(line) for line in lines if '"death"' in line)
    return Counter(one["stage"] for one in found)


def strike(stage: str) -> None:
    """Die, perhaps."""
    if random.random() > _CHANCE:
        return
    with _lock:
        if any(job.fruitless_attempts for job in _active.values()):
            return
        if _deaths()[stage] >= int(os.environ["CHAOS_KILLS"]):
            return
        note("death", stage=stage, jobs=sorted(_active))
        os.killpg(os.getpgid(0), signal.SIGKILL)


def _around(owner: Any, name: str, before: Callable[..., None], after: Callable[..., None]) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def around(*args: Any, **kwargs: Any) -> Any:
        before(*args)
        result = original(*args, **kwargs)
        after(*args)
        return result

    setattr(owner, name, around)


def _nothing(*_: Any) -> None:
    pass


@worker_init.connect
def _arm(**_: Any) -> None:
    from synthesis import audio, rendering, storage

    Path(os.environ["CHAOS_LOG"]).touch()
    render = rendering.render

    def watched(job: Any) -> None:
        _active[job.pk] = job
        _local.job = job
        try:
            strike("claim")
            render(job)
        finally:
            _active.pop(job.pk, None)

    rendering.render = watched

    def spoken(keeper: Any, line: Any) -> None:
        note("spoken", job=_local.job.pk, position=line.position)

    def kept(job: Any, lines: Sequence[Any], *_: Any) -> None:
        for line in lines:
            note("kept", job=job.pk, position=line.position)

    _around(rendering._Keeper, "add", spoken, lambda *_: strike("render"))
    _around(rendering, "_keep_rows", _nothing, kept)
    _around(audio, "speaker_gains", _nothing, lambda *_: strike("mix"))
    _around(storage, "put_audio", _nothing, lambda *_: strike("upload"))
    # Inside the transaction that finishes the job.
    _around(rendering, "record_usage", _nothing, lambda *_: strike("finish"))
