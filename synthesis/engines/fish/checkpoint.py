"""Reads a fish-speech 1.5 checkpoint from disk, and refuses one that is not whole.

The folder holds ``config.json``, ``model.pth``, ``tokenizer.tiktoken`` and the codec's ``.pth``.
"""

import hashlib
import json
import pickle  # nosec B403
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from synthesis.engines.fish.architecture import (
    Architecture,
    Shapes,
    UnknownArchitecture,
    codec_shapes,
    transformer_shapes,
)
from synthesis.engines.fish.tokens import Tokenizer, TokenizerError

CODEC_FILE = "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
FILES = ("config.json", "model.pth", "tokenizer.tiktoken", CODEC_FILE)
CODEC_CONFIG_FILE = "firefly.json"  # only where the codec is not the published one

Weights = dict[str, torch.Tensor]

_NAMED = 5  # keys that a refusal names before it only counts them


class CheckpointRefused(Exception):
    """The checkpoint is missing, damaged or of another model; the message says what and where."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found whole, in host memory."""

    folder: Path
    architecture: Architecture
    tokenizer: Tokenizer
    transformer: Weights
    codec: Weights  # weight norm resolved: plain ``weight`` tensors


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read and check everything. Raises CheckpointRefused."""
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise CheckpointRefused(f"{folder} has no {', '.join(missing)}.")
    architecture = read_architecture(folder)
    try:
        tokenizer = Tokenizer(folder / "tokenizer.tiktoken")
    except (TokenizerError, UnicodeDecodeError) as exc:
        raise CheckpointRefused(f"{folder}: {exc}") from exc
    if tokenizer.size != architecture.vocab_size:
        raise CheckpointRefused(
            f"{folder}: tokenizer.tiktoken makes {tokenizer.size:,} tokens with the special ones; "
            f"config.json's vocab_size is {architecture.vocab_size:,}."
        )
    transformer = _read_weights(folder / "model.pth", "model.")
    check_keys("model.pth", transformer, transformer_shapes(architecture))
    codec = _read_weights(folder / CODEC_FILE, "generator.")
    codec = {_modern_name(name): tensor for name, tensor in codec.items()}
    check_keys(CODEC_FILE, codec, codec_shapes(architecture.firefly))
    return Checkpoint(folder, architecture, tokenizer, transformer, without_weight_norm(codec))


def read_architecture(folder: Path) -> Architecture:
    """The numbers in ``config.json`` and ``firefly.json``. Raises CheckpointRefused."""
    codec = folder / CODEC_CONFIG_FILE
    try:
        return Architecture.from_config(
            _read_json(folder / "config.json"), _read_json(codec) if codec.exists() else {}
        )
    except UnknownArchitecture as exc:
        raise CheckpointRefused(f"{folder}: {exc}") from exc


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (ValueError, OSError) as exc:
        raise CheckpointRefused(f"{path} is not readable JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise CheckpointRefused(f"{path} is not an object.")
    return found


def _read_weights(path: Path, prefix: str) -> Weights:
    """A state dict, without the prefix that trainers put before names. Unpickling with weights_only,
    because a file must not run what it says.
    """
    try:
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as exc:
        reason = str(exc).splitlines()[0][:200]
        raise CheckpointRefused(f"{path}: damaged or truncated ({reason}).") from exc
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not found or not all(isinstance(n, str) for n in found):
        raise CheckpointRefused(f"{path} holds no named tensors.")
    if other := [name for name, value in found.items() if not isinstance(value, torch.Tensor)]:
        raise CheckpointRefused(f"{path}: {other[0]} is not a tensor.")
    plain = {name.removeprefix(prefix): value for name, value in found.items()}
    if len(plain) < len(found):
        raise CheckpointRefused(f"{path} has tensors twice, with and without {prefix!r}.")
    return plain


def _modern_name(name: str) -> str:
    """torch once stored weight norm as weight_g and weight_v."""
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        if name.endswith(f".{old}"):
            return f"{name.removesuffix(old)}parametrizations.weight.{new}"
    return name


def check_keys(file: str, weights: Mapping[str, torch.Tensor], shapes: Shapes) -> None:
    """Raise CheckpointRefused unless exactly these tensors are there, finite, in these shapes."""
    for what, names in (
        ("lacks", sorted(set(shapes) - set(weights))),
        ("has unexpected", sorted(set(weights) - set(shapes))),
    ):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise CheckpointRefused(f"{file} {what} {', '.join(names[:_NAMED])}{more}.")
    for name, shape in shapes.items():
        tensor = weights[name]
        if tuple(tensor.shape) != shape:
            raise CheckpointRefused(
                f"{file}: {name} has the shape {list(tensor.shape)}; config.json asks for "
                f"{list(shape)}."
            )
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise CheckpointRefused(f"{file}: {name} holds values that are no numbers.")


def without_weight_norm(weights: Weights) -> Weights:
    """Resolve weight norm: w = g v / |v|, the norm over all dimensions but the first.

    Salimans & Kingma 2016, Weight Normalization, eq. 2, as torch applies it with dim=0.
    """
    plain: Weights = {}
    magnitude, direction = (
        ".parametrizations.weight.original0",
        ".parametrizations.weight.original1",
    )
    for name, tensor in weights.items():
        if name.endswith(magnitude):
            continue
        if name.endswith(direction):
            stem = name.removesuffix(direction)
            plain[f"{stem}.weight"] = torch._weight_norm(tensor, weights[stem + magnitude], 0)
        else:
            plain[name] = tensor
    return plain


def file_hash(path: Path) -> str:
    """SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkpoint_report(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a person wants to know of a checkpoint: its size, its numbers, its hashes."""
    hashes = {name: file_hash(checkpoint.folder / name) for name in FILES}
    whole = hashlib.sha256("".join(hashes[name] for name in FILES).encode()).hexdigest()
    return {
        "transformer_parameters": sum(t.numel() for t in checkpoint.transformer.values()),
        "codec_parameters": sum(t.numel() for t in checkpoint.codec.values()),
        "architecture": checkpoint.architecture,
        "files": hashes,
        "sha256": whole,
    }
