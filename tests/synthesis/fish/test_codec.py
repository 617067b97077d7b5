"""The codec computes what the library's computes, whole and in chunks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from synthesis.engines.fish.architecture import Architecture
from synthesis.engines.fish.checkpoint import Checkpoint
from synthesis.engines.fish.codec import Codec
from synthesis.engines.fish.random_checkpoint import FULL
from synthesis.engines.fish.vocoder import CHUNK_FRAMES, cut
from tests.synthesis.fish import library


@pytest.fixture(scope="module")
def codec(checkpoint: Checkpoint) -> Codec:
    return Codec(checkpoint.codec, checkpoint.architecture.firefly, torch.device("cpu"))


def codes(frames: int) -> torch.Tensor:
    return torch.randint(0, 1000, (8, frames), generator=torch.Generator().manual_seed(0))


def test_it_encodes_and_decodes_as_the_library(codec: Codec, checkpoint_folder: Path) -> None:
    theirs = library.codec(checkpoint_folder, codec.firefly)
    waveform = np.random.default_rng(0).normal(0, 0.1, 2048 * 21).astype(np.float32)
    with torch.inference_mode():
        audio = torch.from_numpy(waveform)[None, None]
        expected, _ = theirs.encode(audio, torch.tensor([len(waveform)]))
        found = codec.encode(waveform)
        assert np.array_equal(found, expected[0].numpy())
        assert len(np.unique(found)) > 20
        # A rest shorter than a frame is left out.
        assert np.array_equal(codec.encode(np.append(waveform, waveform[:2047])), found)
        sound, _ = theirs.decode(codes(20)[None], torch.tensor([20]))
    ours = codec.decode(codes(20))
    torch.testing.assert_close(ours, sound[0, 0], rtol=1e-5, atol=1e-6)
    assert ours.std() > 0.05


def test_chunks_with_their_past_equal_the_whole(codec: Codec) -> None:
    line = codes(2 * CHUNK_FRAMES + 30)
    chunks = cut(line, codec.firefly.context_frames)
    assert [chunk.shape[1] - past for chunk, past in chunks] == [256, 256, 30]
    parts = [codec.decode(chunk)[past * 2048 :] for chunk, past in chunks]
    torch.testing.assert_close(torch.cat(parts), codec.decode(line), rtol=0, atol=1e-5)
    # With less of the past they do not: the number is not merely large.
    few = [codec.decode(chunk)[past * 2048 :] for chunk, past in cut(line, 4)]
    assert (torch.cat(few) - codec.decode(line)).abs().max() > 1e-5
    assert Architecture.from_config(FULL, {}).firefly.context_frames == 15


def test_a_code_that_it_does_not_know_is_no_crash(codec: Codec) -> None:
    unknown = torch.full((8, 4), 1010)
    assert torch.isfinite(codec.decode(unknown)).all()
