"""The decoder's Triton kernels. With TRITON_INTERPRET=1 they run on a CPU, slowly, for tests.

Shapes: R rows (lines), D the model's dimension, H query heads in groups of G that share one of HK key
heads, P positions of a row's cache. Sums are in float32 whatever the tensors hold.

Two ideas save most of the time. A norm's weight is folded into the matrix after it, and whoever writes
x leaves the sums of its squares behind, so a matrix product needs no pass over x before it. And all
that is left of attention in a step (rotation, cache, softmax) is one kernel that reads only the
positions in use.
"""

import triton
import triton.language as tl


@triton.jit
def linear_kernel(
    x_ptr, w_ptr, squares_in_ptr, residual_ptr, y_ptr, squares_out_ptr, parts_ptr, arrivals_ptr,
    rows, N, x_stride, y_stride, squares_step, squares_stride, eps,
    K: tl.constexpr, NORM: tl.constexpr, RESIDUAL: tl.constexpr, GATED: tl.constexpr,
    SQUARES: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    SPLIT: tl.constexpr, EVEN_N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """y = [residual +] f([rms_norm](x) @ w.T) for few rows. x [rows, K]; w [N, K], [2 N, K] if GATED.

    GATED: silu(x w_gate) * (x w_up), the gate's rows first. NORM: each row is scaled by what its
    squares, SQUARES partial sums left by the kernel that wrote x, say. RESIDUAL: leaves the squares of
    y behind, one partial sum for each tile of columns. SPLIT > 1: K is dealt to so many programs; the
    last to arrive adds their parts, in a fixed order, so the result is always the same.
    """
    column = tl.program_id(0)
    split = tl.program_id(1)
    tile = tl.program_id(2)
    KS: tl.constexpr = K // SPLIT
    m = tile * BM + tl.arange(0, BM)
    n = column * BN + tl.arange(0, BN)
    k = split * KS + tl.arange(0, BK)
    in_rows = m[:, None] < rows
    in_columns = n < N
    acc = tl.zeros((BM, BN), tl.float32)
    up = acc
    x_tile = x_ptr + m[:, None] * x_stride + k[None, :]
    w_tile = w_ptr + n[None, :] * K + k[:, None]
    for at in range(0, KS, BK):
        x = tl.load(x_tile + at, mask=in_rows, other=0.0)
        if EVEN_N:
            w = tl.load(w_tile + at)
        else:
            w = tl.load(w_tile + at, mask=in_columns[None, :], other=0.0)
        acc = tl.dot(x, w, acc, input_precision=PRECISION)
        if GATED:
            up = tl.dot(x, tl.load(w_tile + at + N * K), up, input_precision=PRECISION)
    inside = in_rows & in_columns[None, :]
    last = True
    if SPLIT > 1:
        part = parts_ptr + m[:, None] * N + n[None, :]
        tl.store(part + split * rows * N, acc, mask=inside)
        if GATED:
            tl.store(part + (SPLIT + split) * rows * N, up, mask=inside)
        tl.debug_barrier()
        arrivals = arrivals_ptr + tile * tl.num_programs(0) + column
        last = tl.atomic_add(arrivals, 1, sem="acq_rel") == SPLIT - 1
        if last:
            acc = tl.zeros((BM, BN), tl.float32)
            for i in tl.static_range(SPLIT):
                acc += tl.load(part + i * rows * N, mask=inside, other=0.0, cache_modifier=".cg")
            if GATED:
                up = tl.zeros((BM, BN), tl.float32)
                for i in tl.static_range(SPLIT):
                    up += tl.load(
                        part + (SPLIT + i) * rows * N, mask=inside, other=0.0, cache_modifier=".cg"
                    )
            tl.store(arrivals, 0)
    if last:
        if NORM:
            t = tl.arange(0, SQUARES)
            squares = tl.load(
                squares_in_ptr + t[:, None] * squares_stride + m[None, :] * squares_step,
                mask=m[None, :] < rows,
                other=0.0,
            )
            scale = tl.rsqrt(tl.sum(squares, 0) / K + eps)[:, None]
            acc *= scale
            if GATED:
                up *= scale
        if GATED:
            acc = acc * tl.sigmoid(acc) * up
        at_y = m[:, None] * y_stride + n[None, :]
        if RESIDUAL:
            acc += tl.load(residual_ptr + at_y, mask=inside, other=0.0).to(tl.float32)
        y = acc.to(y_ptr.dtype.element_ty)
        tl.store(y_ptr + at_y, y, mask=inside)
        if RESIDUAL:
            # Of what was stored, so that it is the same value another kernel would compute.
            stored = y.to(tl.float32)
            tl.store(
                squares_out_ptr + column * squares_stride + m,
                tl.sum(stored * stored, 1),
                mask=m < rows,
            )


@triton.jit
def rotated(even, odd, cosine, sine, dtype: tl.constexpr):
    """Rotary position embedding of pairs that lie beside each other."""
    return tl.interleave(even * cosine - odd * sine, odd * cosine + even * sine).to(dtype)


@triton.jit
def attention_kernel(
    qkv_ptr, keys_ptr, values_ptr, rotations_ptr, position_ptr, y_ptr, parts_ptr, arrivals_ptr,
    P, cache_stride, scale,
    G: tl.constexpr, HK: tl.constexpr, D: tl.constexpr, GP: tl.constexpr, BP: tl.constexpr,
    SPLIT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One token a row: rotate, write the cache, attend to positions 0..position.

    A program is a row, a key head and one SPLIT of the positions, BP at a time. qkv [R, (H + 2 HK) D];
    keys, values [R, HK, P, D]; y [R, H D]. G is padded to GP, the least that tl.dot takes. The splits
    are merged by the last to arrive, in a fixed order.
    """
    b = tl.program_id(0)
    h = tl.program_id(1)
    split = tl.program_id(2)
    dtype: tl.constexpr = qkv_ptr.dtype.element_ty
    # A row past its end never indexes outside: that would end the process.
    pos = tl.minimum(tl.load(position_ptr + b).to(tl.int32), P - 1)
    i = tl.arange(0, D // 2)
    d = tl.arange(0, D)
    g = tl.arange(0, GP)
    cosine = tl.load(rotations_ptr + pos * D + 2 * i).to(tl.float32)
    sine = tl.load(rotations_ptr + pos * D + 2 * i + 1).to(tl.float32)
    row = qkv_ptr + b * (HK * G + 2 * HK) * D
    pair = row + (h * G + g)[:, None] * D + 2 * i[None, :]
    in_group = (g < G)[:, None]
    q = rotated(
        tl.load(pair, mask=in_group, other=0.0).to(tl.float32),
        tl.load(pair + 1, mask=in_group, other=0.0).to(tl.float32),
        cosine[None, :],
        sine[None, :],
        dtype,
    )
    pair = row + (HK * G + h) * D + 2 * i
    new_key = rotated(
        tl.load(pair).to(tl.float32), tl.load(pair + 1).to(tl.float32), cosine, sine, dtype
    )
    new_value = tl.load(row + (HK * G + HK + h) * D + d)
    keys = keys_ptr + b.to(tl.int64) * cache_stride + h * P * D
    values = values_ptr + b.to(tl.int64) * cache_stride + h * P * D
    if split == 0:
        tl.store(keys + pos * D + d, new_key)
        tl.store(values + pos * D + d, new_value)
    best = tl.full((GP,), -1e30, tl.float32)
    total = tl.zeros((GP,), tl.float32)
    acc = tl.zeros((GP, D), tl.float32)
    for start in range(split * BP, pos + 1, SPLIT * BP):
        j = start + tl.arange(0, BP)
        old = (j < pos)[:, None]
        now = (j == pos)[:, None]
        key = tl.load(keys + j[:, None] * D + d[None, :], mask=old, other=0.0)
        value = tl.load(values + j[:, None] * D + d[None, :], mask=old, other=0.0)
        key = tl.where(now, new_key[None, :], key)
        value = tl.where(now, new_value[None, :], value)
        score = tl.dot(q, tl.trans(key), input_precision=PRECISION) * scale
        score = tl.where((j <= pos)[None, :], score, -1e30)
        higher = tl.maximum(best, tl.max(score, 1))
        fade = tl.exp(best - higher)
        p = tl.exp(score - higher[:, None])
        total = total * fade + tl.sum(p, 1)
        best = higher
        acc = tl.dot(p.to(dtype), value, acc * fade[:, None], input_precision=PRECISION)
    last = True
    if SPLIT > 1:
        head = b * HK + h
        maxima = parts_ptr + head * SPLIT * GP * 2 + g
        sums = parts_ptr + tl.num_programs(0) * HK * SPLIT * GP * 2
        sums += head * SPLIT * GP * D + g[:, None] * D + d[None, :]
        tl.store(maxima + split * GP * 2, best)
        tl.store(maxima + split * GP * 2 + GP, total)
        tl.store(sums + split * GP * D, acc)
        tl.debug_barrier()
        last = tl.atomic_add(arrivals_ptr + head, 1, sem="acq_rel") == SPLIT - 1
        if last:
            best = tl.load(maxima, cache_modifier=".cg")
            total = tl.load(maxima + GP, cache_modifier=".cg")
            acc = tl.load(sums, cache_modifier=".cg")
            for t in tl.static_range(1, SPLIT):
                other = tl.load(maxima + t * GP * 2, cache_modifier=".cg")
                higher = tl.maximum(best, other)
                fade = tl.exp(best - higher)
                gain = tl.exp(other - higher)
                total = total * fade + gain * tl.load(
                    maxima + t * GP * 2 + GP, cache_modifier=".cg"
                )
                acc = acc * fade[:, None] + gain[:, None] * tl.load(
                    sums + t * GP * D, cache_modifier=".cg"
                )
                best = higher
            tl.store(arrivals_ptr + head, 0)
    if last:
        out = y_ptr + b * HK * G * D + (h * G + g)[:, None] * D + d[None, :]
        tl.store(out, (acc / total[:, None]).to(dtype), mask=in_group)


@triton.jit
def fast_attention_kernel(
    qkv_ptr, keys_ptr, values_ptr, rotations_ptr, y_ptr, scale,
    FIRST: tl.constexpr, TOKENS: tl.constexpr, C: tl.constexpr, G: tl.constexpr, HK: tl.constexpr,
    D: tl.constexpr,
):  # fmt: skip
    """The same for the fast transformer: at most C keys, TOKENS tokens a row from position FIRST on.

    qkv [R TOKENS, (H + 2 HK) D]; keys, values [R, HK, C, D]; y [R TOKENS, H D].
    """
    b = tl.program_id(0)
    h = tl.program_id(1)
    dtype: tl.constexpr = qkv_ptr.dtype.element_ty
    i = tl.arange(0, D // 2)
    d = tl.arange(0, D)
    g = tl.arange(0, G)
    j = tl.arange(0, C)
    WIDTH: tl.constexpr = (HK * G + 2 * HK) * D
    cache = (b * HK + h) * C * D
    known = (j < FIRST)[:, None]
    key = tl.load(keys_ptr + cache + j[:, None] * D + d[None, :], mask=known, other=0.0)
    value = tl.load(values_ptr + cache + j[:, None] * D + d[None, :], mask=known, other=0.0)
    for t in tl.static_range(TOKENS):
        row = qkv_ptr + (b * TOKENS + t) * WIDTH
        cosine = tl.load(rotations_ptr + (FIRST + t) * D + 2 * i).to(tl.float32)
        sine = tl.load(rotations_ptr + (FIRST + t) * D + 2 * i + 1).to(tl.float32)
        pair = row + (HK * G + h) * D + 2 * i
        new_key = rotated(
            tl.load(pair).to(tl.float32), tl.load(pair + 1).to(tl.float32), cosine, sine, dtype
        )
        new_value = tl.load(row + (HK * G + HK + h) * D + d)
        tl.store(keys_ptr + cache + (FIRST + t) * D + d, new_key)
        tl.store(values_ptr + cache + (FIRST + t) * D + d, new_value)
        now = (j == FIRST + t)[:, None]
        key = tl.where(now, new_key[None, :], key)
        value = tl.where(now, new_value[None, :], value)
        pair = row + (h * G + g)[:, None] * D + 2 * i[None, :]
        q = rotated(
            tl.load(pair).to(tl.float32),
            tl.load(pair + 1).to(tl.float32),
            cosine[None, :],
            sine[None, :],
            dtype,
        )
        score = tl.sum(q.to(tl.float32)[:, None, :] * key.to(tl.float32)[None], 2) * scale
        score = tl.where((j <= FIRST + t)[None, :], score, -1e30)
        p = tl.exp(score - tl.max(score, 1)[:, None])
        p = p / tl.sum(p, 1)[:, None]
        y = tl.sum(p.to(dtype).to(tl.float32)[:, :, None] * value.to(tl.float32)[None], 1)
        out = y_ptr + (b * TOKENS + t) * HK * G * D + (h * G + g)[:, None] * D + d[None, :]
        tl.store(out, y.to(dtype))


@triton.jit
def draw_kernel(
    logits_ptr, logits_stride, recent_ptr, count_ptr, seed_ptr, temperature_ptr, top_p_ptr,
    penalty_ptr, fewest_ptr, frame_ptr, embeddings_ptr, hidden_ptr, x_ptr, squares_ptr, done_ptr,
    semantic_begin, end_token, valid,
    V: tl.constexpr, VP: tl.constexpr, PLACE: tl.constexpr, C1: tl.constexpr, W: tl.constexpr,
    D: tl.constexpr, SLOW: tl.constexpr, BISECTIONS: tl.constexpr, NOT_FINITE: tl.constexpr,
):  # fmt: skip
    """Draw the code at PLACE of a row's frame as sampling.draw does; then embed it for the next pass.

    logits [R, V], V padded to VP; candidate 1,024 is the end token. SLOW: the draw of the slow
    transformer: x [R, 2, D] becomes the hidden state and the first code's embedding, else [R, D] the
    code's. Leaves the squares of x behind. A row whose hidden state is no number is marked.
    """
    b = tl.program_id(0)
    i = tl.arange(0, VP)
    x = tl.load(logits_ptr + b * logits_stride + i, mask=i < V, other=-1e30).to(tl.float32)
    count = tl.load(count_ptr + b)
    seed = tl.load(seed_ptr + b)
    temperature = tl.load(temperature_ptr + b)
    penalty = tl.load(penalty_ptr + b)
    hit = i < 0
    for t in tl.static_range(W):
        seen = tl.load(recent_ptr + (b * C1 + PLACE) * W + t).to(tl.int32)
        if SLOW:
            seen = tl.where(seen == end_token, 1024, seen - semantic_begin)
        hit = hit | (i == seen)
    hit = hit & (count > 0) & (i < V)
    x = tl.where(hit, tl.where(x < 0, x * penalty, x / penalty), x)
    barred = (i >= V) | ((i >= valid) & (i < 1024))
    if SLOW:
        barred = barred | ((i == 1024) & (count < tl.load(fewest_ptr + b)))
    x = tl.where(barred, -1e30, x)
    x = x - tl.max(x, 0)
    mass = tl.exp(x)
    wanted = tl.load(top_p_ptr + b) * tl.sum(mass, 0)
    low = -30.0
    high = 0.0
    for _ in range(BISECTIONS):
        middle = (low + high) * 0.5
        over = tl.sum(tl.where(x >= middle, mass, 0.0), 0) > wanted
        low = tl.where(over, middle, low)
        high = tl.where(over, high, middle)
    dropped = (x < high) & (x < 0)
    CODEBOOK: tl.constexpr = PLACE - 1 + SLOW
    noise = seed.to(tl.uint32) * 0x9E3779B1 + count.to(tl.uint32) * 0x85EBCA77
    noise += tl.full((VP,), CODEBOOK, tl.uint32) * 0xC2B2AE3D + i.to(tl.uint32) * 0x27D4EB2F
    noise = (noise ^ (noise >> 15)) * 0x2C1B3C6D
    noise = (noise ^ (noise >> 12)) * 0x297A2D39
    noise = noise ^ (noise >> 15)
    uniform = ((noise >> 8).to(tl.float32) + 0.5) * (1.0 / 16777216)
    score = x / tl.maximum(temperature, 1e-5) - tl.log(-tl.log(uniform))
    # Where all is NaN, argmax may name a candidate that does not exist.
    code = tl.minimum(tl.argmax(tl.where(dropped, -float("inf"), score), 0), V - 1)
    d = tl.arange(0, D)
    if SLOW:
        ended = code == 1024
        tl.store(frame_ptr + b * C1, tl.where(ended, end_token, code + semantic_begin))
        code = tl.where(ended, 0, code)
        tl.store(frame_ptr + b * C1 + 1, code)
        hidden = tl.load(hidden_ptr + b * D + d)
        embedding = tl.load(embeddings_ptr + code * D + d)
        tl.store(x_ptr + 2 * b * D + d, hidden)
        tl.store(x_ptr + (2 * b + 1) * D + d, embedding)
        square = tl.sum(hidden.to(tl.float32) * hidden.to(tl.float32), 0)
        tl.store(squares_ptr + 2 * b, square)
        square_of_code = tl.sum(embedding.to(tl.float32) * embedding.to(tl.float32), 0)
        tl.store(squares_ptr + 2 * b + 1, square_of_code)
        broken = (square != square) | (square > 1e37)
        if broken & (tl.load(done_ptr + b) == 0):
            tl.store(done_ptr + b, NOT_FINITE)
    else:
        tl.store(frame_ptr + b * C1 + PLACE, code)
        embedding = tl.load(embeddings_ptr + code * D + d)
        tl.store(x_ptr + b * D + d, embedding)
        square_of_code = tl.sum(embedding.to(tl.float32) * embedding.to(tl.float32), 0)
        tl.store(squares_ptr + b, square_of_code)


@triton.jit
def embed_kernel(
    token_ptr, embeddings_ptr, codes_ptr, x_ptr, squares_ptr, semantic_begin,
    C1: tl.constexpr, CODES: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """x = the text's embedding, plus the codes' beside a semantic token. token [R, C1]; x [R, D]."""
    b = tl.program_id(0)
    d = tl.arange(0, D)
    dtype: tl.constexpr = embeddings_ptr.dtype.element_ty
    first = tl.load(token_ptr + b * C1).to(tl.int64)
    total = tl.zeros((D,), tl.float32)
    if (first >= semantic_begin) & (first < semantic_begin + 1024):
        for n in tl.static_range(C1 - 1):
            code = tl.load(token_ptr + b * C1 + 1 + n) + n * CODES
            total += tl.load(codes_ptr + code * D + d).to(tl.float32)
    x = tl.load(embeddings_ptr + first * D + d).to(tl.float32) + total.to(dtype).to(tl.float32)
    tl.store(x_ptr + b.to(tl.int64) * D + d, x.to(dtype))
    stored = x.to(dtype).to(tl.float32)
    tl.store(squares_ptr + b, tl.sum(stored * stored, 0))


@triton.jit
def finish_kernel(
    frame_ptr, token_ptr, position_ptr, count_ptr, recent_ptr, frames_ptr, done_ptr, most_ptr,
    end_token, most_frames,
    C1: tl.constexpr, CP: tl.constexpr, W: tl.constexpr, ENDED: tl.constexpr,
    OVER_BUDGET: tl.constexpr,
):  # fmt: skip
    """Keep a row's frame and move on; a row that has come to its end stays as it is.

    frame, token [R, C1]; recent [R, C1, W]; frames [R, C1, most_frames]. C1 is padded to CP.
    """
    b = tl.program_id(0)
    if tl.load(done_ptr + b) == 0:
        count = tl.load(count_ptr + b).to(tl.int32)
        r = tl.arange(0, CP)
        inside = r < C1
        code = tl.load(frame_ptr + b * C1 + r, mask=inside, other=0)
        if count > 0:
            tl.store(recent_ptr + (b * C1 + r) * W + (count - 1) % W, code, mask=inside)
        at = (b * C1 + r) * most_frames + tl.minimum(count, most_frames - 1)
        tl.store(frames_ptr + at, code, mask=inside)
        tl.store(token_ptr + b * C1 + r, code, mask=inside)
        tl.store(position_ptr + b, tl.load(position_ptr + b) + 1)
        tl.store(count_ptr + b, count + 1)
        if tl.load(frame_ptr + b * C1) == end_token:
            tl.store(done_ptr + b, ENDED)
        elif count + 1 >= tl.load(most_ptr + b):
            tl.store(done_ptr + b, OVER_BUDGET)


@triton.jit
def add_norm_kernel(x_ptr, y_ptr, out_ptr, eps, ADD: tl.constexpr, D: tl.constexpr):
    """x += y in place, if ADD; out = rms_norm(x) without its weight. All [tokens, D]."""
    t = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, D)
    x = tl.load(x_ptr + t * D + d)
    if ADD:
        x = (x.to(tl.float32) + tl.load(y_ptr + t * D + d).to(tl.float32)).to(x.dtype)
        tl.store(x_ptr + t * D + d, x)
    wide = x.to(tl.float32)
    out = wide * tl.rsqrt(tl.sum(wide * wide, 0) / D + eps)
    tl.store(out_ptr + t * D + d, out.to(x.dtype))


@triton.jit
def gate_kernel(gated_ptr, out_ptr, F, BF: tl.constexpr):
    """out [tokens, F] = silu(gate) * up; gated [tokens, 2 F] holds the gate, then up."""
    t = tl.program_id(0).to(tl.int64)
    f = tl.program_id(1) * BF + tl.arange(0, BF)
    inside = f < F
    gate = tl.load(gated_ptr + t * 2 * F + f, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gated_ptr + t * 2 * F + F + f, mask=inside, other=0.0).to(tl.float32)
    out = gate * tl.sigmoid(gate) * up
    tl.store(out_ptr + t * F + f, out.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def rotate_and_write_kernel(
    qkv_ptr, keys_ptr, values_ptr, rotations_ptr, slot_ptr, start_ptr, T, P, cache_stride,
    G: tl.constexpr, HK: tl.constexpr, D: tl.constexpr, HP: tl.constexpr,
):  # fmt: skip
    """Prefill: rotate the queries in place; rotate keys and write them and values to the row's slot.

    A program is one of T tokens of one prompt. qkv [prompts, T, (H + 2 HK) D]. Tokens past the cache
    (padding) are left out. Heads are padded to HP.
    """
    n = tl.program_id(0)
    t = tl.program_id(1)
    dtype: tl.constexpr = qkv_ptr.dtype.element_ty
    slot = tl.load(slot_ptr + n).to(tl.int64)
    place = tl.load(start_ptr + n) + t
    if place < P:
        i = tl.arange(0, D // 2)
        d = tl.arange(0, D)
        h = tl.arange(0, HP)
        cosine = tl.load(rotations_ptr + place * D + 2 * i).to(tl.float32)[None, :]
        sine = tl.load(rotations_ptr + place * D + 2 * i + 1).to(tl.float32)[None, :]
        row = qkv_ptr + (n * T + t).to(tl.int64) * (HK * G + 2 * HK) * D
        with_rotation = (h < HK * G + HK)[:, None]
        pair = row + h[:, None] * D + 2 * i[None, :]
        x = rotated(
            tl.load(pair, mask=with_rotation, other=0.0).to(tl.float32),
            tl.load(pair + 1, mask=with_rotation, other=0.0).to(tl.float32),
            cosine,
            sine,
            dtype,
        )
        value = tl.load(
            row + (HK * G + HK + h)[:, None] * D + d[None, :], mask=(h < HK)[:, None], other=0.0
        )
        tl.debug_barrier()
        tl.store(row + h[:, None] * D + d[None, :], x, mask=(h < HK * G)[:, None])
        kh = h - HK * G
        at = slot * cache_stride + place * D + d[None, :]
        is_key = ((kh >= 0) & (kh < HK))[:, None]
        tl.store(keys_ptr + at + kh[:, None] * P * D, x, mask=is_key)
        tl.store(values_ptr + at + h[:, None] * P * D, value, mask=(h < HK)[:, None])


@triton.jit
def prefill_attention_kernel(
    qkv_ptr, keys_ptr, values_ptr, slot_ptr, start_ptr, y_ptr, T, P, cache_stride, scale,
    G: tl.constexpr, HK: tl.constexpr, D: tl.constexpr, BT: tl.constexpr, BP: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Causal attention of T new tokens over their prefix and themselves.

    A program is a prompt, a key head and BT tokens with all G heads that share it. y [prompts T, H D].
    """
    n = tl.program_id(0)
    h = tl.program_id(1)
    first = tl.program_id(2) * BT
    dtype: tl.constexpr = qkv_ptr.dtype.element_ty
    slot = tl.load(slot_ptr + n).to(tl.int64)
    start = tl.load(start_ptr + n)
    r = tl.arange(0, BT * G)
    t = first + r // G
    head = h * G + r % G
    d = tl.arange(0, D)
    inside = (t < T)[:, None]
    q_row = (n * T + t)[:, None].to(tl.int64) * (HK * G + 2 * HK) * D
    q = tl.load(qkv_ptr + q_row + head[:, None] * D + d[None, :], mask=inside, other=0.0)
    keys = keys_ptr + slot * cache_stride + h * P * D
    values = values_ptr + slot * cache_stride + h * P * D
    best = tl.full((BT * G,), -1e30, tl.float32)
    total = tl.zeros((BT * G,), tl.float32)
    acc = tl.zeros((BT * G, D), tl.float32)
    end = tl.minimum(start + first + BT, P)
    for at in range(0, end, BP):
        j = at + tl.arange(0, BP)
        known = (j < end)[:, None]
        key = tl.load(keys + j[:, None] * D + d[None, :], mask=known, other=0.0)
        value = tl.load(values + j[:, None] * D + d[None, :], mask=known, other=0.0)
        score = tl.dot(q, tl.trans(key), input_precision=PRECISION) * scale
        score = tl.where(j[None, :] <= (start + t)[:, None], score, -1e30)
        higher = tl.maximum(best, tl.max(score, 1))
        fade = tl.exp(best - higher)
        p = tl.exp(score - higher[:, None])
        total = total * fade + tl.sum(p, 1)
        best = higher
        acc = tl.dot(p.to(dtype), value, acc * fade[:, None], input_precision=PRECISION)
    out = (n * T + t)[:, None].to(tl.int64) * HK * G * D + head[:, None] * D + d[None, :]
    tl.store(y_ptr + out, (acc / total[:, None]).to(dtype), mask=inside)


@triton.jit
def copy_prefix_kernel(
    cache_ptr, prefixes_ptr, slot_ptr, voice_ptr, length_ptr, P, V, LAYERS2, rows,
    HK: tl.constexpr, D: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """cache[layer, k or v, slot, head, :length] = prefixes[voice, layer, k or v, head, :length].

    LAYERS2: layers times two. P, V: positions that a row and a prefix have room for.
    """
    n = tl.program_id(0)
    plane = tl.program_id(1).to(tl.int64)
    p = tl.program_id(2) * BP + tl.arange(0, BP)
    d = tl.arange(0, D)
    slot = tl.load(slot_ptr + n).to(tl.int64)
    voice = tl.load(voice_ptr + n).to(tl.int64)
    inside = (p < tl.load(length_ptr + n))[:, None]
    layer = plane // HK
    h = plane % HK
    source = prefixes_ptr + ((voice * LAYERS2 + layer) * HK + h) * V * D
    x = tl.load(source + p[:, None] * D + d[None, :], mask=inside, other=0.0)
    target = cache_ptr + ((layer * rows + slot) * HK + h) * P * D
    tl.store(target + p[:, None] * D + d[None, :], x, mask=inside)
