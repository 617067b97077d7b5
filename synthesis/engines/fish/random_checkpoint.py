"""Random weights in the layout of fish-speech 1.5: tiny for tests, full size for benchmarks.

    python -m synthesis.engines.fish.random_checkpoint FOLDER [tiny|full]

They speak noise, but everything else about them is real: files, names, shapes, lengths that end.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any, Literal

import torch

from synthesis.engines.fish.architecture import (
    CONTROL_TOKENS,
    SEMANTIC_TOKENS,
    VALID_CODES,
    Architecture,
    Shapes,
    codec_shapes,
    transformer_shapes,
)
from synthesis.engines.fish.checkpoint import CODEC_CONFIG_FILE, CODEC_FILE, Weights

# The published numbers of 1.5. rope_base and norm_eps change no cost and are read from config.json.
FULL: dict[str, Any] = {
    "model_type": "dual_ar",
    "vocab_size": 102_048,
    "n_layer": 24,
    "n_head": 16,
    "dim": 1024,
    "intermediate_size": 4096,
    "n_local_heads": 2,
    "head_dim": 64,
    "rope_base": 1_000_000.0,
    "norm_eps": 1e-6,
    "max_seq_len": 8192,
    "dropout": 0.1,
    "tie_word_embeddings": False,
    "attention_qkv_bias": False,
    "codebook_size": 1024,
    "num_codebooks": 8,
    "use_gradient_checkpointing": True,
    "initializer_range": 0.02,
    "is_reward_model": False,
    "share_codebook_embeddings": True,
    "scale_codebook_embeddings": False,
    "n_fast_layer": 4,
}
TINY: dict[str, Any] = FULL | {
    # A token for each byte, so any text can be encoded.
    "vocab_size": 256 + CONTROL_TOKENS + SEMANTIC_TOKENS,
    "n_layer": 2,
    "n_head": 4,
    "dim": 64,
    "intermediate_size": 128,
    "n_local_heads": 2,
    "head_dim": 16,
    "max_seq_len": 4096,
    "n_fast_layer": 2,
    "dropout": 0.0,
}
TINY_CODEC: dict[str, Any] = {
    "encoder_depths": [1, 1, 1, 1],
    "encoder_dims": [16, 16, 16, 64],
    "channels": 32,
    "residual_kernels": [3],
}
# Above the initial 0.02: flat logits would make every comparison of tokens a weak one.
_TINY_SPREAD = 0.1
# How much larger the end token's row of the head is than the others. Its logit is then the largest of
# all in about one frame of 40, so lines have an end (found by trying; tests hold it).
_END_TOKEN_GAIN = 2.2
_GAIN = 1.2  # of the codec's layers; a little is lost in each activation


def write_random_checkpoint(
    folder: Path, size: Literal["tiny", "full"] = "tiny", *, seed: int = 0
) -> Architecture:
    """Write the files of a checkpoint. Tiny weights are float32, full ones bfloat16."""
    tiny = size == "tiny"
    config, codec_config = (TINY, TINY_CODEC) if tiny else (FULL, {})
    architecture = Architecture.from_config(config, codec_config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    if codec_config:
        (folder / CODEC_CONFIG_FILE).write_text(json.dumps(codec_config, indent=1))
    ranks = architecture.vocab_size - CONTROL_TOKENS - SEMANTIC_TOKENS
    write_tokenizer(folder / "tokenizer.tiktoken", ranks)
    generator = torch.Generator().manual_seed(seed)
    transformer = _random(
        transformer_shapes(architecture), generator, _TINY_SPREAD if tiny else 0.02
    )
    # What a trained model never says: text, and codes that the codec does not know.
    semantic = architecture.semantic_begin
    head, end = transformer["output.weight"], ranks + 4  # <|im_end|>
    head[:end] = 0
    head[end + 1 : semantic] = 0
    head[semantic + VALID_CODES :] = 0
    transformer["fast_output.weight"][VALID_CODES:] = 0
    head[end] *= _END_TOKEN_GAIN
    dtype = torch.float32 if tiny else torch.bfloat16
    torch.save({k: v.to(dtype) for k, v in transformer.items()}, folder / "model.pth")
    codec = _audible(_random(codec_shapes(architecture.firefly), generator, 0.02))
    torch.save({f"generator.{name}": value for name, value in codec.items()}, folder / CODEC_FILE)
    return architecture


def write_tokenizer(path: Path, ranks: int) -> None:
    """All bytes, then fillers that no text holds (invalid UTF-8), so that nothing is merged."""
    tokens = [bytes([value]) for value in range(256)]
    tokens += [b"\xf8" + index.to_bytes(3, "big") for index in range(ranks - 256)]
    path.write_text(
        "".join(f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens))
    )


def _random(shapes: Shapes, generator: torch.Generator, spread: float) -> Weights:
    weights: Weights = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if name.endswith(("norm.weight", ".1.weight")) and len(shape) == 1:
            weights[name] = 1 + 0.2 * values
        elif name.endswith("gamma"):
            weights[name] = 0.5 + 0.1 * values
        else:
            weights[name] = spread * values
    return weights


def _audible(codec: Weights) -> Weights:
    """Give every convolution and matrix the gain that keeps the signal's power, so that the output
    is a loud noise that depends on its codes.
    """
    for name, value in codec.items():
        if name.endswith("original0"):
            gain = _GAIN
            if ".ups." in name:  # transposed: an output hears two taps of every input channel
                into, out, kernel = codec[name.replace("original0", "original1")].shape
                gain *= (out * kernel / (2 * into)) ** 0.5
            codec[name] = torch.full_like(value, gain)
        elif value.ndim >= 2 and not name.endswith("original1"):
            rows = torch.nn.functional.normalize(value.flatten(1), dim=1)
            codec[name] = _GAIN * rows.view_as(value)
    return codec


def main() -> None:
    folder, size = Path(sys.argv[1]), (sys.argv[2:] or ["tiny"])[0]
    write_random_checkpoint(folder, "full" if size == "full" else "tiny")
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>13,}  {path.name}")


if __name__ == "__main__":
    main()
