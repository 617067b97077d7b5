"""Firefly, the codec of fish-speech 1.5, in plain PyTorch: audio -> codes -> audio."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from speakers.decoding import Waveform
from synthesis.engines.fish.architecture import FSQ_LEVELS, VALID_CODES, FireflyShape
from synthesis.engines.fish.checkpoint import Weights
from synthesis.engines.fish.mel import mel_filters

Codes = npt.NDArray[np.int16]  # [codebooks, frames], each below VALID_CODES

_NORM_EPS = 1e-6
_FSQ_EPS = 1e-3
_MAGNITUDE_EPS = 1e-6
_SMALLEST_MEL = 1e-5


class Codec:
    """The whole codec in float32, for a line or a reference at a time."""

    def __init__(self, weights: Weights, firefly: FireflyShape, device: torch.device) -> None:
        """weights: with weight norm resolved."""
        self.firefly, self.device = firefly, device
        self._weights = {name: tensor.to(device, torch.float32) for name, tensor in weights.items()}
        self._filters = torch.from_numpy(mel_filters(firefly)).to(device)
        self._window = torch.hann_window(firefly.fft, device=device)
        self.levels = torch.tensor(FSQ_LEVELS, device=device)

    @torch.inference_mode()
    def encode(self, waveform: Waveform) -> Codes:
        """Codes of a reference at the codec's sample rate; a rest shorter than a frame is left out."""
        f = self.firefly
        length = len(waveform) // f.samples_per_frame * f.samples_per_frame
        audio = torch.from_numpy(np.ascontiguousarray(waveform[:length])).to(self.device)
        x = self._encoder(self._mel(audio))
        for index, factor in enumerate(f.downsampling):
            x = self._conv(x, f"quantizer.downsample.{index}.0.conv", stride=factor)
            x = self.convnext(x, f"quantizer.downsample.{index}.1")
        groups = x[0].T.chunk(f.groups, -1)
        codes = [self._quantise(group, index) for index, group in enumerate(groups)]
        return torch.stack(codes).to(torch.int16).cpu().numpy()

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """codes [codebooks, frames] -> samples [frames * samples_per_frame], float32."""
        groups = codes.clamp(0, VALID_CODES - 1)
        x = torch.cat([self.code_vectors(i)[group] for i, group in enumerate(groups)], -1).T[None]
        for index, factor in enumerate(reversed(self.firefly.downsampling)):
            x = self._transposed(x, f"quantizer.upsample.{index}.0.conv", factor)
            x = self.convnext(x, f"quantizer.upsample.{index}.1")
        x = self._conv(x, "head.conv_pre.conv")
        for index, rate in enumerate(self.firefly.upsampling):
            x = self._transposed(F.silu(x), f"head.ups.{index}.conv", rate)
            blocks = range(len(self.firefly.residual_kernels))
            x = torch.stack([self._residual(x, index, block) for block in blocks]).mean(0)
        return torch.tanh(self._conv(F.silu(x), "head.conv_post.conv"))[0, 0]

    def code_vectors(self, group: int) -> torch.Tensor:
        """What every code of a group stands for, [VALID_CODES, latent_dim / groups].

        Finite scalar quantisation (Mentzer et al. 2023, arXiv 2309.15505): the digits of a code in a
        mixed base are the levels of its dimensions.
        """
        codes = torch.arange(VALID_CODES, device=self.device)[:, None]
        half = self.levels // 2
        levels = ((codes // self._bases()) % self.levels - half) / half
        name = f"quantizer.residual_fsq.rvqs.{group}.project_out"
        return F.linear(levels, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _bases(self) -> torch.Tensor:
        return torch.cumprod(torch.cat([self.levels.new_ones(1), self.levels[:-1]]), 0)

    def _quantise(self, x: torch.Tensor, group: int) -> torch.Tensor:
        """[frames, latent_dim / groups] -> codes [frames]."""
        name = f"quantizer.residual_fsq.rvqs.{group}.project_in"
        x = F.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])
        # The residual quantiser bounds its input and so does its one layer: twice is as trained.
        digits = self._bound(self._bound(x)).round() + self.levels // 2
        return (digits * self._bases()).sum(-1)

    def _bound(self, x: torch.Tensor) -> torch.Tensor:
        half = (self.levels - 1) * (1 + _FSQ_EPS) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        return (x + (offset / half).atanh()).tanh() * half - offset

    def _mel(self, audio: torch.Tensor) -> torch.Tensor:
        """[samples] -> logarithmic mel spectrogram [1, mels, samples / hop]."""
        f = self.firefly
        edge = f.fft - f.hop
        padded = F.pad(audio[None], (edge // 2, (edge + 1) // 2), mode="reflect")
        spectrum = torch.stft(
            padded, f.fft, f.hop, window=self._window, center=False, return_complex=True
        )
        parts = torch.view_as_real(spectrum)
        magnitude = torch.sqrt(parts.square().sum(-1) + _MAGNITUDE_EPS)
        return torch.log((self._filters @ magnitude).clamp(min=_SMALLEST_MEL))

    def _encoder(self, x: torch.Tensor) -> torch.Tensor:
        layers = "backbone.downsample_layers"
        for stage, depth in enumerate(self.firefly.encoder_depths):
            if stage == 0:
                x = self._channel_norm(self._conv(x, f"{layers}.0.0.conv"), f"{layers}.0.1")
            else:
                x = self._channel_norm(x, f"{layers}.{stage}.0")
                x = self._conv(x, f"{layers}.{stage}.1")
            for block in range(depth):
                x = self.convnext(x, f"backbone.stages.{stage}.{block}")
        return self._channel_norm(x, "backbone.norm")

    def _channel_norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(x.mT, weight.shape, weight, bias, _NORM_EPS).mT

    def convnext(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """A ConvNeXt block (Liu et al. 2022), causal. x: [1, channels, frames]."""
        w = self._weights
        groups = x.shape[1]
        y = self._channel_norm(self._conv(x, f"{name}.dwconv.conv", groups=groups), f"{name}.norm")
        y = F.gelu(F.linear(y.mT, w[f"{name}.pwconv1.weight"], w[f"{name}.pwconv1.bias"]))
        y = F.linear(y, w[f"{name}.pwconv2.weight"], w[f"{name}.pwconv2.bias"])
        return x + (w[f"{name}.gamma"] * y).mT

    def _residual(self, x: torch.Tensor, stage: int, block: int) -> torch.Tensor:
        name = f"head.resblocks.{stage}.blocks.{block}"
        for index, dilation in enumerate(self.firefly.dilations):
            y = self._conv(F.silu(x), f"{name}.convs1.{index}.conv", dilation=dilation)
            x = x + self._conv(F.silu(y), f"{name}.convs2.{index}.conv", dilation=dilation)
        return x

    def _conv(
        self, x: torch.Tensor, name: str, *, stride: int = 1, dilation: int = 1, groups: int = 1
    ) -> torch.Tensor:
        """A convolution over the past: padded on the left only."""
        weight = self._weights[f"{name}.weight"]
        reach = (weight.shape[2] - 1) * dilation + 1
        x = F.pad(x, (reach - stride, 0))
        return F.conv1d(x, weight, self._weights[f"{name}.bias"], stride, 0, dilation, groups)

    def _transposed(self, x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        weight = self._weights[f"{name}.weight"]
        y = F.conv_transpose1d(x, weight, self._weights[f"{name}.bias"], stride)
        return y[..., : x.shape[2] * stride]
