"""The vocoder's Triton kernels. Audio lies channels last: [batch, length, channels]."""

import triton
import triton.language as tl


@triton.jit
def convolution_kernel(
    x_ptr, w_ptr, bias_ptr, residual_ptr, mean_ptr, y_ptr, activated_ptr, length_ptr,
    rate, L, N, scale, KT, DILATION,
    C: tl.constexpr, RESIDUAL: tl.constexpr, MEAN: tl.constexpr, RAW: tl.constexpr,
    ACTIVATED: tl.constexpr, TANH: tl.constexpr, BL: tl.constexpr, BN: tl.constexpr,
    BK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A causal dilated convolution as one matrix product: x [B, L, C] with w [KT C, N].

    v = (conv(x) + bias [+ residual]) * scale [+ mean]; RAW: y = v, through tanh if TANH; ACTIVATED:
    silu(v), which is what the next convolution reads. A transposed convolution of stride u is one
    with u times the channels. Tiles behind a row's own length (``length`` frames of ``rate`` samples)
    are not computed, so padding costs nothing; nothing reads it, since all looks back.
    """
    b = tl.program_id(2).to(tl.int64)
    if tl.program_id(0) * BL >= tl.load(length_ptr + b) * rate:
        return
    sample = tl.program_id(0) * BL + tl.arange(0, BL)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    in_columns = n < N
    acc = tl.zeros((BL, BN), tl.float32)
    x_row = x_ptr + b * L * C
    for start in range(0, KT * C, BK):
        k = start + tl.arange(0, BK)
        in_depth = k < KT * C
        source = sample[:, None] - ((KT - 1 - k // C) * DILATION)[None, :]
        x = tl.load(
            x_row + source * C + (k % C)[None, :],
            mask=(source >= 0) & (source < L) & in_depth[None, :],
            other=0.0,
        )
        w = tl.load(
            w_ptr + k[:, None] * N + n[None, :],
            mask=in_depth[:, None] & in_columns[None, :],
            other=0.0,
        )
        acc = tl.dot(x, w, acc, input_precision=PRECISION)
    acc += tl.load(bias_ptr + n, mask=in_columns, other=0.0).to(tl.float32)[None, :]
    at = b * L * N + sample[:, None] * N + n[None, :]
    inside = (sample < L)[:, None] & in_columns[None, :]
    if RESIDUAL:
        acc += tl.load(residual_ptr + at, mask=inside, other=0.0).to(tl.float32)
    acc *= scale
    if MEAN:
        acc += tl.load(mean_ptr + at, mask=inside, other=0.0).to(tl.float32)
    if TANH:
        acc = 2 * tl.sigmoid(2 * acc) - 1
    if RAW:
        tl.store(y_ptr + at, acc.to(y_ptr.dtype.element_ty), mask=inside)
    if ACTIVATED:
        activated = acc * tl.sigmoid(acc)
        tl.store(activated_ptr + at, activated.to(activated_ptr.dtype.element_ty), mask=inside)


@triton.jit
def depthwise_norm_kernel(
    x_ptr, w_ptr, bias_ptr, gain_ptr, shift_ptr, y_ptr, L, eps,
    KT: tl.constexpr, C: tl.constexpr, CP: tl.constexpr,
):  # fmt: skip
    """A causal depthwise convolution and a layer norm, one sample a program. w [KT, C]; C padded to CP."""
    sample = tl.program_id(0)
    b = tl.program_id(1).to(tl.int64)
    c = tl.arange(0, CP)
    inside = c < C
    total = tl.load(bias_ptr + c, mask=inside, other=0.0).to(tl.float32)
    for k in tl.static_range(KT):
        source = sample - (KT - 1 - k)
        x = tl.load(x_ptr + (b * L + source) * C + c, mask=inside & (source >= 0), other=0.0)
        w = tl.load(w_ptr + k * C + c, mask=inside, other=0.0)
        total += x.to(tl.float32) * w.to(tl.float32)
    mean = tl.sum(tl.where(inside, total, 0.0), 0) / C
    centred = tl.where(inside, total - mean, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, 0) / C + eps)
    gain = tl.load(gain_ptr + c, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(shift_ptr + c, mask=inside, other=0.0).to(tl.float32)
    y = centred * scale * gain + shift
    tl.store(y_ptr + (b * L + sample) * C + c, y.to(y_ptr.dtype.element_ty), mask=inside)
