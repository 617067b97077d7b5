"""A checkpoint is whole, or it is refused by name."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from synthesis.engines.fish.architecture import Architecture, codec_shapes, transformer_shapes
from synthesis.engines.fish.checkpoint import (
    CODEC_FILE,
    CheckpointRefused,
    load_checkpoint,
    without_weight_norm,
)
from synthesis.engines.fish.random_checkpoint import FULL
from tests.synthesis.fish import library

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def copy(checkpoint_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(checkpoint_folder, tmp_path / "copy")


def changed(path: Path, change: Change) -> None:
    weights = torch.load(path, weights_only=True)
    change(weights)
    torch.save(weights, path)


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointRefused) as caught:
        load_checkpoint(folder)
    return str(caught.value)


def test_the_published_model_has_as_many_parameters_as_we_count() -> None:
    architecture = Architecture.from_config(FULL, {})
    counts = [
        sum(math.prod(shape) for shape in shapes.values())
        for shapes in (transformer_shapes(architecture), codec_shapes(architecture.firefly))
    ]
    assert counts == [637_921_280, 47_065_218]
    assert architecture.frames_per_second == pytest.approx(21.533, abs=1e-3)


def test_the_library_loads_what_we_load(checkpoint_folder: Path) -> None:
    checkpoint = load_checkpoint(checkpoint_folder)
    theirs = library.transformer(checkpoint_folder).state_dict()
    assert set(theirs) == set(checkpoint.transformer)
    assert all(torch.equal(theirs[name], w) for name, w in checkpoint.transformer.items())


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("model.pth", lambda w: w.pop("layers.1.feed_forward.w2.weight"), "layers.1.feed_forward.w2"),
        ("model.pth", lambda w: w.update({"layers.7.x": torch.zeros(1)}), "layers.7.x"),
        ("model.pth", lambda w: w.update({"norm.weight": torch.ones(63)}), "norm.weight"),
        ("model.pth", lambda w: w["output.weight"].fill_(math.nan), "output.weight"),
        ("model.pth", lambda w: w.update({"norm.weight": torch.ones(64).int()}), "norm.weight"),
        ("model.pth", lambda w: w.clear(), "model.pth"),
        (CODEC_FILE, lambda w: w.pop("generator.head.conv_pre.conv.bias"), "head.conv_pre.conv.bias"),
        (CODEC_FILE, lambda w: w.update({"discriminator.x": torch.zeros(1)}), "discriminator.x"),
        (
            CODEC_FILE,
            lambda w: w.update({"generator.backbone.norm.bias": torch.zeros(1, 64)}),
            "backbone.norm.bias",
        ),
    ],
)  # fmt: skip
def test_a_changed_tensor_is_refused_by_its_name(
    copy: Path, file: str, change: Change, named: str
) -> None:
    changed(copy / file, change)
    assert named in refusal(copy)


@pytest.mark.parametrize("file", ["model.pth", CODEC_FILE, "tokenizer.tiktoken", "config.json"])
def test_a_truncated_or_missing_file_is_refused_by_its_name(copy: Path, file: str) -> None:
    path = copy / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert file in refusal(copy)
    path.unlink()
    assert file in refusal(copy)


def test_a_pickle_that_runs_code_is_refused(copy: Path, tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "pwned",)

    torch.save({"norm.weight": Malice()}, copy / "model.pth")
    assert "model.pth" in refusal(copy)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "naive"}, "model_type"),
        ({"attention_qkv_bias": True}, "attention_qkv_bias"),
        ({"n_layer": 0}, "n_layer"),
        ({"dim": "wide"}, "dim"),
        ({"vocab_size": 1293}, "vocab_size"),
        ({"n_layer": 3}, "layers.2."),
        ({"num_codebooks": 4}, "num_codebooks"),
        ({"tie_word_embeddings": True}, "output.weight"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    copy: Path, change: dict[str, Any], named: str
) -> None:
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert named in refusal(copy)


def test_old_names_of_weight_norm_are_understood(copy: Path, checkpoint_folder: Path) -> None:
    def rename(weights: dict[str, Any]) -> None:
        for name in list(weights):
            for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
                if name.endswith(f".parametrizations.weight.{new}"):
                    weights[name.replace(f"parametrizations.weight.{new}", old)] = weights.pop(name)

    changed(copy / CODEC_FILE, rename)
    theirs, ours = load_checkpoint(checkpoint_folder).codec, load_checkpoint(copy).codec
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_weight_norm_is_resolved_over_all_but_the_first_dimension() -> None:
    magnitude, direction = (
        torch.tensor([[[2.0]], [[5.0]]]),
        torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]]),
    )
    plain = without_weight_norm(
        {
            "a.parametrizations.weight.original0": magnitude,
            "a.parametrizations.weight.original1": direction,
        }
    )
    torch.testing.assert_close(plain["a.weight"], torch.tensor([[[1.2, 1.6]], [[0.0, 5.0]]]))
