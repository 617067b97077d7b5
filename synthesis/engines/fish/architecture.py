"""What a fish-speech 1.5 checkpoint consists of: its numbers, and every tensor with its shape.

The transformer's numbers are in ``config.json``. The codec's (Firefly) are in no file of the real
checkpoint, so the published ones are the default; a file ``firefly.json`` beside it replaces them,
which is how the small checkpoints of the tests say what they are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

Shapes = dict[str, tuple[int, ...]]

# Finite scalar quantisation: 8 x 5 x 5 x 5 = 1,000 codes, although the transformer has 1,024.
FSQ_LEVELS = (8, 5, 5, 5)
VALID_CODES = math.prod(FSQ_LEVELS)
SEMANTIC_TOKENS = 1024
CONTROL_TOKENS = 12
CONVNEXT_KERNEL = 7


class UnknownArchitecture(Exception):
    """config.json describes a model that this engine cannot run."""


@dataclass(frozen=True)
class TransformerShape:
    """One of the two transformers: the slow one, over time, or the fast one, over codebooks."""

    layers: int
    dim: int
    heads: int
    kv_heads: int
    ffn: int

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def qkv_dim(self) -> int:
        return (self.heads + 2 * self.kv_heads) * self.head_dim


@dataclass(frozen=True)
class FireflyShape:
    """The codec: mel spectrogram -> ConvNeXt encoder -> quantiser -> HiFi-GAN."""

    sample_rate: int = 44_100
    mels: int = 160
    fft: int = 2048
    hop: int = 512
    encoder_depths: tuple[int, ...] = (3, 3, 9, 3)
    encoder_dims: tuple[int, ...] = (128, 256, 384, 512)
    groups: int = 8
    downsampling: tuple[int, ...] = (2, 2)
    upsampling: tuple[int, ...] = (8, 8, 2, 2, 2)
    channels: int = 512
    residual_kernels: tuple[int, ...] = (3, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)
    edge_kernel: int = 13

    @property
    def latent_dim(self) -> int:
        return self.encoder_dims[-1]

    @property
    def samples_per_frame(self) -> int:
        """Samples of audio that one frame of codes stands for: 2,048."""
        return self.hop * math.prod(self.downsampling)

    @property
    def context_frames(self) -> int:
        """How many frames of the past a decoded sample depends on, at most.

        Every convolution is causal, so audio can be decoded in chunks: with so much of the past
        before it a chunk equals the whole.
        """
        rate, past = 1.0, 0.0  # samples a frame; frames
        for factor in reversed(self.downsampling):
            rate *= factor
            past += (CONVNEXT_KERNEL - 1) / rate
        past += (self.edge_kernel - 1) / rate
        for factor in self.upsampling:
            past += 1 / rate  # a transposed convolution of two taps
            rate *= factor
            past += 2 * sum(self.dilations) * (max(self.residual_kernels) - 1) / rate
        past += (self.edge_kernel - 1) / rate
        return math.ceil(past)


@dataclass(frozen=True)
class Architecture:
    """All numbers of a checkpoint."""

    slow: TransformerShape
    fast: TransformerShape
    vocab_size: int
    codebooks: int
    codebook_size: int
    max_positions: int
    rope_base: float
    norm_eps: float
    tied_embeddings: bool
    firefly: FireflyShape = field(default_factory=FireflyShape)

    @property
    def frames_per_second(self) -> float:
        return self.firefly.sample_rate / self.firefly.samples_per_frame

    @property
    def semantic_begin(self) -> int:
        """The id of the first semantic token; they are the vocabulary's last."""
        return self.vocab_size - SEMANTIC_TOKENS

    @classmethod
    def from_config(cls, config: Mapping[str, Any], firefly_config: Mapping[str, Any]) -> Self:
        """Read ``config.json`` and ``firefly.json`` ({}: there is none).

        Raises UnknownArchitecture with what is wrong and where.
        """
        if config.get("model_type") != "dual_ar":
            raise UnknownArchitecture(
                f"config.json: model_type is {config.get('model_type')!r}; fish-speech 1.5 is "
                "'dual_ar'."
            )

        def number(name: str, default: float | None = None) -> Any:
            value = config.get(name)
            if value is None:
                value = default
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise UnknownArchitecture(f"config.json: {name} should be a positive number.")
            return value

        for name in ("attention_qkv_bias", "fast_attention_qkv_bias", "is_reward_model"):
            if config.get(name):
                raise UnknownArchitecture(f"config.json: {name} is true, which 1.5 has not.")
        heads = int(number("n_head"))
        local = config.get("n_local_heads")
        slow = TransformerShape(
            int(number("n_layer")),
            int(number("dim")),
            heads,
            heads if local in (None, -1) else int(number("n_local_heads")),
            int(number("intermediate_size")),
        )
        fast = TransformerShape(
            int(number("n_fast_layer", 4)),
            int(number("fast_dim", slow.dim)),
            int(number("fast_n_head", slow.heads)),
            int(number("fast_n_local_heads", slow.kv_heads)),
            int(number("fast_intermediate_size", slow.ffn)),
        )
        if (fast.dim, fast.head_dim) != (slow.dim, slow.head_dim):
            raise UnknownArchitecture("config.json: fast_dim and its heads differ from dim's.")
        for name, shape in (("n_head", slow), ("fast_n_head", fast)):
            if shape.dim % shape.heads or shape.heads % shape.kv_heads or shape.head_dim % 2:
                raise UnknownArchitecture(f"config.json: {name} does not divide its dimension.")
        firefly = _firefly(firefly_config)
        architecture = cls(
            slow=slow,
            fast=fast,
            vocab_size=int(number("vocab_size")),
            codebooks=int(number("num_codebooks")),
            codebook_size=int(number("codebook_size")),
            max_positions=int(number("max_seq_len")),
            rope_base=float(number("rope_base", 10_000.0)),
            norm_eps=float(number("norm_eps", 1e-5)),
            tied_embeddings=bool(config.get("tie_word_embeddings", True)),
            firefly=firefly,
        )
        if architecture.codebooks != firefly.groups:
            raise UnknownArchitecture(
                f"config.json: num_codebooks is {architecture.codebooks}; the codec has "
                f"{firefly.groups}."
            )
        if architecture.codebook_size != SEMANTIC_TOKENS:
            raise UnknownArchitecture("config.json: codebook_size should be 1024.")
        return architecture


def _firefly(values: Mapping[str, Any]) -> FireflyShape:
    known = {f.name for f in fields(FireflyShape)}
    if unknown := sorted(set(values) - known):
        raise UnknownArchitecture(f"firefly.json has unknown fields {', '.join(unknown)}.")
    numbers: dict[str, Any] = {
        name: tuple(value) if isinstance(value, Sequence) else value
        for name, value in values.items()
    }
    return FireflyShape(**numbers)


def transformer_shapes(architecture: Architecture) -> Shapes:
    """Every tensor of ``model.pth``, by name."""
    a = architecture
    shapes: Shapes = {
        "embeddings.weight": (a.vocab_size, a.slow.dim),
        "codebook_embeddings.weight": (a.codebook_size * a.codebooks, a.slow.dim),
        "norm.weight": (a.slow.dim,),
        "fast_embeddings.weight": (a.codebook_size, a.fast.dim),
        "fast_norm.weight": (a.fast.dim,),
        "fast_output.weight": (a.codebook_size, a.fast.dim),
    }
    if not a.tied_embeddings:
        shapes["output.weight"] = (a.vocab_size, a.slow.dim)
    for prefix, shape in (("layers", a.slow), ("fast_layers", a.fast)):
        for index in range(shape.layers):
            name = f"{prefix}.{index}"
            shapes |= {
                f"{name}.attention.wqkv.weight": (shape.qkv_dim, shape.dim),
                f"{name}.attention.wo.weight": (shape.dim, shape.dim),
                f"{name}.feed_forward.w1.weight": (shape.ffn, shape.dim),
                f"{name}.feed_forward.w3.weight": (shape.ffn, shape.dim),
                f"{name}.feed_forward.w2.weight": (shape.dim, shape.ffn),
                f"{name}.attention_norm.weight": (shape.dim,),
                f"{name}.ffn_norm.weight": (shape.dim,),
            }
    return shapes


def codec_shapes(firefly: FireflyShape) -> Shapes:
    """Every tensor of the codec's checkpoint, by name, with weight norm taken apart as it is stored:
    ``original0`` the magnitude and ``original1`` the direction.
    """
    f = firefly
    shapes: Shapes = {}

    def convolution(name: str, out: int, into: int, kernel: int) -> None:
        shapes[f"{name}.weight"] = (out, into, kernel)
        shapes[f"{name}.bias"] = (out,)

    def normed(name: str, weight: tuple[int, int, int], out: int) -> None:
        shapes[f"{name}.parametrizations.weight.original0"] = (weight[0], 1, 1)
        shapes[f"{name}.parametrizations.weight.original1"] = weight
        shapes[f"{name}.bias"] = (out,)

    def norm(name: str, dim: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (dim,)

    def convnext(name: str, dim: int) -> None:
        shapes[f"{name}.gamma"] = (dim,)
        convolution(f"{name}.dwconv.conv", dim, 1, CONVNEXT_KERNEL)
        norm(f"{name}.norm", dim)
        shapes[f"{name}.pwconv1.weight"] = (4 * dim, dim)
        shapes[f"{name}.pwconv1.bias"] = (4 * dim,)
        shapes[f"{name}.pwconv2.weight"] = (dim, 4 * dim)
        shapes[f"{name}.pwconv2.bias"] = (dim,)

    layers = "backbone.downsample_layers"
    convolution(f"{layers}.0.0.conv", f.encoder_dims[0], f.mels, 7)
    norm(f"{layers}.0.1", f.encoder_dims[0])
    for stage, (depth, dim) in enumerate(zip(f.encoder_depths, f.encoder_dims, strict=True)):
        if stage:
            norm(f"{layers}.{stage}.0", f.encoder_dims[stage - 1])
            convolution(f"{layers}.{stage}.1", dim, f.encoder_dims[stage - 1], 1)
        for block in range(depth):
            convnext(f"backbone.stages.{stage}.{block}", dim)
    norm("backbone.norm", f.latent_dim)

    group = f.latent_dim // f.groups
    for index in range(f.groups):
        name = f"quantizer.residual_fsq.rvqs.{index}"
        shapes[f"{name}.project_in.weight"] = (len(FSQ_LEVELS), group)
        shapes[f"{name}.project_in.bias"] = (len(FSQ_LEVELS),)
        shapes[f"{name}.project_out.weight"] = (group, len(FSQ_LEVELS))
        shapes[f"{name}.project_out.bias"] = (group,)
    for index, factor in enumerate(f.downsampling):
        convolution(f"quantizer.downsample.{index}.0.conv", f.latent_dim, f.latent_dim, factor)
        convnext(f"quantizer.downsample.{index}.1", f.latent_dim)
    for index, factor in enumerate(reversed(f.downsampling)):
        convolution(f"quantizer.upsample.{index}.0.conv", f.latent_dim, f.latent_dim, factor)
        convnext(f"quantizer.upsample.{index}.1", f.latent_dim)

    normed("head.conv_pre.conv", (f.channels, f.latent_dim, f.edge_kernel), f.channels)
    for index, rate in enumerate(f.upsampling):
        wide, narrow = f.channels >> index, f.channels >> (index + 1)
        # A transposed convolution's weight is [in, out, kernel]; its norm is per input channel.
        normed(f"head.ups.{index}.conv", (wide, narrow, 2 * rate), narrow)
        for block, kernel in enumerate(f.residual_kernels):
            for convs in ("convs1", "convs2"):
                for dilation in range(len(f.dilations)):
                    normed(
                        f"head.resblocks.{index}.blocks.{block}.{convs}.{dilation}.conv",
                        (narrow, narrow, kernel),
                        narrow,
                    )
    last = f.channels >> len(f.upsampling)
    normed("head.conv_post.conv", (1, last, f.edge_kernel), 1)
    return shapes
