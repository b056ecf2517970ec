/* Operations that treat rows, or elements, one by one: embedding, gather, RMSNorm, rotary
 * positions, gated linear units, caps, class logits. Each is bound by memory. */
#include "kernels/cuda/vector.h"

/* ---- embedding and gather: a block for each row ---- */

template <int V, typename T>
static __global__ void copy_rows(const T *from, const int32_t *rows, int width, float *to)
{
    from += (size_t)rows[blockIdx.x] * (size_t)width;
    to += (size_t)blockIdx.x * (size_t)width;
    for (int i = (int)threadIdx.x * V; i < width; i += (int)blockDim.x * V)
        store<V>(to + i, load<V>(from + i));
}

template <typename T>
static void copy_rows_of(struct device *d, const T *from, const int32_t *rows, int n, int width,
                         float *to)
{
    if (n == 0)
        return;
    bool four = width % 4 == 0 && fours(from, to);
    auto copy = four ? copy_rows<4, T> : copy_rows<1, T>;
    LAUNCH(d, copy, (unsigned)n, row_threads((size_t)width / (four ? 4 : 1)), 0, from, rows, width,
           to);
}

void cuda_embed(struct device *d, const void *table, enum dtype stored, int width,
                const int32_t *ids, int n, float *out)
{
    if (stored == F32)
        copy_rows_of(d, static_cast<const float *>(table), ids, n, width, out);
    else if (stored == BF16)
        copy_rows_of(d, static_cast<const bf16 *>(table), ids, n, width, out);
    else
        copy_rows_of(d, static_cast<const f16 *>(table), ids, n, width, out);
}

void cuda_gather(struct device *d, const float *from, const int32_t *rows, int n, int width,
                 float *to)
{
    copy_rows_of(d, from, rows, n, width, to);
}

/* ---- RMSNorm: a block for each row ---- */

template <int V, typename T>
static __global__ void rmsnorm_rows(const float *x, const float *gain, float eps, int width, T *out)
{
    SHARED(float, sums, WARP);
    x += (size_t)blockIdx.x * (size_t)width;
    out += (size_t)blockIdx.x * (size_t)width;
    int first = (int)threadIdx.x * V, step = (int)blockDim.x * V;
    float squares = 0;
    for (int i = first; i < width; i += step) {
        vector<float, V> a = load<V>(x + i);
#pragma unroll
        for (int j = 0; j < V; j++)
            squares += a.at[j] * a.at[j];
    }
    float scale = 1.0f / sqrtf(block_sum(squares, sums) / (float)width + eps);
    for (int i = first; i < width; i += step) {
        vector<float, V> a = load<V>(x + i), g = load<V>(gain + i);
#pragma unroll
        for (int j = 0; j < V; j++)
            a.at[j] = g.at[j] * (a.at[j] * scale);
        store<V>(out + i, a);
    }
}

template <typename T>
static void rmsnorm_of(struct device *d, const float *x, const float *gain, float eps, int rows,
                       int width, T *out)
{
    if (rows == 0)
        return;
    bool four = width % 4 == 0 && fours(x, gain, out);
    auto rmsnorm = four ? rmsnorm_rows<4, T> : rmsnorm_rows<1, T>;
    LAUNCH(d, rmsnorm, (unsigned)rows, row_threads((size_t)width / (four ? 4 : 1)), 0, x, gain, eps,
           width, out);
}

void cuda_rmsnorm(struct device *d, const float *x, const float *gain, float eps, int rows,
                  int width, void *out, enum dtype out_type)
{
    if (out_type == F32)
        rmsnorm_of(d, x, gain, eps, rows, width, static_cast<float *>(out));
    else
        rmsnorm_of(d, x, gain, eps, rows, width, static_cast<bf16 *>(out));
}

/* ---- rotary positions: a block for each row, its threads over heads and pairs ---- */

template <int V>
static __global__ void rope_rows(float *x, int heads, int head_dim, int half,
                                 const int32_t *positions, const float *cosine, const float *sine)
{
    x += (size_t)blockIdx.x * (size_t)heads * (size_t)head_dim;
    size_t angle = (size_t)positions[blockIdx.x] * (size_t)half;
    int pairs = heads * half;
    for (int p = (int)threadIdx.x * V; p < pairs; p += (int)blockDim.x * V) {
        int head = p / half, i = p % half;
        float *low = x + (size_t)head * (size_t)head_dim + i, *high = low + half;
        vector<float, V> a = load<V>(low), b = load<V>(high);
        vector<float, V> c = load<V>(cosine + angle + i), s = load<V>(sine + angle + i);
        vector<float, V> turned_a, turned_b;
#pragma unroll
        for (int j = 0; j < V; j++) {
            turned_a.at[j] = a.at[j] * c.at[j] - b.at[j] * s.at[j];
            turned_b.at[j] = b.at[j] * c.at[j] + a.at[j] * s.at[j];
        }
        store<V>(low, turned_a);
        store<V>(high, turned_b);
    }
}

void cuda_rope(struct device *d, float *x, int rows, int heads, int head_dim, int dims,
               const int32_t *positions, const float *cosine, const float *sine)
{
    if (rows == 0)
        return;
    int half = dims / 2;
    bool four = half % 4 == 0 && head_dim % 4 == 0 && fours(x, cosine, sine);
    auto rope = four ? rope_rows<4> : rope_rows<1>;
    LAUNCH(d, rope, (unsigned)rows, row_threads((size_t)(heads * half / (four ? 4 : 1))), 0, x,
           heads, head_dim, half, positions, cosine, sine);
}

/* ---- gated linear units and caps ---- */

template <int V, typename T>
static __global__ void glu_elements(enum activation activation, const float *gate, const float *up,
                                    size_t n, T *out)
{
    size_t first = flat_index<V>();
    if (first >= n)
        return;
    vector<float, V> g = load_of<V>(gate + first, n - first);
    vector<float, V> u = load_of<V>(up + first, n - first);
#pragma unroll
    for (int j = 0; j < V; j++)
        u.at[j] *= g.at[j] / gate_divisor(activation, g.at[j]);
    store_of<V>(out + first, n - first, u);
}

template <typename T>
static void glu_of(struct device *d, enum activation activation, const float *gate, const float *up,
                   size_t n, T *out)
{
    bool four = fours(gate, up, out);
    auto glu = four ? glu_elements<4, T> : glu_elements<1, T>;
    LAUNCH(d, glu, flat_blocks(n, four), FLAT_THREADS, 0, activation, gate, up, n, out);
}

void cuda_glu(struct device *d, enum activation activation, const float *gate, const float *up,
              size_t n, void *out)
{
    if (n == 0)
        return;
    if (d->compute == F32)
        glu_of(d, activation, gate, up, n, static_cast<float *>(out));
    else
        glu_of(d, activation, gate, up, n, static_cast<bf16 *>(out));
}

static __global__ void cap_elements(float cap, float *x, size_t n)
{
    size_t i = flat_index<1>();
    if (i < n)
        x[i] = cap * tanhf(x[i] / cap);
}

void cuda_cap(struct device *d, float cap, float *x, size_t n)
{
    if (n)
        LAUNCH(d, cap_elements, flat_blocks(n, false), FLAT_THREADS, 0, cap, x, n);
}

template <int V>
static __global__ void add_elements(float factor, const float *from, float *to, size_t n)
{
    size_t first = flat_index<V>();
    if (first >= n)
        return;
    vector<float, V> a = load_of<V>(from + first, n - first), b = load_of<V>(to + first, n - first);
#pragma unroll
    for (int j = 0; j < V; j++)
        b.at[j] += factor * a.at[j];
    store_of<V>(to + first, n - first, b);
}

void cuda_add(struct device *d, float factor, const float *from, float *to, size_t n)
{
    if (n == 0)
        return;
    bool four = fours(from, to);
    auto add = four ? add_elements<4> : add_elements<1>;
    LAUNCH(d, add, flat_blocks(n, four), FLAT_THREADS, 0, factor, from, to, n);
}

/* ---- class logits: a warp for each row and class ---- */

enum { CLASS_LOGITS_THREADS = 128, CLASS_LOGITS_WARPS = CLASS_LOGITS_THREADS / WARP };

template <int V>
static __global__ void dot_rows(const float *h, const float *w, size_t pairs, int classes,
                                int width, float *logits)
{
    size_t pair = (size_t)blockIdx.x * CLASS_LOGITS_WARPS + threadIdx.x / WARP;
    if (pair >= pairs) /* the whole warp */
        return;
    h += pair / (size_t)classes * (size_t)width;
    w += pair % (size_t)classes * (size_t)width;
    int lane = (int)threadIdx.x % WARP;
    float sum = 0;
    for (int i = lane * V; i < width; i += WARP * V) {
        vector<float, V> a = load<V>(h + i), b = load<V>(w + i);
#pragma unroll
        for (int j = 0; j < V; j++)
            sum += a.at[j] * b.at[j];
    }
    sum = warp_sum(sum);
    if (lane == 0)
        logits[pair] = sum;
}

void cuda_class_logits(struct device *d, const float *h, int rows, const float *w, int classes,
                       int width, float *logits)
{
    size_t pairs = (size_t)rows * (size_t)classes;
    if (pairs == 0)
        return;
    auto class_logits = width % 4 == 0 && fours(h, w) ? dot_rows<4> : dot_rows<1>;
    LAUNCH(d, class_logits, (unsigned)div_up(pairs, CLASS_LOGITS_WARPS), CLASS_LOGITS_THREADS, 0, h,
           w, pairs, classes, width, logits);
}
