"""The vocoder for a GPU, in half precision: one convolution kernel does nearly all of it.

It computes what Codec.decode computes; tests hold the two equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton

from speakers.decoding import Waveform
from synthesis.engines.fish import vocoder_kernels as kernels
from synthesis.engines.fish.architecture import CONVNEXT_KERNEL, VALID_CODES, FireflyShape
from synthesis.engines.fish.checkpoint import Weights
from synthesis.engines.fish.codec import Codec
from synthesis.engines.fish.cuda_graphs import Launch
from synthesis.engines.fish.tiles import ConvolutionTile, Tiles
from synthesis.engines.fish.vocoder import CHUNK_FRAMES, PendingAudio

_NORM_EPS = 1e-6
_SHORT_FRAMES = 96  # most lines fit, and need half the memory


@dataclass(frozen=True)
class _Convolution:
    """matrix: [kernel * in, rate * out]; a transposed one of stride ``rate`` is one with rate > 1."""

    matrix: torch.Tensor
    bias: torch.Tensor
    kernel: int
    dilation: int = 1
    rate: int = 1


@dataclass(frozen=True)
class _ConvNext:
    depthwise: torch.Tensor  # [kernel, channels]
    parts: dict[str, torch.Tensor]


class FastVocoder:
    """Needs a GPU, or Triton's interpreter."""

    group = 8

    def __init__(
        self,
        weights: Weights,
        firefly: FireflyShape,
        device: torch.device,
        tiles: Tiles,
        *,
        dtype: torch.dtype = torch.float16,
        group: int = 8,
    ) -> None:
        """weights: the codec's, with weight norm resolved."""
        self.group = group
        self.firefly, self.device, self.dtype, self.tiles = firefly, device, dtype, tiles
        self._precision = "ieee" if dtype == torch.float32 else "tf32"
        codec = Codec(weights, firefly, device)
        self._vectors = torch.stack([codec.code_vectors(i) for i in range(firefly.groups)]).to(
            dtype
        )
        self._weights = {name: tensor.to(device, torch.float32) for name, tensor in weights.items()}
        self._rises = [
            (
                self._transposed(f"quantizer.upsample.{index}.0.conv", factor),
                self._convnext(f"quantizer.upsample.{index}.1"),
            )
            for index, factor in enumerate(reversed(firefly.downsampling))
        ]
        self._first = self._convolution("head.conv_pre.conv", 1)
        self._last = self._convolution("head.conv_post.conv", 1)
        self._ups = [
            self._transposed(f"head.ups.{index}.conv", rate)
            for index, rate in enumerate(firefly.upsampling)
        ]
        self._blocks = [
            [
                [
                    tuple(
                        self._convolution(
                            f"head.resblocks.{stage}.blocks.{block}.{convs}.{index}.conv", dilation
                        )
                        for convs in ("convs1", "convs2")
                    )
                    for index, dilation in enumerate(firefly.dilations)
                ]
                for block in range(len(firefly.residual_kernels))
            ]
            for stage in range(len(firefly.upsampling))
        ]
        del self._weights
        self.stream = torch.cuda.Stream() if device.type == "cuda" else None
        self._buffers: dict[int, list[_Buffer]] = {}

    def warm_up(self) -> None:
        """Compile and capture everything."""
        for frames in self._sizes():
            self._buffer(frames)

    def _sizes(self) -> tuple[int, int]:
        return _SHORT_FRAMES, CHUNK_FRAMES + self.firefly.context_frames

    def start(self, chunks: Sequence[torch.Tensor]) -> PendingAudio:
        longest = max(chunk.shape[1] for chunk in chunks)
        frames = next(size for size in self._sizes() if size >= longest)
        return self._buffer(frames).start(chunks)

    def _buffer(self, frames: int) -> "_Buffer":
        """One of two for each size: one is read while the other is filled."""
        if frames not in self._buffers:
            self._buffers[frames] = [_Buffer(self, frames) for _ in range(2)]
        self._buffers[frames].reverse()
        return self._buffers[frames][0]

    def try_convolution(
        self, channels: int, tile: ConvolutionTile
    ) -> tuple[Callable[[], None], torch.Tensor]:
        """Pairs of residual convolutions with a tile, and what they fill."""
        generator = torch.Generator(self.device).manual_seed(0)
        frames = _SHORT_FRAMES
        # As many samples a frame as the stage with so many channels has.
        length = frames * max(1, self.firefly.samples_per_frame * 8 // channels // 16)
        x = torch.randn(self.group, length, channels, device=self.device, generator=generator)
        x = x.to(self.dtype)
        out = torch.zeros_like(x)
        lengths = torch.full((self.group,), frames, device=self.device, dtype=torch.int32)
        pairs = []
        for kernel in self.firefly.residual_kernels:
            shape = (kernel * channels, channels)
            matrix = torch.randn(shape, device=self.device, generator=generator) * 0.05
            bias = torch.zeros(channels, device=self.device)
            pairs.append(_Convolution(matrix.to(self.dtype), bias, kernel, 3))

        @torch.inference_mode()
        def run() -> None:
            total: torch.Tensor | None = None
            for pair in pairs:
                _, inner = self._run(x, pair, lengths, frames, raw=False, tile=tile)
                total, _ = self._run(inner, pair, lengths, frames, residual=x, tile=tile)
            assert total is not None
            out.copy_(total)

        return run, out

    # ------------------------------------------------------------------ weights

    def _convolution(self, name: str, dilation: int) -> _Convolution:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        out, _, kernel = weight.shape
        matrix = weight.permute(2, 1, 0).reshape(-1, out).contiguous().to(self.dtype)
        return _Convolution(matrix, bias, kernel, dilation)

    def _transposed(self, name: str, rate: int) -> _Convolution:
        """A transposed convolution of kernel m * rate is a causal one of m taps."""
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        into, out, kernel = weight.shape
        taps = kernel // rate
        # [in, out, taps, rate] -> the last tap reads the present.
        matrix = weight.view(into, out, taps, rate).flip(2).permute(2, 0, 3, 1)
        matrix = matrix.reshape(taps * into, rate * out).contiguous().to(self.dtype)
        return _Convolution(matrix, bias.repeat(rate), taps, 1, rate)

    def _convnext(self, name: str) -> _ConvNext:
        w = self._weights
        halves = ("pwconv1.weight", "pwconv1.bias", "pwconv2.weight", "pwconv2.bias", "gamma")
        parts = {part: w[f"{name}.{part}"].to(self.dtype) for part in halves}
        for part in ("dwconv.conv.bias", "norm.weight", "norm.bias"):
            parts[part] = w[f"{name}.{part}"]
        depthwise = w[f"{name}.dwconv.conv.weight"][:, 0].T.contiguous().to(self.dtype)
        return _ConvNext(depthwise, parts)

    # ------------------------------------------------------------------ the network

    def _run(
        self,
        x: torch.Tensor,
        convolution: _Convolution,
        lengths: torch.Tensor,
        frames: int,
        *,
        residual: torch.Tensor | None = None,
        mean: torch.Tensor | None = None,
        scale: float = 1.0,
        raw: bool = True,
        activated: bool = True,
        tanh: bool = False,
        tile: ConvolutionTile | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """x [B, L, C] -> the convolution's output and silu of it, each [B, L rate, out].

        What is not asked for is not written.
        """
        c = convolution
        batch, length, channels = x.shape
        outputs = c.matrix.shape[1]

        def empty(dtype: torch.dtype) -> torch.Tensor:
            shape = (batch, length * c.rate, outputs // c.rate)
            return torch.empty(shape, device=self.device, dtype=dtype)

        y = empty(torch.float32 if tanh else self.dtype) if raw else x
        a = empty(self.dtype) if activated else y
        tile = tile or self.tiles.for_convolution(channels, outputs)
        if c.kernel * channels <= 64:
            tile = tile._replace(depth=min(tile.depth, 32))
        if self.dtype == torch.float32:
            tile = ConvolutionTile(32, min(tile.channels, 64), 32, 4, 2)
        grid = (triton.cdiv(length, tile.samples), triton.cdiv(outputs, tile.channels), batch)
        kernels.convolution_kernel[grid](
            x, c.matrix, c.bias, y if residual is None else residual, y if mean is None else mean,
            y, a, lengths, length // frames, length, outputs, scale, c.kernel, c.dilation,
            C=channels, RESIDUAL=residual is not None, MEAN=mean is not None, RAW=raw,
            ACTIVATED=activated, TANH=tanh, BL=tile.samples, BN=tile.channels, BK=tile.depth,
            PRECISION=self._precision, num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
        return y, a

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """codes [B, codebooks, frames], lengths [B] int32 -> [B, frames * samples_per_frame], float32.

        Behind a row's length the samples mean nothing.
        """
        batch, groups, frames = codes.shape
        index = codes.clamp(0, VALID_CODES - 1).long().transpose(0, 1).reshape(groups, -1)
        x = self._vectors[torch.arange(groups, device=self.device)[:, None], index]
        x = x.view(groups, batch, frames, -1).permute(1, 2, 0, 3).reshape(batch, frames, -1)
        for up, convnext in self._rises:
            x, _ = self._run(x.contiguous(), up, lengths, frames, activated=False)
            x = self._convnext_block(x, convnext)
        _, a = self._run(x, self._first, lengths, frames, raw=False)
        for up, blocks in zip(self._ups, self._blocks, strict=True):
            x, activated = self._run(a, up, lengths, frames)
            mean: torch.Tensor | None = None
            for number, block in enumerate(blocks):
                last_block = number == len(blocks) - 1
                y, a = x, activated
                for index_in_block, (first, second) in enumerate(block):
                    _, inner = self._run(a, first, lengths, frames, raw=False)
                    if index_in_block < len(block) - 1:
                        y, a = self._run(inner, second, lengths, frames, residual=y)
                        continue
                    # The mean over the blocks, summed as we go.
                    mean, a = self._run(
                        inner,
                        second,
                        lengths,
                        frames,
                        residual=y,
                        scale=1 / len(blocks),
                        mean=mean,
                        raw=not last_block,
                        activated=last_block,
                    )
        samples, _ = self._run(a, self._last, lengths, frames, activated=False, tanh=True)
        return samples[..., 0]

    def _convnext_block(self, x: torch.Tensor, block: _ConvNext) -> torch.Tensor:
        batch, length, channels = x.shape
        p = block.parts
        normed = torch.empty_like(x)
        kernels.depthwise_norm_kernel[(length, batch)](
            x, block.depthwise, p["dwconv.conv.bias"], p["norm.weight"], p["norm.bias"], normed,
            length, _NORM_EPS, KT=CONVNEXT_KERNEL, C=channels,
            CP=triton.next_power_of_2(channels), num_warps=4,
        )  # fmt: skip
        y = F.gelu(F.linear(normed, p["pwconv1.weight"], p["pwconv1.bias"]))
        return torch.addcmul(x, F.linear(y, p["pwconv2.weight"], p["pwconv2.bias"]), p["gamma"])


class _Buffer:
    """Room for one group of chunks of one size, from codes on the GPU to samples in host memory."""

    def __init__(self, vocoder: FastVocoder, frames: int) -> None:
        self._vocoder, self._frames = vocoder, frames
        f, device = vocoder.firefly, vocoder.device
        on_gpu = device.type == "cuda"
        group = vocoder.group
        self._codes = torch.zeros(group, f.groups, frames, device=device, dtype=torch.int32)
        self._lengths = torch.zeros(group, device=device, dtype=torch.int32)
        self._host_lengths = torch.zeros(group, dtype=torch.int32, pin_memory=on_gpu)
        self._samples = torch.zeros(group, frames * f.samples_per_frame, device=device)
        self._host_samples = torch.zeros(self._samples.shape, pin_memory=on_gpu)
        self._done = torch.cuda.Event() if on_gpu else None
        self._pending: _PendingGroup | None = None
        self._launch = Launch(self._decode, device, vocoder.stream)

    def _decode(self) -> None:
        self._samples.copy_(self._vocoder.decode(self._codes, self._lengths))

    def start(self, chunks: Sequence[torch.Tensor]) -> PendingAudio:
        if self._pending is not None:
            self._pending.read()  # it keeps what it read; the buffer is free
        lengths = [chunk.shape[1] for chunk in chunks]
        self._host_lengths.zero_()
        self._host_lengths[: len(lengths)] = torch.tensor(lengths, dtype=torch.int32)
        stream = self._vocoder.stream
        if stream is None:
            self._fill(chunks)
            self._launch()
            self._host_samples.copy_(self._samples)
        else:
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for chunk in chunks:
                    chunk.record_stream(stream)
                self._fill(chunks)
                self._launch()
                self._host_samples.copy_(self._samples, non_blocking=True)
                assert self._done is not None
                self._done.record()
        samples = [length * self._vocoder.firefly.samples_per_frame for length in lengths]
        self._pending = _PendingGroup(self._host_samples, samples, self._done)
        return self._pending

    def _fill(self, chunks: Sequence[torch.Tensor]) -> None:
        self._lengths.copy_(self._host_lengths, non_blocking=True)
        for row, chunk in enumerate(chunks):
            self._codes[row, :, : chunk.shape[1]].copy_(chunk)


class _PendingGroup:
    def __init__(
        self, samples: torch.Tensor, lengths: Sequence[int], done: "torch.cuda.Event | None"
    ) -> None:
        self._samples, self._lengths, self._done = samples, lengths, done
        self._read: list[Waveform] | None = None

    def ready(self) -> bool:
        return self._read is not None or self._done is None or self._done.query()

    def read(self) -> list[Waveform]:
        if self._read is None:
            if self._done is not None:
                self._done.synchronize()
            rows = self._samples.numpy()
            self._read = [rows[i, :length].copy() for i, length in enumerate(self._lengths)]
        return self._read
