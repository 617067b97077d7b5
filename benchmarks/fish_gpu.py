"""``make bench-fish``: how fast the fish-speech engine is, beside the library, in one run.

Prints one table for this machine: the library eager and compiled; our decoder's step by batch; scripts
end to end, codes cached, warm, from text to samples in host memory; and POST to succeeded over HTTP
with a voice that is not cached. Random weights of the full size, so lengths are given and nothing is
said about quality. Nothing passes or fails.

Goals, on one H100: 30 s script in 0.12 s; 64 lines at 1,000 times real time; mixed lengths at 75 % of
the throughput of uniform ones; a step of 64 rows in 1.9 ms; the first 0.5 s of audio after 30 ms; 50
times the compiled library's throughput; POST to succeeded in 8 s, better 1.5 s.

Without a GPU it is a dry run: the same with the tiny checkpoint and the plain decoder.

On a GPU machine without a network, bring the packages as wheels. Where there is a network:

    pip download --only-binary :all: --python-version 3.12 --platform manylinux_2_28_x86_64 -d wheels \\
        -r requirements.txt
    pip download --no-deps -d wheels -r requirements-fish-speech.txt tiktoken==0.14.0 pocketsphinx==5.1.1

(torch and triton are on such machines as a rule; else add requirements-gpu.txt.) And there, from the
repository's root:

    python3 -m pip install --no-index --no-deps --target site wheels/*.whl
    PYTHONPATH=site:. python3 benchmarks/fish_gpu.py
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")

import numpy as np
import torch

from synthesis.engines.fish.checkpoint import Checkpoint, load_checkpoint
from synthesis.engines.fish.codec import Codec
from synthesis.engines.fish.random_checkpoint import write_random_checkpoint
from synthesis.engines.fish.reference_decoder import ReferenceDecoder
from synthesis.engines.fish.requests import PieceRequest, PieceResult, RequestQueue
from synthesis.engines.fish.scheduler import Scheduler
from synthesis.engines.fish.slots import (
    ENDED,
    OVER_BUDGET,
    Admission,
    Report,
    Sampling,
    Sizes,
    SlotDecoder,
)
from synthesis.engines.fish.tokens import Prompts
from synthesis.engines.fish.vocoder import ReferenceVocoder, Vocoder
from synthesis.engines.fish.weights import decoder_weights

REFERENCE_FRAMES = 215  # 10 s
LINE_FRAMES = 65  # 3.02 s
RENDERS = 7
MIXED = 200
HALF_AN_HOUR_LINES = 360  # of 5 s on average


def row(name: str, value: object) -> None:
    print(f"| {name} | {value} |", flush=True)


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Lengths(Report):
    """A report in which a row that has spent its frames has come to its end."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def read(self) -> tuple[list[int], list[int]]:
        done, frames = self._report.read()
        return [ENDED if reason == OVER_BUDGET else reason for reason in done], frames


class Engine:
    """Decoder, vocoder and scheduler of a size, with three voices at hand."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, rows: int) -> None:
        self.device, self.architecture = device, checkpoint.architecture
        self.prompts = Prompts(checkpoint.tokenizer, self.architecture.codebooks)
        sizes = Sizes(rows=rows)
        self.decoder, self.vocoder = _parts(checkpoint, device, sizes)
        report = self.decoder.report
        self.decoder.report = lambda: Lengths(report())  # type: ignore[method-assign]
        for voice in range(3):
            self.decoder.keep_voice(voice, self.voice(voice))

    def voice(self, number: int) -> Any:
        codes = np.random.default_rng(number).integers(0, 1000, (8, REFERENCE_FRAMES))
        return self.prompts.voice("x" * 40, codes)

    def render(self, lines: Sequence[tuple[str, int]]) -> tuple[float, float]:
        """Speak lines (tenant, frames) that all wait at once. Returns seconds, and of audio."""
        queue = RequestQueue(len(lines))
        scheduler = Scheduler(self.decoder, self.vocoder, queue)
        found: list[PieceResult] = []
        wait_for(self.device)
        started = time.perf_counter()
        # As the engine hands them in: longest first.
        for number, (tenant, frames) in enumerate(sorted(lines, key=lambda line: -line[1])):
            request = PieceRequest(
                tenant, tenant, number % 3, np.zeros((9, 0), np.int32),
                self.prompts.line("y" * (12 + number % 7)), number, frames + 1, frames + 1, number == 0, found.append,
            )  # fmt: skip
            queue.put(request, 0)
        while len(found) < len(lines):
            scheduler.work()
        elapsed = time.perf_counter() - started
        assert all(result.cause is None for result in found)
        return elapsed, sum(frames for _, frames in lines) / self.architecture.frames_per_second

    def first_sound(self, lines: int) -> float:
        """Seconds until the first 0.5 s (11 frames) of one line, with others in work."""
        wait_for(self.device)
        started = time.perf_counter()
        self.decoder.admit(
            [
                Admission(slot, slot % 3, self.prompts.line("y" * 14), slot, 64, 64)
                for slot in range(lines)
            ]
        )
        for _ in range(11):
            self.decoder.step(self.decoder.bucket(lines - 1))
        self.vocoder.start([self.decoder.codes(0)[:, :11]]).read()
        elapsed = time.perf_counter() - started
        self.decoder.end(range(lines))
        return elapsed


def _parts(
    checkpoint: Checkpoint, device: torch.device, sizes: Sizes
) -> tuple[SlotDecoder, Vocoder]:
    firefly = checkpoint.architecture.firefly
    if device.type != "cuda":
        weights = decoder_weights(checkpoint, device, torch.float32)
        codec = Codec(checkpoint.codec, firefly, device)
        return ReferenceDecoder(weights, sizes), ReferenceVocoder(codec)
    from synthesis.engines.fish.fast_decoder import FastDecoder
    from synthesis.engines.fish.fast_vocoder import FastVocoder
    from synthesis.engines.fish.tiles import Tiles
    from synthesis.engines.fish.tuning import tuned

    weights = decoder_weights(checkpoint, device, torch.bfloat16)
    path, name = Path("var/bench-fish-tiles.json"), torch.cuda.get_device_name(device)
    path.parent.mkdir(exist_ok=True)
    tiles = Tiles.load(path, name)
    if tiles is None:
        tiles = tuned(weights, checkpoint.codec, sizes)
        tiles.save(path, name)
    decoder = FastDecoder(weights, sizes, tiles)
    decoder.warm_up()
    vocoder = FastVocoder(checkpoint.codec, firefly, device, tiles)
    vocoder.warm_up()
    return decoder, vocoder


def median(measure: Callable[[], float], times: int = RENDERS) -> float:
    for _ in range(2):
        measure()
    return statistics.median(measure() for _ in range(times))


def bandwidth(device: torch.device) -> float:
    """Bytes a second of a copy, read and written."""
    size = 2**30 if device.type == "cuda" else 2**26
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> float:
        wait_for(device)
        started = time.perf_counter()
        target.copy_(source)
        wait_for(device)
        return time.perf_counter() - started

    return 2 * size / median(copy)


def steps(checkpoint: Checkpoint, device: torch.device, batches: Sequence[int]) -> None:
    bytes_a_second = bandwidth(device)
    row("memory bandwidth, TB/s", f"{bytes_a_second / 1e12:.2f}")
    for rows in batches:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        engine = Engine(checkpoint, device, rows)
        decoder = engine.decoder
        decoder.admit(
            [
                Admission(slot, slot % 3, engine.prompts.line("y" * 14), slot, 700, 700)
                for slot in range(rows)
            ]
        )
        count = 60 if device.type == "cuda" else 10

        def run(decoder: SlotDecoder = decoder, rows: int = rows, count: int = count) -> float:
            wait_for(device)
            started = time.perf_counter()
            for _ in range(count):
                decoder.step(rows)
            wait_for(device)
            return (time.perf_counter() - started) / count

        seconds = median(run, 5)
        w, a = decoder.weights, engine.architecture
        half = 2 if device.type == "cuda" else 4
        slow = sum(t.numel() for block in w.slow for t in vars(block).values())
        fast = sum(t.numel() for block in w.fast for t in vars(block).values())
        slow += w.head.numel()
        fast += w.fast_head.numel()
        positions = float(decoder.position[:rows].float().mean())
        cache = 2 * a.slow.layers * a.slow.kv_heads * a.slow.head_dim * positions * rows
        floor = half * (slow + fast * (a.codebooks - 1) + cache) / bytes_a_second
        memory = (
            f", {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB"
            if device.type == "cuda"
            else ""
        )
        row(
            f"step of {rows} rows",
            f"{seconds * 1e3:.3f} ms, {rows / seconds:,.0f} tokens/s, {seconds / floor:.1f} times "
            f"the memory floor{memory}",
        )
        del engine, decoder


def mixed_lengths(count: int, rates: float) -> list[int]:
    """Frames of lines of 1 to 12 s, lognormal as in real scripts."""
    generator = random.Random(7)
    return [
        max(22, min(258, round(generator.lognormvariate(1.25, 0.6) * rates))) for _ in range(count)
    ]


def scripts(checkpoint: Checkpoint, device: torch.device, scale: float) -> dict[str, float]:
    """``scale``: a share of the lines, for a dry run."""
    engine = Engine(checkpoint, device, 64 if device.type == "cuda" else 8)
    rate = engine.architecture.frames_per_second
    speeds: dict[str, float] = {}

    def measured(name: str, lines: list[tuple[str, int]], times: int = RENDERS) -> None:
        audio_s = 0.0

        def render() -> float:
            nonlocal audio_s
            elapsed, audio_s = engine.render(lines)
            return elapsed

        seconds = median(render, times)
        speeds[name] = audio_s / seconds
        row(
            f"{name} ({len(lines)} lines, {audio_s:.1f} s)",
            f"{seconds * 1e3:.1f} ms, {speeds[name]:,.0f} times real time",
        )

    def some(count: int) -> int:
        return max(2, round(count * scale))

    row(
        "first 0.5 s of audio, 10 lines in work",
        f"{median(lambda: engine.first_sound(min(10, engine.decoder.sizes.rows))) * 1e3:.1f} ms",
    )
    measured("30 s script", [("a", LINE_FRAMES)] * some(10))
    measured("64 lines", [("a", LINE_FRAMES)] * some(64))
    frames = mixed_lengths(some(MIXED), rate)
    mean = round(sum(frames) / len(frames))
    measured("uniform", [("a", mean)] * len(frames), 3)
    measured("mixed lengths", [("a", count) for count in frames], 3)
    row("mixed of uniform", f"{speeds['mixed lengths'] / speeds['uniform']:.0%}")
    halves = [("ab"[number % 2], count) for number, count in enumerate(frames)]
    measured("two tenants at once", halves, 3)
    measured(
        "30-minute script", [("a", n) for n in mixed_lengths(some(HALF_AN_HOUR_LINES), rate)], 2
    )
    return speeds


def library_speed(folder: Path, device: torch.device, *, compiled: bool) -> float | None:
    """Tokens a second of fish-speech-lib for one line; None where it is not installed."""
    try:
        from tests.synthesis.fish import library

        inference = library.module("models.text2semantic.inference")
    except (ImportError, AssertionError):
        return None
    inference.tqdm = lambda numbers: numbers
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if on_gpu else torch.float32
    model, decode = inference.load_model(str(folder), str(device), dtype, compile=compiled)
    model.setup_caches(1, 2048, dtype)
    prompt = torch.zeros(9, 346, dtype=torch.int, device=device)
    prompt[0] = 120
    tokens = 200 if on_gpu else 20
    end = model.tokenizer.get_token_id("<|im_end|>")
    model.output.weight.data[end] = 0

    def run() -> float:
        started = time.perf_counter()
        inference.generate(
            model=model,
            prompt=prompt,
            max_new_tokens=tokens,
            decode_one_token=decode,
            rng=inference.SamplingRng(str(device), 1),
            temperature=torch.tensor(Sampling.temperature, device=device),
            top_p=torch.tensor(Sampling.top_p, device=device),
            repetition_penalty=torch.tensor(Sampling.repetition_penalty, device=device),
        )
        wait_for(device)
        return time.perf_counter() - started

    with torch.inference_mode():
        return tokens / median(run, 3)


@contextmanager
def site(folder: Path, checkpoint: Path, device: torch.device) -> Iterator[Any]:
    """The product with the fish engine, and a client of it."""
    import voicereel

    from voicereel_site.local_stack import LocalStack

    environment = {
        "VOICEREEL_VAR": str(folder / "var"),
        "VOICEREEL_ENGINE": "fish",
        "FISH_CHECKPOINT_DIR": str(checkpoint),
        "FISH_DEVICE": str(device),
        "VOICEREEL_LOG_LEVEL": "WARNING",
    }
    with (
        (folder / "server.log").open("ab") as log,
        LocalStack(environment=environment, log=log) as stack,
        voicereel.Client(stack.manage("create_tenant", "Benchmark"), stack.url) as client,
    ):
        yield client


def over_http(folder: Path, checkpoint: Path, device: torch.device) -> None:
    """POST to succeeded for a ten-line script: first with a voice that is not cached, then again."""
    from render import SCRIPT

    from tests.e2e.human_speech import OPENING, two_cities

    with site(folder, checkpoint, device) as client:
        made = client.register_speaker("Anna", two_cities(), consent=True, transcript=OPENING)
        speaker = client.wait_for_speaker(made.id, timeout_s=600)
        for name in ("voice not cached", "voice cached"):
            lines = [{"speaker_id": speaker.id, "text": text} for text in SCRIPT]
            started = time.perf_counter()
            job = client.wait_for_job(client.synthesize(lines, seed=1).id, poll_s=0.02)
            elapsed = time.perf_counter() - started
            assert job.audio is not None
            row(
                f"POST to succeeded, {name}",
                f"{elapsed:.2f} s for {job.audio.duration_ms / 1000:.1f} s of audio",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmark of the fish-speech engine.")
    parser.add_argument("--size", choices=("tiny", "full"), help="default: full on a GPU")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    size: Literal["tiny", "full"] = options.size or ("full" if on_gpu else "tiny")
    with tempfile.TemporaryDirectory(prefix="bench-fish-") as scratch:
        folder = Path(scratch) / "checkpoint"
        write_random_checkpoint(folder, size)
        checkpoint = load_checkpoint(folder)
        name = torch.cuda.get_device_name(device) if on_gpu else "CPU (a dry run)"
        print(f"| {name}, torch {torch.__version__}, {size} random weights | |\n| --- | --- |")
        speeds: dict[str, float | None] = {}
        for kind, compiled in (("eager", False), ("compiled", True)):
            if compiled and not on_gpu:
                continue
            speeds[kind] = library_speed(folder, device, compiled=compiled)
            found = speeds[kind]
            row(
                f"library, {kind}, one line",
                "not installed" if found is None else f"{found:,.1f} tokens/s",
            )
        steps(checkpoint, device, (1, 8, 16, 32, 64, 128) if on_gpu else (1, 8))
        ours = scripts(checkpoint, device, 1.0 if on_gpu else 0.05)
        theirs = speeds.get("compiled") or speeds.get("eager")
        if theirs:
            times = ours["64 lines"] * checkpoint.architecture.frames_per_second / theirs
            row("64 lines over the library's throughput (its decoder alone)", f"{times:.1f} times")
        del checkpoint
        over_http(Path(scratch), folder, device)


if __name__ == "__main__":
    main()
