"""The transformer's weights on a device, as both decoders read them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from synthesis.engines.fish.architecture import SEMANTIC_TOKENS, Architecture
from synthesis.engines.fish.checkpoint import Checkpoint, Weights


@dataclass(frozen=True)
class Block:
    """One transformer layer. Matrices are [out, in]."""

    wqkv: torch.Tensor  # [(heads + 2 kv_heads) head_dim, dim]
    wo: torch.Tensor
    w13: torch.Tensor  # gate above, up below: [2 ffn, dim]
    w2: torch.Tensor
    attention_norm: torch.Tensor
    ffn_norm: torch.Tensor


@dataclass(frozen=True)
class DecoderWeights:
    """``head`` has only the 1,024 semantic rows and, last, the end token's: no other may be drawn,
    and the whole vocabulary's would be 209 MB a step.
    """

    architecture: Architecture
    device: torch.device
    dtype: torch.dtype
    semantic_begin: int
    end_token: int
    slow: tuple[Block, ...]
    fast: tuple[Block, ...]
    embeddings: torch.Tensor
    codebook_embeddings: torch.Tensor
    fast_embeddings: torch.Tensor
    norm: torch.Tensor
    fast_norm: torch.Tensor
    head: torch.Tensor  # [1025, dim]
    fast_head: torch.Tensor  # [1024, dim]
    rotations: torch.Tensor  # [positions, head_dim / 2, 2]: cosine and sine
    fast_rotations: torch.Tensor


def decoder_weights(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> DecoderWeights:
    """Move a checkpoint to a device."""
    a, tokenizer = checkpoint.architecture, checkpoint.tokenizer

    def move(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(device, dtype).contiguous()

    def blocks(prefix: str, layers: int) -> tuple[Block, ...]:
        return tuple(_block(checkpoint.transformer, f"{prefix}.{i}", move) for i in range(layers))

    t = checkpoint.transformer
    output = t["embeddings.weight" if a.tied_embeddings else "output.weight"]
    first, end = tokenizer.semantic_begin, tokenizer.end
    head = torch.cat([output[first : first + SEMANTIC_TOKENS], output[end : end + 1]])
    return DecoderWeights(
        architecture=a,
        device=device,
        dtype=dtype,
        semantic_begin=first,
        end_token=end,
        slow=blocks("layers", a.slow.layers),
        fast=blocks("fast_layers", a.fast.layers),
        embeddings=move(t["embeddings.weight"]),
        codebook_embeddings=move(t["codebook_embeddings.weight"]),
        fast_embeddings=move(t["fast_embeddings.weight"]),
        norm=move(t["norm.weight"]),
        fast_norm=move(t["fast_norm.weight"]),
        head=move(head),
        fast_head=move(t["fast_output.weight"]),
        rotations=move(rotations(a.max_positions, a.slow.head_dim, a.rope_base)),
        fast_rotations=move(rotations(a.codebooks, a.fast.head_dim, a.rope_base)),
    )


def _block(weights: Weights, name: str, move: Callable[[torch.Tensor], torch.Tensor]) -> Block:
    def get(part: str) -> torch.Tensor:
        return weights[f"{name}.{part}.weight"]

    return Block(
        wqkv=move(get("attention.wqkv")),
        wo=move(get("attention.wo")),
        w13=move(torch.cat([get("feed_forward.w1"), get("feed_forward.w3")])),
        w2=move(get("feed_forward.w2")),
        attention_norm=move(get("attention_norm")),
        ffn_norm=move(get("ffn_norm")),
    )


def rotations(positions: int, head_dim: int, base: float) -> torch.Tensor:
    """Cosine and sine of rotary position embeddings, [positions, head_dim / 2, 2].

    Su et al. 2021, RoFormer, eq. 15. Rounded to bfloat16, as the model was trained with them.
    """
    frequencies = base ** -(torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.outer(torch.arange(positions).float(), frequencies)
    return torch.stack([angles.cos(), angles.sin()], -1).to(torch.bfloat16)
