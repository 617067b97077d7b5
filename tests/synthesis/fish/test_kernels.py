"""The GPU's path, under Triton's interpreter: it computes what the plain one does."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux")

from synthesis.engines.fish.checkpoint import Checkpoint
from synthesis.engines.fish.codec import Codec
from synthesis.engines.fish.fast_decoder import FastDecoder
from synthesis.engines.fish.fast_vocoder import FastVocoder
from synthesis.engines.fish.reference_decoder import ReferenceDecoder
from synthesis.engines.fish.slots import NOT_FINITE, Admission, Sampling, Sizes, SlotDecoder
from synthesis.engines.fish.tiles import AttentionTile, LinearTile, Tiles
from synthesis.engines.fish.tokens import Prompts
from synthesis.engines.fish.tuning import best_tile, tune_decoder
from synthesis.engines.fish.weights import DecoderWeights
from voicereel_site.local_stack import ROOT

Keep = Callable[[SlotDecoder], None]

# The interpreter takes a second for each row of a step, and as much for a prompt of 48 tokens.
SIZES = Sizes(rows=3, positions=256, frames=16, voices=3, voice_positions=96)
SMALL = Sizes(rows=2, positions=128, frames=8, voices=1, voice_positions=64)


def assert_equal(plain: SlotDecoder, fast: SlotDecoder) -> None:
    rows = plain.sizes.rows
    for name in ("frames", "token", "position", "count", "recent", "done", "seed", "most"):
        assert torch.equal(getattr(plain, name)[:rows], getattr(fast, name)[:rows]), name


def test_the_fast_decoder_equals_the_plain_one(weights: DecoderWeights, prompts: Prompts) -> None:
    plain, fast = ReferenceDecoder(weights, SMALL), FastDecoder(weights, SMALL, Tiles())
    for decoder in (plain, fast):
        decoder.admit(
            [
                Admission(1, None, prompts.line("One."), 11, 8, 4),
                Admission(0, None, prompts.line("안녕"), 12, 2, 2, Sampling(top_p=1e-6)),
            ]
        )
    _, logits = plain.slow_pass(2)
    fast.slow_pass(2)
    assert (fast.logits[:, :1025] - logits).norm() / logits.norm() < 1e-5
    for _ in range(2):
        plain.step(2)
        fast.step(2)
    assert fast.report().read()[1][:2] == [2, 2]
    assert_equal(plain, fast)


@pytest.mark.kernels
def test_the_fast_decoder_equals_the_plain_one_for_voices_mates_and_broken_rows(
    weights: DecoderWeights, keep_voices: Keep, prompts: Prompts
) -> None:
    plain, fast = ReferenceDecoder(weights, SIZES), FastDecoder(weights, SIZES, Tiles())
    for decoder in (plain, fast):
        keep_voices(decoder)
        decoder.admit(
            [
                Admission(2, 0, prompts.line("One."), 11, 16, 4),
                Admission(0, 1, prompts.line("안녕하세요"), 12, 16, 4, Sampling(top_p=1e-6)),
                Admission(1, 1, prompts.line("Cut."), 13, 2, 2),
            ]
        )
    for _ in range(3):
        plain.step(3)
        fast.step(3)
    assert_equal(plain, fast)
    # A row that is no number ends alone, and a new line takes its place.
    for decoder in (plain, fast):
        decoder.cache[0, 0, 2, :, 3] = torch.nan
        decoder.step(3)
        assert decoder.report().read()[0][2] == NOT_FINITE
        decoder.admit([Admission(2, 0, prompts.line("New."), 5, 16, 4)])
        decoder.step(3)
    assert_equal(plain, fast)


def vocoder_error(checkpoint: Checkpoint, lengths: list[int]) -> float:
    """The largest relative error of the fast vocoder over rows of these lengths in one group."""
    firefly, cpu = checkpoint.architecture.firefly, torch.device("cpu")
    codec = Codec(checkpoint.codec, firefly, cpu)
    fast = FastVocoder(
        checkpoint.codec, firefly, cpu, Tiles(), dtype=torch.float32, group=len(lengths)
    )
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(0, 1000, (len(lengths), 8, max(lengths)), generator=generator)
    found = fast.decode(codes.int(), torch.tensor(lengths, dtype=torch.int32))
    errors = []
    for row, frames in enumerate(lengths):
        expected = codec.decode(codes[row, :, :frames])
        errors.append((found[row, : frames * 2048] - expected).norm() / expected.norm())
    return float(max(errors))


def test_the_fast_vocoder_equals_the_codec(checkpoint: Checkpoint) -> None:
    assert vocoder_error(checkpoint, [1]) < 1e-5


@pytest.mark.kernels
def test_the_fast_vocoder_equals_the_codec_for_rows_of_any_length(checkpoint: Checkpoint) -> None:
    assert vocoder_error(checkpoint, [4, 2, 3]) < 1e-5


def test_tuning_takes_the_fastest_shape_that_agrees(
    weights: DecoderWeights, tmp_path: Path
) -> None:
    asked: list[int] = []

    def measure(run: Callable[[], None]) -> float:
        asked.append(1)
        return 1.0 / len(asked)  # each faster than the one before

    small = Sizes(rows=1, positions=64, frames=8, voices=1, voice_positions=32)
    tiles = Tiles()
    tune_decoder(weights, small, tiles, measure)
    assert tiles.linear["w2.16"] == LinearTile(64, 256, 8, 4, 2)  # the last candidate
    assert tiles.attention["16"] == AttentionTile(32, 4, 4, 1)
    assert tiles.linear["head.16"] == tiles.linear["qkv.16"]
    tiles.save(tmp_path / "tiles.json", "A GPU")
    assert Tiles.load(tmp_path / "tiles.json", "A GPU") == tiles
    assert Tiles.load(tmp_path / "tiles.json", "Another") is None
    (tmp_path / "tiles.json").write_text("{")
    assert Tiles.load(tmp_path / "tiles.json", "A GPU") is None


def test_a_cpu_needs_no_triton() -> None:
    from synthesis.engines.fish import runtime

    assert "triton" not in vars(runtime)
    assert sys.modules["synthesis.engines.fish.runtime"] is runtime


@pytest.mark.kernels
@pytest.mark.parametrize(("capability", "shared_limit"), [(80, 163 * 1024), (90, 227 * 1024)])
def test_every_kernel_of_the_full_model_compiles_for_a_gpu(
    capability: int, shared_limit: int
) -> None:
    """An A100 and an H100; shared memory as in NVIDIA's CUDA C++ programming guide, table 24."""
    environment = {name: v for name, v in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.synthesis.fish.compile_kernels", str(capability)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(row) for row in done.stdout.splitlines()]
    assert len({row["kernel"] for row in found}) == 13
    assert [row for row in found if "error" in row] == []
    assert max(row["shared"] for row in found) <= shared_limit
    # Nothing is spilled to slow memory.
    assert all("STACK:0" in row["resources"] for row in found)


def test_a_shape_that_a_gpu_has_no_room_for_or_that_differs_is_passed_over() -> None:
    out = torch.zeros(4)
    default, wrong, slow, fast = (AttentionTile(size, 1, 1, 1) for size in (1, 2, 3, 4))
    seconds = {wrong: 0.1, slow: 3.0, fast: 2.0}
    running: list[AttentionTile] = []

    def attempt(tile: AttentionTile) -> tuple[Callable[[], None], torch.Tensor]:
        def run() -> None:
            running[:] = [tile]
            if tile == default:
                raise RuntimeError("out of resource: shared memory")
            out.fill_(5.0 if tile == wrong else 1.0)

        return run, out

    found = best_tile("k", default, [slow, wrong, fast], attempt, lambda run: seconds[running[0]])
    assert found == fast
    with pytest.raises(RuntimeError, match="No shape of k runs"):
        best_tile("k", default, [], attempt, lambda run: 0.0)
