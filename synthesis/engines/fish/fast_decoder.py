"""The batched decoder for a GPU: the kernels of kernels.py, launched as CUDA graphs.

It computes what ReferenceDecoder computes; tests hold the two equal.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
import triton

from synthesis.engines.fish import kernels
from synthesis.engines.fish.architecture import VALID_CODES, TransformerShape
from synthesis.engines.fish.cuda_graphs import Launch
from synthesis.engines.fish.sampling import BISECTIONS, PENALTY_WINDOW
from synthesis.engines.fish.slots import (
    ENDED,
    NOT_FINITE,
    OVER_BUDGET,
    Admission,
    Sizes,
    SlotDecoder,
)
from synthesis.engines.fish.tiles import AttentionTile, LinearTile, Tiles
from synthesis.engines.fish.tokens import Prompt
from synthesis.engines.fish.weights import Block, DecoderWeights

_BUCKETS = (16, 64, 128)
# Prompts of one prefill. Always so many, and by the length of each, so that what a row computes does
# not depend on its company: a matrix library chooses its method by the shape.
_MOST_PREFILL_ROWS = 16
_PREFILL_TOKENS = (48, 96, 192, 384)
_VOICE_TOKENS = (256, 512, 768)  # and what a prefix has room for
_PREFILL_STEP = 16  # tokens that a program of the attention takes at once
_MOST_SPLITS = 16
_SQUARES = 128  # the most tiles of columns whose sums of squares are kept


class _FoldedBlock:
    """A layer whose norms are folded into the matrices after them."""

    def __init__(self, block: Block) -> None:
        self.wqkv = _folded(block.wqkv, block.attention_norm)
        self.wo = block.wo
        self.w13 = _folded(block.w13, block.ffn_norm)
        self.w2 = block.w2


def _folded(matrix: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    return (matrix.float() * norm.float()).to(matrix.dtype)


class FastDecoder(SlotDecoder):
    """Needs a GPU, or Triton's interpreter."""

    def __init__(self, weights: DecoderWeights, sizes: Sizes, tiles: Tiles) -> None:
        super().__init__(weights, sizes)
        self.tiles = tiles
        w, a, rows = weights, self.architecture, sizes.rows
        self.precision = "ieee" if w.dtype == torch.float32 else "tf32"
        self._slow = [_FoldedBlock(block) for block in w.slow]
        self._fast = [_FoldedBlock(block) for block in w.fast]
        self._head = _folded(w.head, w.norm)
        self._fast_head = _folded(w.fast_head, w.fast_norm)

        def empty(*shape: int, dtype: torch.dtype = w.dtype) -> torch.Tensor:
            return torch.zeros(shape, device=w.device, dtype=dtype)

        widest = max(a.slow.ffn, a.fast.ffn)
        # The first fast pass has two tokens a row.
        self._hidden = empty(rows, a.slow.dim)
        self._pair = empty(2 * rows, a.fast.dim)
        self._code = empty(rows, a.fast.dim)
        self._qkv = empty(2 * rows, max(a.slow.qkv_dim, a.fast.qkv_dim))
        self._attended = empty(2 * rows, a.slow.dim)
        self._gated = empty(2 * rows, widest)
        self.logits = empty(rows, 1032, dtype=torch.float32)
        self._frame = empty(rows, 1 + a.codebooks, dtype=torch.int32)
        parts = _MOST_SPLITS * 2 * rows * widest
        heads = rows * a.slow.kv_heads * max(16, a.slow.heads // a.slow.kv_heads)
        parts = max(parts, _MOST_SPLITS * heads * (2 + a.slow.head_dim))
        self._parts = empty(parts, dtype=torch.float32)
        self._squares = empty(_SQUARES, 2 * rows, dtype=torch.float32)
        self._squares_kept = 1
        self._arrivals = empty(4096, dtype=torch.int32)
        self.stream = torch.cuda.Stream() if w.device.type == "cuda" else None
        self._steps: dict[int, Launch] = {}
        self._prefill_rows = min(_MOST_PREFILL_ROWS, rows)
        self._prefills: dict[tuple[int, int], _Prefill] = {}

    @property
    def buckets(self) -> Sequence[int]:
        rows = self.sizes.rows
        return (*(size for size in _BUCKETS if size < rows), rows)

    def warm_up(self) -> None:
        """Compile and capture everything, so that no line waits for it."""
        for rows in self.buckets:
            self._step(rows)
        for tokens in _PREFILL_TOKENS:
            self._prefill_of(self._prefill_rows, tokens)
        for tokens in self._voice_tokens():
            self._prefill_of(1, tokens)

    def step(self, rows: int) -> None:
        self._step(rows)()

    def _step(self, rows: int) -> Launch:
        if rows not in self._steps:
            # Capturing runs the step: on rows at rest, which it leaves as they are.
            self._steps[rows] = Launch(
                lambda: self._launch_step(rows), self.weights.device, self.stream
            )
        return self._steps[rows]

    # ------------------------------------------------------------------ a step

    def _linear(
        self,
        kind: str,
        x: torch.Tensor,
        matrix: torch.Tensor,
        y: torch.Tensor,
        rows: int,
        *,
        norm: bool = False,
        residual: bool = False,
        gated: bool = False,
        every: int = 1,
        tile: LinearTile | None = None,
    ) -> None:
        """y = x @ matrix.T, see linear_kernel. every=2: x has two rows a line; only the second is
        wanted. residual: y is added to.
        """
        depth = matrix.shape[1]
        outputs = matrix.shape[0] // (2 if gated else 1)
        if self.weights.dtype == torch.float32:
            tile = LinearTile(16, 64, 4, 4, 2)
        tile = tile or self.tiles.for_linear(kind, rows)
        # A small model has too little depth to share among many.
        split = tile.split if depth >= 1024 else min(tile.split, 2)
        bm = min(64, max(16, triton.next_power_of_2(rows)))
        bn, bk = min(tile.columns, outputs), min(tile.depth, depth // split)
        squares = self._squares
        kernels.linear_kernel[(triton.cdiv(outputs, bn), split, triton.cdiv(rows, bm))](
            x[every - 1 :], matrix, squares[0, every - 1 :], y, y, squares, self._parts,
            self._arrivals, rows, outputs, x.stride(0) * every, y.stride(0), every,
            squares.shape[1], self.architecture.norm_eps,
            K=depth, NORM=norm, RESIDUAL=residual, GATED=gated,
            SQUARES=self._squares_kept if norm else 1, BM=bm, BN=bn, BK=bk, SPLIT=split,
            EVEN_N=outputs % bn == 0, PRECISION=self.precision,
            num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
        if residual:
            self._squares_kept = outputs // bn

    def _block(
        self, block: _FoldedBlock, x: torch.Tensor, rows: int, attend: Callable[[], None]
    ) -> None:
        """A layer: x [rows, dim] is changed in place. attend: from ``_qkv`` to ``_attended``."""
        self._linear("qkv", x, block.wqkv, self._qkv, rows, norm=True)
        attend()
        self._linear("wo", self._attended, block.wo, x, rows, residual=True)
        self._linear("w13", x, block.w13, self._gated, rows, norm=True, gated=True)
        self._linear("w2", self._gated, block.w2, x, rows, residual=True)

    def _attend(self, layer: int, rows: int, tile: AttentionTile | None = None) -> None:
        shape = self.architecture.slow
        if self.weights.dtype == torch.float32:
            tile = AttentionTile(64, 2, 4, 2)
        tile = tile or self.tiles.for_attention(rows)
        keys, values = self.cache[layer]
        group = shape.heads // shape.kv_heads
        kernels.attention_kernel[(rows, shape.kv_heads, tile.split)](
            self._qkv, keys, values, self.weights.rotations, self.position, self._attended,
            self._parts, self._arrivals, self.sizes.positions, keys.stride(0), shape.head_dim**-0.5,
            G=group, HK=shape.kv_heads, D=shape.head_dim, GP=max(16, group), BP=tile.positions,
            SPLIT=tile.split, PRECISION=self.precision,
            num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip

    def _fast_attend(self, layer: int, rows: int, first: int, tokens: int) -> None:
        shape = self.architecture.fast
        keys, values = self.fast_cache[layer]
        kernels.fast_attention_kernel[(rows, shape.kv_heads)](
            self._qkv, keys, values, self.weights.fast_rotations, self._attended,
            shape.head_dim**-0.5,
            FIRST=first, TOKENS=tokens, C=self.architecture.codebooks,
            G=shape.heads // shape.kv_heads, HK=shape.kv_heads, D=shape.head_dim, num_warps=1,
        )  # fmt: skip

    def _draw(self, rows: int, place: int, candidates: int, x: torch.Tensor, *, slow: bool) -> None:
        w = self.weights
        kernels.draw_kernel[(rows,)](
            self.logits, self.logits.stride(0), self.recent, self.count, self.seed,
            self.temperature, self.top_p, self.penalty, self.fewest, self._frame,
            w.fast_embeddings, self._hidden, x, self._squares, self.done,
            w.semantic_begin, w.end_token, VALID_CODES,
            V=candidates, VP=triton.next_power_of_2(candidates), PLACE=place,
            C1=1 + self.architecture.codebooks, W=PENALTY_WINDOW, D=self.architecture.fast.dim,
            SLOW=slow, BISECTIONS=BISECTIONS, NOT_FINITE=NOT_FINITE, num_warps=8,
        )  # fmt: skip
        self._squares_kept = 1

    def slow_pass(self, rows: int) -> None:
        """The slow transformer for each row's token; leaves ``logits`` [rows, 1025]."""
        w, a = self.weights, self.architecture
        kernels.embed_kernel[(rows,)](
            self.token, w.embeddings, w.codebook_embeddings, self._hidden, self._squares,
            w.semantic_begin,
            C1=1 + a.codebooks, CODES=a.codebook_size, D=a.slow.dim, num_warps=4,
        )  # fmt: skip
        self._squares_kept = 1
        for layer, block in enumerate(self._slow):
            self._block(block, self._hidden, rows, partial(self._attend, layer, rows))
        self._linear("head", self._hidden, self._head, self.logits, rows, norm=True)

    @torch.inference_mode()
    def _launch_step(self, rows: int) -> None:
        w, a = self.weights, self.architecture
        self.slow_pass(rows)
        self._draw(rows, 0, self._head.shape[0], self._pair, slow=True)
        for place in range(1, a.codebooks):
            # The first pass takes two positions: the hidden state and the first code.
            tokens, first, x = (2, 0, self._pair) if place == 1 else (1, place, self._code)
            for layer, block in enumerate(self._fast):
                self._block(
                    block,
                    x,
                    rows * tokens,
                    partial(self._fast_attend, layer, rows, first, tokens),
                )
            self._linear("head", x, self._fast_head, self.logits, rows, norm=True, every=tokens)
            self._draw(rows, place + 1, self._fast_head.shape[0], self._code, slow=False)
        kernels.finish_kernel[(rows,)](
            self._frame, self.token, self.position, self.count, self.recent, self.frames,
            self.done, self.most, w.end_token, self.sizes.frames,
            C1=1 + a.codebooks, CP=triton.next_power_of_2(1 + a.codebooks), W=PENALTY_WINDOW,
            ENDED=ENDED, OVER_BUDGET=OVER_BUDGET, num_warps=1,
        )  # fmt: skip

    # ------------------------------------------------------------------ tuning

    def try_linear(
        self, kind: str, rows: int, tile: LinearTile
    ) -> tuple[Callable[[], None], torch.Tensor]:
        """All of a step's slow products of one kind, with a tile; and what the last one fills.
        rows: at most twice as many as lines.
        """
        generator = torch.Generator(self.weights.device).manual_seed(0)
        into, out = {
            "qkv": (self._pair, self._qkv),
            "wo": (self._attended, self._pair),
            "w13": (self._pair, self._gated),
            "w2": (self._gated, self._pair),
        }[kind]
        into.normal_(generator=generator)
        self._squares.fill_(1.0)

        @torch.inference_mode()
        def run() -> None:
            out.zero_()
            self._squares_kept = 1
            for block in self._slow:
                matrix = getattr(block, "wqkv" if kind == "qkv" else kind)
                self._linear(
                    kind,
                    into,
                    matrix,
                    out,
                    rows,
                    norm=kind in ("qkv", "w13"),
                    residual=kind in ("wo", "w2"),
                    gated=kind == "w13",
                    tile=tile,
                )

        return run, out[:rows]

    def try_attention(
        self, rows: int, tile: AttentionTile
    ) -> tuple[Callable[[], None], torch.Tensor]:
        """All of a step's slow attention with a tile; and what it fills."""
        generator = torch.Generator(self.weights.device).manual_seed(0)
        self._qkv.normal_(generator=generator)
        self.cache.normal_(generator=generator)

        @torch.inference_mode()
        def run() -> None:
            for layer in range(len(self._slow)):
                self._attend(layer, rows, tile)

        return run, self._attended[:rows]

    # ------------------------------------------------------------------ prompts

    def _prefill_of(self, rows: int, tokens: int) -> "_Prefill":
        key = (rows, tokens)
        if key not in self._prefills:
            self._prefills[key] = _Prefill(self, rows, tokens)
        return self._prefills[key]

    def _voice_tokens(self) -> list[int]:
        room = triton.cdiv(self.sizes.voice_positions, _PREFILL_STEP) * _PREFILL_STEP
        return [*(size for size in _VOICE_TOKENS if size < room), room]

    def _compute_prefix(self, prompt: Prompt, index: int) -> None:
        length = prompt.shape[1]
        tokens = next(size for size in self._voice_tokens() if size >= length)
        prefill = self._prefill_of(1, tokens)
        # A last token is fed by the next step, which the scratch row never takes.
        padded = np.concatenate([prompt, prompt[:, -1:]], 1)
        prefill([Admission(self.scratch, None, padded, 0, 1)])
        self.prefixes[index, :, :, :, :length] = self.cache[:, :, self.scratch, :, :length]

    def _prefill(self, admissions: Sequence[Admission]) -> None:
        groups: dict[int, list[Admission]] = {}
        for admission in admissions:
            length = admission.prompt.shape[1] - 1
            tokens = next((size for size in _PREFILL_TOKENS if size >= length), None)
            if tokens is None:
                tokens = triton.cdiv(length, _PREFILL_TOKENS[-1]) * _PREFILL_TOKENS[-1]
            groups.setdefault(tokens, []).append(admission)
        for tokens, group in groups.items():
            prefill = self._prefill_of(self._prefill_rows, tokens)
            for start in range(0, len(group), self._prefill_rows):
                prefill(group[start : start + self._prefill_rows])


def _padded(count: int) -> int:
    return -(-count // 4) * 4


class _Prefill:
    """So many prompts of at most so many tokens, as one launch with one copy to the GPU."""

    _INTEGERS = ("slot", "start", "last", "voice", "seed", "most", "fewest")
    _FLOATS = ("temperature", "top_p", "penalty")

    def __init__(self, decoder: FastDecoder, rows: int, tokens: int) -> None:
        self._decoder, self._rows, self._tokens = decoder, rows, tokens
        device = decoder.weights.device
        on_gpu = device.type == "cuda"
        width = 1 + decoder.architecture.codebooks
        prompt_size, token_size = rows * tokens * width, rows * width
        # Every part begins at a multiple of 16 bytes, so that one program serves all sizes.
        size = sum(map(_padded, (prompt_size, token_size)))
        size += _padded(rows) * (len(self._INTEGERS) + len(self._FLOATS))
        self._host = torch.zeros(size, dtype=torch.int32, pin_memory=on_gpu)
        self._device = torch.zeros(size, dtype=torch.int32, device=device)
        self._copied = torch.cuda.Event() if on_gpu else None

        def views(buffer: torch.Tensor) -> dict[str, torch.Tensor]:
            at = _padded(prompt_size)
            found = {
                "prompt": buffer[:prompt_size].view(rows, tokens, width),
                "token": buffer[at : at + token_size].view(rows, width),
            }
            at += _padded(token_size)
            for name in (*self._INTEGERS, *self._FLOATS):
                values = buffer[at : at + rows]
                # Floats travel in the same buffer, bit for bit.
                found[name] = values.view(torch.float32) if name in self._FLOATS else values
                at += _padded(rows)
            return found

        self._there = views(self._device)
        self._here = {name: view.numpy() for name, view in views(self._host).items()}
        self._rest()
        self._device.copy_(self._host)
        self._launch = Launch(self._run, device, decoder.stream)

    def _rest(self) -> None:
        """Rows without a prompt work on the scratch row."""
        for name in self._INTEGERS:
            self._here[name][:] = 0
        self._here["slot"][:] = self._decoder.scratch
        for name in self._FLOATS:
            self._here[name][:] = 1.0

    def __call__(self, admissions: Sequence[Admission]) -> None:
        if self._copied is not None:
            self._copied.synchronize()  # the last copy out of the pinned buffer has ended
        self._rest()
        voices = self._decoder.voices
        for row, admission in enumerate(admissions):
            length = admission.prompt.shape[1]
            start = voices.length(admission.voice)
            self._here["prompt"][row, : length - 1] = admission.prompt[:, :-1].T
            self._here["token"][row] = admission.prompt[:, -1]
            for name, value in (
                ("slot", admission.slot),
                ("start", start),
                ("last", start + length - 1),
                ("voice", voices.index(admission.voice)),
                ("seed", admission.seed),
                ("most", admission.most_frames),
                ("fewest", admission.fewest_frames),
                ("temperature", admission.sampling.temperature),
                ("top_p", admission.sampling.top_p),
                ("penalty", admission.sampling.repetition_penalty),
            ):
                self._here[name][row] = value
        self._device.copy_(self._host, non_blocking=True)
        if self._copied is not None:
            self._copied.record()
        self._launch()

    @torch.inference_mode()
    def _run(self) -> None:
        d, v = self._decoder, self._there
        w, a, shape = d.weights, d.architecture, d.architecture.slow
        self._copy_prefixes(shape)
        count = self._rows * self._tokens

        def empty(*dims: int, dtype: torch.dtype = w.dtype) -> torch.Tensor:
            return torch.empty(dims, device=w.device, dtype=dtype)

        x, normed, attended = (empty(count, shape.dim) for _ in range(3))
        kernels.embed_kernel[(count,)](
            v["prompt"], w.embeddings, w.codebook_embeddings, x, empty(count, dtype=torch.float32),
            w.semantic_begin, C1=1 + a.codebooks, CODES=a.codebook_size, D=shape.dim,
        )  # fmt: skip
        group = shape.heads // shape.kv_heads
        wide = w.dtype == torch.float32
        at_a_time = max(1, (32 if wide else 128) // group)
        out = x
        for layer, block in enumerate(d._slow):
            keys, values = d.cache[layer]
            where = (keys, values, v["slot"], v["start"])
            sizes = (self._tokens, d.sizes.positions, keys.stride(0))
            heads = {"G": group, "HK": shape.kv_heads, "D": shape.head_dim}
            kernels.add_norm_kernel[(count,)](
                x, out, normed, a.norm_eps, ADD=layer > 0, D=shape.dim
            )
            qkv = F.linear(normed, block.wqkv)
            kernels.rotate_and_write_kernel[(self._rows, self._tokens)](
                qkv, *where[:2], w.rotations, *where[2:], *sizes, **heads,
                HP=triton.next_power_of_2(shape.heads + 2 * shape.kv_heads),
            )  # fmt: skip
            grid = (self._rows, shape.kv_heads, triton.cdiv(self._tokens, at_a_time))
            kernels.prefill_attention_kernel[grid](
                qkv, *where, attended, *sizes, shape.head_dim**-0.5, **heads, BT=at_a_time, BP=64,
                PRECISION=d.precision, num_warps=4 if wide else 8, num_stages=2,
            )  # fmt: skip
            projected = F.linear(attended, block.wo)
            kernels.add_norm_kernel[(count,)](
                x, projected, normed, a.norm_eps, ADD=True, D=shape.dim
            )
            both = F.linear(normed, block.w13)
            gated = empty(count, shape.ffn)
            kernels.gate_kernel[(count, triton.cdiv(shape.ffn, 1024))](
                both, gated, shape.ffn, BF=1024
            )
            out = F.linear(gated, block.w2)
        slots = v["slot"].long()
        d.token[slots] = v["token"]
        for state, name in (
            (d.position, "last"), (d.seed, "seed"), (d.most, "most"), (d.fewest, "fewest"),
            (d.temperature, "temperature"), (d.top_p, "top_p"), (d.penalty, "penalty"),
        ):  # fmt: skip
            state[slots] = v[name]
        for state in (d.count, d.recent, d.done):
            # A graph cannot capture a scalar of the host; index_fill_ takes it as an argument.
            state.index_fill_(0, slots, 0)
        d.done[d.scratch :].fill_(ENDED)

    def _copy_prefixes(self, shape: TransformerShape) -> None:
        d, v = self._decoder, self._there
        planes = shape.layers * 2
        kernels.copy_prefix_kernel[
            (self._rows, planes * shape.kv_heads, triton.cdiv(d.sizes.voice_positions, 128))
        ](
            d.cache, d.prefixes, v["slot"], v["voice"], v["start"], d.sizes.positions,
            d.sizes.voice_positions, planes, d.sizes.rows + 1,
            HK=shape.kv_heads, D=shape.head_dim, BP=128,
        )  # fmt: skip
