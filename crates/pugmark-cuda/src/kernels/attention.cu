// Attention inside windows: a block is one head in one window, whose tokens it keeps in shared memory.
// Products are made from pieces of 4 x 4 or 2 x 4 sums a thread, read by 16 bytes, so that the shared memory
// keeps up with the arithmetic.

// Most tokens of a window and most channels of a head.
#define ATTENTION_TOKENS 64
#define ATTENTION_DEPTH 32
// Quads of a token's channels, and of a query's scores. The spare one puts neighbouring rows into different
// banks.
#define ATTENTION_ROW (ATTENTION_DEPTH / 4 + 1)
#define ATTENTION_SCORES (ATTENTION_TOKENS / 4 + 1)
// Most entries of a head's table.
#define ATTENTION_TABLE 225
// In place of the pixel of a token that is padding.
#define ATTENTION_PADDING 0xffffffffu

// What a block treats.
struct AttentionHead {
    // The window, counted over all images, and the first pixel of its image.
    u64 window, first;
    u32 head, depth, side, tokens, entries;
};

// What a block knows of each token: its pixel in the image; and its place, the position in the window as the
// table counts with the part of the window above: bit 16 behind a seam from left to right, bit 17 behind one
// from top to bottom.
struct AttentionTokens {
    u32 pixel[ATTENTION_TOKENS], place[ATTENTION_TOKENS];
    float table[ATTENTION_TABLE];
};

// 4 values of a pixel.
struct alignas(4 * sizeof(T)) AttentionValues {
    T of[4];
};

struct alignas(8) AttentionPair {
    float of[2];
};

// Sums of pairs of tokens: queries from attention_query() on, keys 16 apart from attention_key() on.
struct AttentionTile {
    float of[4][4];
};

__device__ inline u32 attention_query() { return threadIdx.x / 16 * 4; }
__device__ inline u32 attention_key() { return threadIdx.x % 16; }

// The score of a tile's pair.
__device__ inline float* attention_score(Quad* scores, u32 i, u32 j) {
    return (float*)scores + (attention_query() + i) * ATTENTION_SCORES * 4 + attention_key() + 16 * j;
}

// Sums of tokens: two of them from attention_token() on, the channels of attention_quad().
struct AttentionRows {
    Quad of[2];
};

__device__ inline u32 attention_token() { return threadIdx.x / 8 * 2; }
__device__ inline u32 attention_quad() { return threadIdx.x % 8; }

// Afterwards the block's threads must meet.
__device__ inline AttentionHead attention_head(u32 height, u32 width, u32 channels, u32 heads, u32 side, u32 shift, const float* table, AttentionTokens* tokens) {
    u32 rows = (height + side - 1) / side, columns = (width + side - 1) / side;
    u32 window = blockIdx.x / heads, head = blockIdx.x - window * heads;
    u32 image = window / (rows * columns), rest = window - image * rows * columns;
    u32 row = rest / columns, column = rest - row * columns;
    // A side that is one window is not rolled.
    u32 down = rows > 1 ? shift : 0, right = columns > 1 ? shift : 0;
    u32 entries = (2 * side - 1) * (2 * side - 1), token = threadIdx.x;
    if (token < side * side) {
        u32 y = token / side, x = token - y * side;
        u32 at_y = (row * side + y + down) % (rows * side), at_x = (column * side + x + right) % (columns * side);
        tokens->pixel[token] = at_y < height && at_x < width ? at_y * width + at_x : ATTENTION_PADDING;
        // What was rolled is in the last window of a side, at its end.
        u32 below = row + 1 == rows && y + down >= side, beside = column + 1 == columns && x + right >= side;
        tokens->place[token] = below << 17 | beside << 16 | (y * (2 * side - 1) + x);
    }
    for (u32 i = threadIdx.x; i < entries; i += BLOCK) tokens->table[i] = table[head * entries + i];
    return AttentionHead{window, (u64)image * height * width, head, channels / heads, side, side * side, entries};
}

// rows[token] := scale * its channels, `channel` and the next ones of a pixel of x. Those of padding are in
// `padding`, or 0 without it; zeros fill the rows up.
__device__ inline void attention_gather(const AttentionHead& h, const AttentionTokens& tokens, const T* x, u32 pixel_len, u32 channel, const float* padding, float scale, Quad* rows) {
    const u32 parts = ATTENTION_DEPTH / SEVERAL;
    for (u32 i = threadIdx.x; i < ATTENTION_TOKENS * parts; i += BLOCK) {
        u32 token = i / parts, c = i % parts * SEVERAL;
        u32 count = token < h.tokens && c < h.depth ? several_of(h.depth - c) : 0;
        Floats values = {};
        if (count != 0 && tokens.pixel[token] != ATTENTION_PADDING) {
            Several in = several_load(x + (h.first + tokens.pixel[token]) * pixel_len + channel + c, count);
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) values.of[k] = load(in.of + k) * scale;
        } else if (count != 0 && padding) {
            values = channel_values(padding + channel + c, count);
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) values.of[k] *= scale;
        }
#pragma unroll
        for (u32 k = 0; k < SEVERAL; k += 4)
            rows[token * ATTENTION_ROW + (c + k) / 4] = Quad{{values.of[k], values.of[k + 1], values.of[k + 2], values.of[k + 3]}};
    }
}

// The products of each of `a` with each of `b`, over the channels.
__device__ inline AttentionTile attention_pairs(const AttentionHead& h, const Quad* a, const Quad* b) {
    AttentionTile tile = {};
    if (attention_query() >= h.tokens) return tile;
    a += attention_query() * ATTENTION_ROW;
    b += attention_key() * ATTENTION_ROW;
    for (u32 c = 0; c < (h.depth + 3) / 4; c++) {
        Quad left[4];
#pragma unroll
        for (u32 i = 0; i < 4; i++) left[i] = a[i * ATTENTION_ROW + c];
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            Quad right = b[16 * j * ATTENTION_ROW + c];
#pragma unroll
            for (u32 i = 0; i < 4; i++)
#pragma unroll
                for (u32 k = 0; k < 4; k++) tile.of[i][j] += left[i].of[k] * right.of[k];
        }
    }
    return tile;
}

__device__ inline void attention_add(Quad* sums, float weight, const Quad& row) {
#pragma unroll
    for (u32 c = 0; c < 4; c++) sums->of[c] += weight * row.of[c];
}

// For each query the sum of the keys' rows by its scores.
__device__ inline AttentionRows attention_by_query(const AttentionHead& h, const Quad* scores, const Quad* rows) {
    AttentionRows sums = {};
    if (attention_token() >= h.tokens) return sums;
    scores += attention_token() * ATTENTION_SCORES;
    rows += attention_quad();
    for (u32 key = 0; key < h.tokens; key += 4) {
        Quad first = scores[key / 4], second = scores[ATTENTION_SCORES + key / 4];
#pragma unroll
        for (u32 k = 0; k < 4; k++) {
            Quad row = rows[(key + k) * ATTENTION_ROW];
            attention_add(sums.of, first.of[k], row);
            attention_add(sums.of + 1, second.of[k], row);
        }
    }
    return sums;
}

// For each key the sum of the queries' rows by their scores for it.
__device__ inline AttentionRows attention_by_key(const AttentionHead& h, const Quad* scores, const Quad* rows) {
    AttentionRows sums = {};
    if (attention_token() >= h.tokens) return sums;
    const float* weights = (const float*)scores + attention_token();
    rows += attention_quad();
#pragma unroll 4
    for (u32 query = 0; query < h.tokens; query++) {
        AttentionPair pair = *(const AttentionPair*)(weights + query * ATTENTION_SCORES * 4);
        Quad row = rows[query * ATTENTION_ROW];
        attention_add(sums.of, pair.of[0], row);
        attention_add(sums.of + 1, pair.of[1], row);
    }
    return sums;
}

// scores := query * key^T + bias, and -100 for tokens that a seam parts.
__device__ inline void attention_scores(const AttentionHead& h, const AttentionTokens& tokens, const Quad* query, const Quad* key, Quad* scores) {
    AttentionTile tile = attention_pairs(h, query, key);
    // The entry of no difference.
    u32 middle = (h.side - 1) * 2 * h.side;
#pragma unroll
    for (u32 i = 0; i < 4; i++)
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            u32 q = attention_query() + i, k = attention_key() + 16 * j;
            if (q >= h.tokens || k >= h.tokens) continue;
            u32 of_q = tokens.place[q], of_k = tokens.place[k];
            float bias = tokens.table[middle + (of_q & 0xffff) - (of_k & 0xffff)];
            float mask = of_q >> 16 != of_k >> 16 ? -100.0f : 0.0f;
            *attention_score(scores, i, j) = tile.of[i][j] + bias + mask;
        }
}

// Each row of scores := its softmax, filled up with zeros. Four threads share a row; `spare` has room for a
// value of each.
__device__ inline void attention_softmax(const AttentionHead& h, Quad* scores, float* spare) {
    const u32 count = ATTENTION_TOKENS / 4;
    u32 query = threadIdx.x / 4, lane = threadIdx.x % 4;
    float* row = (float*)scores + query * ATTENTION_SCORES * 4 + lane;
    const float* shared = spare + query * 4;
    bool inside = query < h.tokens;
    float values[count], most = -__int_as_float(0x7f800000), sum = 0.0f;
#pragma unroll
    for (u32 k = 0; k < count; k++) {
        values[k] = inside && lane + 4 * k < h.tokens ? row[4 * k] : 0.0f;
        if (lane + 4 * k < h.tokens) most = fmaxf(most, values[k]);
    }
    spare[threadIdx.x] = most;
    __syncthreads();
    most = fmaxf(fmaxf(shared[0], shared[1]), fmaxf(shared[2], shared[3]));
#pragma unroll
    for (u32 k = 0; k < count; k++) {
        values[k] = lane + 4 * k < h.tokens ? expf(values[k] - most) : 0.0f;
        sum += values[k];
    }
    __syncthreads();
    spare[threadIdx.x] = sum;
    __syncthreads();
    float inverse = 1.0f / (shared[0] + shared[1] + (shared[2] + shared[3]));
#pragma unroll
    for (u32 k = 0; k < count; k++)
        if (inside) row[4 * k] = values[k] * inverse;
}

// For each of the thread's queries the sum of share * gradient over its keys, of which 16 threads hold some.
// `spare` has room for 17 values a token.
__device__ inline Quad attention_means(const AttentionTile& shares, const AttentionTile& gradients, float* spare) {
    Quad means = {};
    float* rows = spare + attention_query() * 17;
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        float sum = 0.0f;
#pragma unroll
        for (u32 j = 0; j < 4; j++) sum += shares.of[i][j] * gradients.of[i][j];
        rows[i * 17 + attention_key()] = sum;
    }
    __syncthreads();
#pragma unroll
    for (u32 i = 0; i < 4; i++)
        for (u32 k = 0; k < 16; k++) means.of[i] += rows[i * 17 + k];
    return means;
}

// Writes the rows to their tokens' pixels, or adds them; `channel` is the head's first. What belongs to
// padding is dropped.
__device__ inline void attention_scatter(const AttentionHead& h, const AttentionTokens& tokens, const AttentionRows& rows, T* y, u32 pixel_len, u32 channel, int accumulate) {
    u32 c = attention_quad() * 4;
    if (c >= h.depth) return;
    u32 count = h.depth - c < 4 ? h.depth - c : 4;
#pragma unroll
    for (u32 i = 0; i < 2; i++) {
        u32 token = attention_token() + i;
        if (token >= h.tokens || tokens.pixel[token] == ATTENTION_PADDING) continue;
        T* at = y + (h.first + tokens.pixel[token]) * pixel_len + channel + c;
        bool whole = count == 4 && ((u64)at & (sizeof(AttentionValues) - 1)) == 0;
        AttentionValues out = {};
        if (accumulate && whole) out = *(AttentionValues*)at;
#pragma unroll
        for (u32 k = 0; k < 4; k++) {
            if (accumulate && !whole && k < count) out.of[k] = at[k];
            store(out.of + k, accumulate ? load(out.of + k) + rows.of[i].of[k] : rows.of[i].of[k]);
            if (!whole && k < count) at[k] = out.of[k];
        }
        if (whole) *(AttentionValues*)at = out;
    }
}

__device__ inline void attention_keep(const AttentionRows& rows, Quad* kept) {
#pragma unroll
    for (u32 i = 0; i < 2; i++) kept[(attention_token() + i) * ATTENTION_ROW + attention_quad()] = rows.of[i];
}

// sums[channel] := the sum of the rows of padding.
__device__ inline void attention_padding(const AttentionHead& h, const AttentionTokens& tokens, const Quad* rows, u32 channel, float* sums) {
    float sum = 0.0f;
    for (u32 token = 0; token < h.tokens; token++)
        if (tokens.pixel[token] == ATTENTION_PADDING) sum += ((const float*)rows)[token * ATTENTION_ROW * 4 + channel];
    sums[channel] = sum;
}

// sums[entry] := the sum of the scores whose query and key are as far apart as the entry says.
__device__ inline void attention_table(const AttentionHead& h, const Quad* scores, float* sums) {
    int side = h.side, wide = 2 * side - 1, entry = threadIdx.x;
    if (entry >= wide * wide) return;
    int y = entry / wide - (side - 1), x = entry % wide - (side - 1);
    float sum = 0.0f;
    for (int row = y > 0 ? y : 0; row < side + (y < 0 ? y : 0); row++)
        for (int column = x > 0 ? x : 0; column < side + (x < 0 ? x : 0); column++) {
            int query = row * side + column, key = query - y * side - x;
            sum += ((const float*)scores)[query * ATTENTION_SCORES * 4 + key];
        }
    sums[entry] = sum;
}

extern "C" __global__ void __launch_bounds__(BLOCK) window_attention_forward(u32 height, u32 width, u32 channels, u32 heads, u32 side, u32 shift, const T* x, const float* padding, const float* table, T* y) {
    __shared__ Quad query[ATTENTION_TOKENS * ATTENTION_ROW], key[ATTENTION_TOKENS * ATTENTION_ROW], value[ATTENTION_TOKENS * ATTENTION_ROW];
    __shared__ Quad scores[ATTENTION_TOKENS * ATTENTION_SCORES];
    __shared__ AttentionTokens tokens;
    __shared__ float spare[BLOCK];
    AttentionHead h = attention_head(height, width, channels, heads, side, shift, table, &tokens);
    u32 channel = h.head * h.depth;
    __syncthreads();
    attention_gather(h, tokens, x, 3 * channels, channel, padding, 1.0f / sqrtf((float)h.depth), query);
    attention_gather(h, tokens, x, 3 * channels, channels + channel, padding, 1.0f, key);
    attention_gather(h, tokens, x, 3 * channels, 2 * channels + channel, padding, 1.0f, value);
    __syncthreads();
    attention_scores(h, tokens, query, key, scores);
    __syncthreads();
    attention_softmax(h, scores, spare);
    __syncthreads();
    attention_scatter(h, tokens, attention_by_query(h, scores, value), y, channels, channel, 0);
}

// dx; and for each window a row of `len` sums: gradients of each head's table, then, if there is room, of the
// padding.
extern "C" __global__ void __launch_bounds__(BLOCK) window_attention_backward(u32 height, u32 width, u32 channels, u32 heads, u32 side, u32 shift, const T* dy, const T* x, const float* padding, const float* table, T* dx, int accumulate, float* sums, u64 len) {
    // Three places, for there is no room for query, key, value and gradient at once; `a` and `b` are used
    // again.
    __shared__ Quad a[ATTENTION_TOKENS * ATTENTION_ROW], b[ATTENTION_TOKENS * ATTENTION_ROW], key[ATTENTION_TOKENS * ATTENTION_ROW];
    __shared__ Quad scores[ATTENTION_TOKENS * ATTENTION_SCORES];
    __shared__ AttentionTokens tokens;
    __shared__ float spare[BLOCK];
    AttentionHead h = attention_head(height, width, channels, heads, side, shift, table, &tokens);
    u32 channel = h.head * h.depth;
    float scale = 1.0f / sqrtf((float)h.depth);
    float* row = sums + h.window * len;
    bool padded = len > (u64)heads * h.entries;
    __syncthreads();
    attention_gather(h, tokens, x, 3 * channels, channel, padding, scale, a);
    attention_gather(h, tokens, x, 3 * channels, channels + channel, padding, 1.0f, key);
    // What padding would have put out is dropped.
    attention_gather(h, tokens, dy, channels, channel, 0, 1.0f, b);
    __syncthreads();
    attention_scores(h, tokens, a, key, scores);
    __syncthreads();
    attention_softmax(h, scores, spare);
    attention_gather(h, tokens, x, 3 * channels, 2 * channels + channel, padding, 1.0f, a);
    __syncthreads();
    // Of the value; then of the shares.
    AttentionRows rows = attention_by_key(h, scores, b);
    attention_scatter(h, tokens, rows, dx, 3 * channels, 2 * channels + channel, accumulate);
    AttentionTile gradients = attention_pairs(h, b, a), shares = {};
#pragma unroll
    for (u32 i = 0; i < 4; i++)
#pragma unroll
        for (u32 j = 0; j < 4; j++)
            if (attention_query() + i < h.tokens) shares.of[i][j] = *attention_score(scores, i, j);
    __syncthreads();
    Quad means = attention_means(shares, gradients, (float*)a);
    // Scores become their gradients.
#pragma unroll
    for (u32 i = 0; i < 4; i++)
#pragma unroll
        for (u32 j = 0; j < 4; j++)
            if (attention_query() + i < h.tokens)
                *attention_score(scores, i, j) = shares.of[i][j] * (gradients.of[i][j] - means.of[i]);
    attention_gather(h, tokens, x, 3 * channels, channel, padding, scale, b);
    __syncthreads();
    if (padded) attention_keep(rows, a);
    rows = attention_by_query(h, scores, key);
#pragma unroll
    for (u32 i = 0; i < 2; i++)
        for (u32 c = 0; c < 4; c++) rows.of[i].of[c] *= scale;
    attention_scatter(h, tokens, rows, dx, 3 * channels, channel, accumulate);
    AttentionRows of_key = attention_by_key(h, scores, b);
    attention_scatter(h, tokens, of_key, dx, 3 * channels, channels + channel, accumulate);
    attention_table(h, scores, row + h.head * h.entries);
    if (!padded) return;
    __syncthreads();
    attention_keep(rows, b);
    attention_keep(of_key, key);
    __syncthreads();
    u32 part = threadIdx.x / ATTENTION_DEPTH, c = threadIdx.x % ATTENTION_DEPTH;
    row += (u64)heads * h.entries + part * channels + channel;
    if (part < 3 && c < h.depth) attention_padding(h, tokens, part == 0 ? b : part == 1 ? key : a, c, row);
}

// partial[chunk][value] := the sum over `chunk` of the rows.
extern "C" __global__ void window_attention_rows(u64 rows, u64 len, u64 chunk, const float* sums, float* partial) {
    u64 at = index(), part = at / len, value = at - part * len;
    u64 begin = part * chunk, end = begin + chunk < rows ? begin + chunk : rows;
    if (begin >= rows) return;
    float sum = 0.0f;
#pragma unroll 4
    for (u64 row = begin; row < end; row++) sum += sums[row * len + value];
    partial[at] = sum;
}

// A block sums one value of all chunks; values beyond their length are 0. The first `entries` are the
// tables'.
extern "C" __global__ void __launch_bounds__(BLOCK) window_attention_total(u64 chunks, u64 len, u64 entries, const float* partial, float* dtable, float* dpadding) {
    u64 value = blockIdx.x;
    double sum = 0.0;
    if (value < len)
        for (u64 chunk = threadIdx.x; chunk < chunks; chunk += BLOCK) sum += partial[chunk * len + value];
    sum = block_sum(sum);
    if (threadIdx.x != 0) return;
    if (value < entries)
        dtable[value] = (float)sum;
    else
        dpadding[value - entries] = (float)sum;
}
