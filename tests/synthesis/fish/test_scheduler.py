"""Continuous batching: rows are filled and emptied while others go on, and nobody notices."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from synthesis.engines.fish import metrics
from synthesis.engines.fish.checkpoint import Checkpoint
from synthesis.engines.fish.codec import Codec
from synthesis.engines.fish.reference_decoder import ReferenceDecoder
from synthesis.engines.fish.requests import (
    Cause,
    PieceRequest,
    PieceResult,
    QueueClosed,
    RequestQueue,
)
from synthesis.engines.fish.scheduler import Scheduler, repeats_itself
from synthesis.engines.fish.slots import Sizes
from synthesis.engines.fish.tokens import Prompts
from synthesis.engines.fish.vocoder import ReferenceVocoder
from synthesis.engines.fish.weights import DecoderWeights
from tests.synthesis.fish.conftest import reference_codes

SIZES = Sizes(rows=4, positions=512, frames=128, voices=2, voice_positions=128)

Results = dict[str, PieceResult]
Speak = Callable[[list[str]], Results]


class Bench:
    """A scheduler whose rounds are run by hand."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        weights: DecoderWeights,
        prompts: Prompts,
        sizes: Sizes = SIZES,
    ) -> None:
        firefly = checkpoint.architecture.firefly
        codec = Codec(checkpoint.codec, firefly, torch.device("cpu"))
        self.prompts = prompts
        self.decoder = ReferenceDecoder(weights, sizes)
        self.queue = RequestQueue(200)
        self.scheduler = Scheduler(self.decoder, ReferenceVocoder(codec), self.queue)
        self.results: Results = {}

    def ask(self, text: str, **changes: Any) -> None:
        number = sum(map(ord, text))
        values: dict[str, Any] = {
            "tenant": "ten_a",
            "job": "job",
            "voice": number % 2,
            "prompt": self.prompts.line(text),
            "seed": number,
            "most_frames": 100,
            "fewest_frames": 4,
            "first": False,
        } | changes
        request = PieceRequest(
            voice_prompt=self.prompts.voice("Hm.", reference_codes(values["voice"])),
            answer=lambda result: self.results.__setitem__(text, result),
            **values,
        )
        assert self.queue.put(request, 0)

    def finish(self) -> Results:
        for _ in range(2000):
            if not self.scheduler.work() and not len(self.queue):
                return self.results
        raise AssertionError("The scheduler does not come to an end.")


@pytest.fixture
def make_bench(
    checkpoint: Checkpoint, weights: DecoderWeights, prompts: Prompts
) -> Callable[[], Bench]:
    return lambda: Bench(checkpoint, weights, prompts)


@pytest.fixture
def bench(make_bench: Callable[[], Bench]) -> Bench:
    return make_bench()


LINES = [f"Line {index}." for index in range(12)]


def said(results: Results) -> dict[str, bytes | Cause | None]:
    return {
        text: result.cause if result.waveform is None else result.waveform.tobytes()
        for text, result in results.items()
    }


def test_lines_are_the_same_in_any_order_and_in_every_run(make_bench: Callable[[], Bench]) -> None:
    found = []
    for lines in (LINES, LINES, LINES[::-1]):
        bench = make_bench()
        for line in lines:
            bench.ask(line)
        found.append(said(bench.finish()))
    assert set(found[0]) == set(LINES)
    assert found[0] == found[1] == found[2]
    assert sum(isinstance(sound, bytes) for sound in found[0].values()) >= 10
    # And alone.
    bench = make_bench()
    bench.ask(LINES[5])
    assert said(bench.finish()) == {LINES[5]: found[0][LINES[5]]}


def test_two_schedulers_at_once_do_not_disturb_each_other(
    make_bench: Callable[[], Bench],
) -> None:
    benches = [make_bench() for _ in range(2)]
    for bench in benches:
        for line in LINES:
            bench.ask(line)
    threads = [threading.Thread(target=bench.finish) for bench in benches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said(benches[0].results) == said(benches[1].results)
    assert set(benches[0].results) == set(LINES)


def test_steps_that_jobs_share_are_counted(bench: Bench) -> None:
    before = metrics.SHARED_STEPS._value.get()
    bench.ask("One.", job="a", fewest_frames=20)
    bench.ask("Two.", job="b", tenant="ten_b", fewest_frames=20)
    bench.finish()
    assert metrics.SHARED_STEPS._value.get() >= before + 20
    before = metrics.SHARED_STEPS._value.get()
    bench.ask("One.", job="a", fewest_frames=20)
    bench.finish()
    assert metrics.SHARED_STEPS._value.get() == before


def test_what_goes_wrong_with_one_line_leaves_the_others_as_they_are(
    make_bench: Callable[[], Bench],
) -> None:
    clean = make_bench()
    for line in LINES[:3]:
        clean.ask(line)
    expected = said(clean.finish())

    bench = make_bench()
    for line in LINES[:3]:
        bench.ask(line)
    bench.ask("No end.", most_frames=4, fewest_frames=4)
    bench.ask("x" * 400)  # over-long for its row
    bench.ask("<|im_end|><|voice|>", fewest_frames=8)
    results = bench.finish()
    assert results["No end."].cause is Cause.NO_END
    assert results["x" * 400].cause is Cause.TOO_LONG
    poisoned = results["<|im_end|><|voice|>"].waveform
    assert poisoned is not None
    assert len(poisoned) >= 8 * 2048
    found = said(results)
    assert {line: found[line] for line in LINES[:3]} == expected


def test_a_row_that_is_no_number_fails_alone(make_bench: Callable[[], Bench]) -> None:
    clean = make_bench()
    clean.ask(LINES[1], fewest_frames=30)
    expected = said(clean.finish())

    bench = make_bench()
    bench.ask(LINES[0], fewest_frames=30)
    bench.ask(LINES[1], fewest_frames=30)
    bench.scheduler.work()
    bench.decoder.cache[1, 1, 0] = math.nan
    results = bench.finish()
    assert results[LINES[0]].cause is Cause.NOT_FINITE
    assert said(results)[LINES[1]] == expected[LINES[1]]


def test_sound_that_is_no_number_is_no_sound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = Codec.code_vectors
    monkeypatch.setattr(Codec, "code_vectors", lambda self, group: vectors(self, group) * math.nan)
    bench.ask("Broken.", fewest_frames=4)
    assert bench.finish()["Broken."].cause is Cause.NOT_FINITE


@pytest.mark.parametrize(
    ("codes", "stuck"),
    [
        ([7] * 40, True),
        ([1, 2, 3] * 14, True),
        (list(range(50)) + [5, 6] * 16, True),
        ([7] * 31, False),
        (list(range(50)), False),
        ([5, 6] * 16 + [9], False),
        ([], False),
    ],
)
def test_a_model_that_is_stuck_is_noticed(codes: list[int], stuck: bool) -> None:
    assert repeats_itself(codes) is stuck


def test_groups_of_more_voices_than_places_are_all_spoken(bench: Bench) -> None:
    for index in range(4):
        bench.ask(f"{'x' * (900 if index % 2 else 1)} {index}.", voice=index)
    results = bench.finish()
    assert [result.cause for result in results.values()].count(Cause.TOO_LONG) == 2
    assert len(results) == 4


def test_a_dropped_job_is_spoken_no_more(bench: Bench) -> None:
    for line in LINES:
        bench.ask(line, job="dropped", fewest_frames=60)
    bench.ask("Kept.", job="kept")
    bench.scheduler.work()
    bench.scheduler.drop("dropped")
    started = bench.scheduler.rows_in_use
    results = bench.finish()
    assert started == 4
    assert set(results) == {"Kept."}
    assert bench.scheduler.rows_in_use == 0


def test_more_voices_than_are_kept_take_turns(bench: Bench) -> None:
    for index in range(6):
        bench.ask(f"Voice {index}.", voice=index)
    assert len(bench.finish()) == 6
    assert len(bench.decoder.voices) == 2


# The queue


NOTHING = np.zeros((9, 0), np.int32)


def request(name: str, tenant: str = "a", *, first: bool = False, job: str = "j") -> PieceRequest:
    return PieceRequest(tenant, job, name, NOTHING, NOTHING, 0, 1, 0, first, print)


def taken(queue: RequestQueue) -> Iterator[str]:
    while found := queue.take():
        yield str(found.voice)


def test_tenants_take_turns_and_first_lines_go_first() -> None:
    queue = RequestQueue(20)
    for text in ("a1", "a2", "a3", "a4"):
        queue.put(request(text), 0)
    queue.put(request("b1", "b"), 0)
    queue.put(request("A1", first=True), 0)
    queue.put(request("A2", first=True), 0)
    assert list(taken(queue)) == ["A1", "b1", "A2", "a1", "a2", "a3", "a4"]


def test_a_tenant_with_many_lines_does_not_hold_up_another() -> None:
    queue = RequestQueue(1000)
    for index in range(500):
        queue.put(request(f"a{index}"), 0)
    next(taken(queue))
    queue.put(request("b", "b"), 0)
    assert "b" in [next(taken(queue)) for _ in range(2)]


def test_a_tenant_that_has_enough_waiting_is_held_back_and_others_are_not() -> None:
    queue = RequestQueue(2)
    assert queue.put(request("1"), 0)
    assert queue.put(request("2"), 0)
    assert queue.put(request("b", "b"), 0)
    started = time.monotonic()
    assert not queue.put(request("3"), 0.05)
    assert time.monotonic() - started >= 0.05
    waiting = threading.Thread(target=lambda: queue.put(request("4"), 5))
    waiting.start()
    queue.take()
    waiting.join(5)
    assert list(taken(queue)) == ["b", "2", "4"]


def test_what_a_job_has_waiting_can_be_removed() -> None:
    queue = RequestQueue(10)
    for index in range(4):
        queue.put(request(str(index), job="ab"[index % 2]), 0)
    assert queue.remove("a") == 2
    assert len(queue) == 2
    assert list(taken(queue)) == ["1", "3"]


def test_a_closed_queue_takes_nothing() -> None:
    queue = RequestQueue(1)
    queue.close()
    with pytest.raises(QueueClosed):
        queue.put(request("1"), 1)


@pytest.mark.drills
def test_a_thousand_lines_leave_nothing_behind(
    checkpoint: Checkpoint, weights: DecoderWeights, prompts: Prompts
) -> None:
    import psutil

    bench = Bench(checkpoint, weights, prompts, replace(SIZES, rows=32))
    process = psutil.Process()
    sizes: list[int] = []
    reached = 0
    for start in range(0, 1000, 50):
        for index in range(start, start + 50):
            tenant, job = f"ten_{index % 3}", f"job_{index % 7}"
            bench.ask(f"Line {index}.", tenant=tenant, job=job, most_frames=40)
        reached = len(bench.finish())
        for result in bench.results.values():
            assert (result.waveform is None) == (result.cause is not None)
        # What was said is gone with its answer; only the sizes stay.
        bench.results = {
            text: PieceResult(None if r.waveform is None else np.zeros(1, np.float32), r.cause)
            for text, r in bench.results.items()
        }
        sizes.append(process.memory_info().rss)
    assert reached == 1000
    spoken = sum(result.cause is None for result in bench.results.values())
    assert spoken >= 450  # the others came to no end within their budget
    assert max(sizes[10:]) - min(sizes[5:10]) < 20_000_000
    assert bench.scheduler.rows_in_use == 0
