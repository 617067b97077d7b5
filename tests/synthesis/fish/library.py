"""fish-speech-lib's own model classes: what our engine is held against.

Importing any part of the package runs its ``__init__`` files, which pull in a training stack and
torchaudio (whose wheel does not load beside a CPU torch). Only model files are wanted here, so their
packages are entered without their ``__init__``, and the names that those files import for training,
downloads and logging are stood in for.
"""

import importlib
import importlib.util
import sys
import types
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from synthesis.engines.fish.architecture import FSQ_LEVELS, FireflyShape
from synthesis.engines.fish.checkpoint import CODEC_FILE
from synthesis.engines.fish.mel import mel_filters

_ROOT = "fish_speech_lib"
_PACKAGES = (
    _ROOT,
    f"{_ROOT}.fish_speech",
    f"{_ROOT}.fish_speech.utils",
    f"{_ROOT}.fish_speech.models",
    f"{_ROOT}.fish_speech.models.text2semantic",
    f"{_ROOT}.fish_speech.models.vqgan",
    f"{_ROOT}.fish_speech.models.vqgan.modules",
)


class _StandIn:
    """Can be made and called with anything, and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return _StandIn


class _Anything(types.ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn


def _stand_ins() -> dict[str, types.ModuleType]:
    functional = types.ModuleType("torchaudio.functional")
    filters = torch.from_numpy(mel_filters(FireflyShape()).T.copy())
    functional.melscale_fbanks = lambda **_: filters  # type: ignore[attr-defined]
    torchaudio = _Anything("torchaudio")
    torchaudio.functional = functional  # type: ignore[attr-defined]
    utils = sys.modules[f"{_ROOT}.fish_speech.utils"]
    utils.RankedLogger = _StandIn  # type: ignore[attr-defined]
    lora = f"{_ROOT}.fish_speech.models.text2semantic.lora"
    return {
        "transformers": _Anything("transformers"),
        lora: _Anything(lora),
        "torchaudio": torchaudio,
        "torchaudio.functional": functional,
        "torchaudio.transforms": _Anything("torchaudio.transforms"),
    }


@cache
def _enter_packages() -> None:
    spec = importlib.util.find_spec(_ROOT)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = Path(next(iter(spec.submodule_search_locations)))
    for package in _PACKAGES:
        entered = types.ModuleType(package)
        entered.__path__ = [str(root.joinpath(*package.split(".")[1:]))]
        sys.modules[package] = entered


@cache
def module(name: str) -> Any:
    """A module of the library, such as ``models.text2semantic.llama``."""
    _enter_packages()
    with pytest.MonkeyPatch.context() as patch:
        for stand_in, replacement in _stand_ins().items():
            patch.setitem(sys.modules, stand_in, replacement)
        return importlib.import_module(f"{_ROOT}.fish_speech.{name}")


def transformer(folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """The library's DualARTransformer with a checkpoint's weights, loaded by its own loader."""
    model = module("models.text2semantic.llama").BaseTransformer.from_pretrained(
        str(folder), load_weights=True
    )
    return model.to(device=device, dtype=dtype).eval()


def codec(folder: Path, firefly: FireflyShape) -> Any:
    """The library's FireflyArchitecture with a checkpoint's weights."""
    parts, quantiser = module("models.vqgan.modules.firefly"), module("models.vqgan.modules.fsq")
    f = firefly
    model = parts.FireflyArchitecture(
        backbone=parts.ConvNeXtEncoder(f.mels, list(f.encoder_depths), list(f.encoder_dims), 0.2),
        head=parts.HiFiGANGenerator(
            hop_length=f.hop,
            upsample_rates=f.upsampling,
            upsample_kernel_sizes=[2 * rate for rate in f.upsampling],
            resblock_kernel_sizes=f.residual_kernels,
            resblock_dilation_sizes=[f.dilations] * len(f.residual_kernels),
            num_mels=f.latent_dim,
            upsample_initial_channel=f.channels,
            pre_conv_kernel_size=f.edge_kernel,
            post_conv_kernel_size=f.edge_kernel,
        ),
        quantizer=quantiser.DownsampleFiniteScalarQuantize(
            input_dim=f.latent_dim,
            n_groups=f.groups,
            n_codebooks=1,
            levels=list(FSQ_LEVELS),
            downsample_factor=f.downsampling,
        ),
        spec_transform=module("utils.spectrogram").LogMelSpectrogram(
            f.sample_rate, f.fft, f.fft, f.hop, f.mels
        ),
    )
    found = torch.load(folder / CODEC_FILE, weights_only=True)
    model.load_state_dict({name.removeprefix("generator."): value for name, value in found.items()})
    return model.eval()
