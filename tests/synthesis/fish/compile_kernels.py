"""Compiles every kernel launch of a full-size step, prefill and vocoder for a GPU that is not there.

    python -m tests.synthesis.fish.compile_kernels 90

Tensors without data stand in for real ones; each launch is compiled instead of run. Prints a JSON row
for each kernel: its name, shared memory (bytes), registers, or the error.
"""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from synthesis.engines.fish import fast_decoder, kernels, vocoder_kernels
from synthesis.engines.fish.architecture import (
    Architecture,
    codec_shapes,
    transformer_shapes,
)
from synthesis.engines.fish.checkpoint import Checkpoint, Weights, without_weight_norm
from synthesis.engines.fish.fast_decoder import FastDecoder, _Prefill
from synthesis.engines.fish.fast_vocoder import FastVocoder
from synthesis.engines.fish.random_checkpoint import FULL, write_tokenizer
from synthesis.engines.fish.slots import Sizes
from synthesis.engines.fish.tiles import Tiles
from synthesis.engines.fish.tokens import Tokenizer
from synthesis.engines.fish.weights import decoder_weights

META = torch.device("meta")
_TYPES = {
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.float32: "*fp32",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


class Compiled:
    """Stands where a kernel was, and compiles what it is launched with, once for each kind."""

    def __init__(self, kernel: Any, target: GPUTarget, seen: dict[str, dict[str, Any]]) -> None:
        self._kernel, self._target, self._seen = kernel, target, seen

    def __getitem__(self, grid: object) -> Any:
        return self._launch

    def _launch(self, *args: Any, **more: Any) -> None:
        names = self._kernel.arg_names
        constexprs = {p.name for p in self._kernel.params if p.is_constexpr}
        options = {name: more.pop(name) for name in list(more) if name not in names}
        values = dict(zip(names, args, strict=False)) | more
        signature: dict[str, str] = {}
        constants: dict[str, Any] = {}
        attributes: dict[tuple[int], Any] = {}
        aligned = [["tt.divisibility", 16]]
        for place, name in enumerate(names):
            value = values[name]
            if name in constexprs:
                signature[name], constants[name] = "constexpr", value
            elif isinstance(value, torch.Tensor):
                signature[name], attributes[(place,)] = _TYPES[value.dtype], aligned
            elif isinstance(value, float):
                signature[name] = "fp32"
            elif value == 1:
                signature[name], constants[name] = "constexpr", 1
            else:
                signature[name] = "i32"
                if value % 16 == 0:
                    attributes[(place,)] = aligned
        key = f"{self._kernel.__name__} {signature} {constants} {options}"
        if key in self._seen:
            return
        found: dict[str, Any] = {"kernel": self._kernel.__name__}
        try:
            source = ASTSource(self._kernel, signature, constants, attributes)
            made = triton.compile(source, target=self._target, options=options)
            found |= {"shared": made.metadata.shared, "resources": _resources(made.asm["cubin"])}
        except Exception as exc:
            found["error"] = f"{type(exc).__name__}: {exc}"[:500]
        self._seen[key] = found


def _resources(cubin: bytes) -> str:
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run(
            [str(tool), "--dump-resource-usage", file.name],
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"REG:\d+ STACK:\d+", done.stdout)
    return found[0] if found else ""


def _instead(module: ModuleType, target: GPUTarget, seen: dict[str, dict[str, Any]]) -> None:
    for name, value in list(vars(module).items()):
        if isinstance(value, JITFunction) and name.endswith("_kernel"):
            setattr(module, name, Compiled(value, target, seen))


def _weights(shapes: dict[str, tuple[int, ...]]) -> Weights:
    return {name: torch.empty(shape, device=META) for name, shape in shapes.items()}


def main() -> None:
    target = GPUTarget("cuda", int(sys.argv[1]), 32)
    seen: dict[str, dict[str, Any]] = {}
    for module in (kernels, vocoder_kernels):
        _instead(module, target, seen)
    assert fast_decoder.kernels is kernels
    architecture = Architecture.from_config(FULL, {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.tiktoken"
        write_tokenizer(path, architecture.vocab_size - 1036)
        tokenizer = Tokenizer(path)
        codec = without_weight_norm(_weights(codec_shapes(architecture.firefly)))
        transformer = _weights(transformer_shapes(architecture))
        checkpoint = Checkpoint(Path(folder), architecture, tokenizer, transformer, codec)
    weights = decoder_weights(checkpoint, META, torch.bfloat16)
    for rows in (16, 64, 128):
        decoder = FastDecoder(weights, Sizes(rows=rows, voices=2), Tiles())
        decoder.step(rows)
        # The host's side of a prompt cannot be had from tensors without data.
        with contextlib.suppress(NotImplementedError, RuntimeError):
            _Prefill(decoder, 16, 48)._run()
    vocoder = FastVocoder(codec, architecture.firefly, META, Tiles())
    lengths = torch.empty(8, device=META, dtype=torch.int32)
    vocoder.decode(torch.empty(8, 8, 96, device=META, dtype=torch.int32), lengths)
    for found in seen.values():
        print(json.dumps(found))


if __name__ == "__main__":
    main()
