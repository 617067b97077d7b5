"""The tiny checkpoint: real in everything but what it says."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import torch

    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"  # read when kernels are defined
    # As a GPU's worker has it, and so that tests are as fast beside other work.
    torch.set_num_threads(1)

if TYPE_CHECKING:
    from synthesis.engines.fish.checkpoint import Checkpoint
    from synthesis.engines.fish.slots import Admission, SlotDecoder
    from synthesis.engines.fish.tokens import Prompts
    from synthesis.engines.fish.weights import DecoderWeights

VOICES = ("It was raining.", "안녕하세요", "Third.")


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from synthesis.engines.fish.random_checkpoint import write_random_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint")
    write_random_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint(checkpoint_folder: Path) -> "Checkpoint":
    from synthesis.engines.fish.checkpoint import load_checkpoint

    return load_checkpoint(checkpoint_folder)


@pytest.fixture(scope="session")
def weights(checkpoint: "Checkpoint") -> "DecoderWeights":
    from synthesis.engines.fish.weights import decoder_weights

    return decoder_weights(checkpoint, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def prompts(checkpoint: "Checkpoint") -> "Prompts":
    from synthesis.engines.fish.tokens import Prompts

    return Prompts(checkpoint.tokenizer, checkpoint.architecture.codebooks)


def reference_codes(voice: int) -> Any:
    """Random codes of a reference, of another length for each voice."""
    return np.random.default_rng(voice).integers(0, 1000, (8, 10 + 7 * voice))


@pytest.fixture(scope="session")
def keep_voices(prompts: "Prompts") -> "Callable[[SlotDecoder], None]":
    def keep(decoder: "SlotDecoder") -> None:
        for voice, transcript in enumerate(VOICES):
            decoder.keep_voice(voice, prompts.voice(transcript, reference_codes(voice)))

    return keep


def run(decoder: "SlotDecoder", frames: int) -> None:
    for _ in range(frames):
        decoder.step(decoder.sizes.rows)


def spoken(decoder: "SlotDecoder", admissions: "list[Admission]", frames: int) -> list[Any]:
    """The frames of each admitted line after so many steps, [1 + codebooks, frames]."""
    decoder.admit(admissions)
    run(decoder, frames)
    _, counts = decoder.report().read()
    return [decoder.frames[row.slot, :, : counts[row.slot]].clone() for row in admissions]
