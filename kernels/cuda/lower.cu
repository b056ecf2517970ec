/* What LoRA's A matrices make of their input, and its gradients: products by cuBLAS, of what one
 * kernel leaves of the input under every adapter's dropout, having read it once. */
#include "kernels/cuda/vector.h"

#include "common/math/philox.h"

enum { DROPOUT_THREADS = 128 };

/* The dropouts of a kernel: `n` of them, of one rate. */
struct dropouts {
    struct dropout of[MOST_LOWERED];
    int n;
    uint32_t threshold;
    float scale; /* of what is kept */
};

static struct dropouts dropouts_of(const struct dropout *of, int n, float scale)
{
    struct dropouts o = {};
    for (int i = 0; i < n; i++)
        o.of[i] = of[i];
    o.n = n;
    o.threshold = dropout_threshold(of->rate);
    o.scale = scale;
    return o;
}

/* The numbers of four columns of the block's row, from one counter. */
static __device__ inline struct philox four_columns(const struct dropout *o, uint32_t group)
{
    uint32_t number = o->row_numbers ? (uint32_t)o->row_numbers[blockIdx.x] : blockIdx.x;
    return philox4x32({{group, number, o->stream, o->step}}, (uint32_t)o->seed,
                      (uint32_t)(o->seed >> 32));
}

/* out[i] = what dropout i leaves of x, times the scale: [n][rows, width]. A block for each row, a
 * thread for four columns. */
template <int V, typename T>
static __global__ void drop_rows(struct dropouts o, const T *x, int rows, int width, T *out)
{
    uint32_t group = blockIdx.y * blockDim.x + threadIdx.x;
    int first = (int)group * 4;
    if (first >= width)
        return;
    size_t at = (size_t)blockIdx.x * (size_t)width + (size_t)first;
    vector<float, V> a[4 / V];
#pragma unroll
    for (int i = 0; i < 4; i += V)
        if (first + i < width)
            a[i / V] = load<V>(x + at + i);
#pragma unroll
    for (int k = 0; k < MOST_LOWERED; k++) {
        if (k == o.n)
            break;
        struct philox random = four_columns(&o.of[k], group);
#pragma unroll
        for (int i = 0; i < 4; i += V) {
            vector<float, V> left;
#pragma unroll
            for (int j = 0; j < V; j++)
                left.at[j] = random.v[i + j] >= o.threshold ? a[i / V].at[j] * o.scale : 0.0f;
            if (first + i < width)
                store<V>(out + at + i, left);
        }
        out += (size_t)rows * (size_t)width;
    }
}

/* to += what the first dropout leaves of x, times the scale. */
template <int V>
static __global__ void add_dropped_rows(struct dropouts o, const float *x, int width, float *to)
{
    uint32_t group = blockIdx.y * blockDim.x + threadIdx.x;
    int first = (int)group * 4;
    if (first >= width)
        return;
    size_t at = (size_t)blockIdx.x * (size_t)width + (size_t)first;
    struct philox random = four_columns(&o.of[0], group);
#pragma unroll
    for (int i = 0; i < 4; i += V) {
        if (first + i >= width)
            break;
        vector<float, V> a = load<V>(x + at + i), sum = load<V>(to + at + i);
#pragma unroll
        for (int j = 0; j < V; j++)
            sum.at[j] += random.v[i + j] >= o.threshold ? a.at[j] * o.scale : 0.0f;
        store<V>(to + at + i, sum);
    }
}

static dim3 dropout_grid(int rows, int width)
{
    return dim3((unsigned)rows, (unsigned)div_up((size_t)width, 4 * DROPOUT_THREADS));
}

template <typename T>
static void drop_of(struct device *d, const struct dropouts *o, const T *x, int rows, int width,
                    T *out)
{
    bool four = width % 4 == 0 && fours(x, out);
    auto drop = four ? drop_rows<4, T> : drop_rows<1, T>;
    LAUNCH(d, drop, dropout_grid(rows, width), DROPOUT_THREADS, 0, *o, x, rows, width, out);
}

/* What n dropouts leave of x in `out`: [n][rows, in]. Returns what products of it are yet to be
 * multiplied by: a bf16 number that was multiplied would be rounded again. */
static float drop_input(struct device *d, const struct dropout *of, int n, const void *x,
                        enum dtype type, int rows, int in, void *out)
{
    float scale = dropout_scale(of->rate);
    struct dropouts o = dropouts_of(of, n, type == F32 ? scale : 1);
    if (type == F32)
        drop_of(d, &o, static_cast<const float *>(x), rows, in, static_cast<float *>(out));
    else
        drop_of(d, &o, static_cast<const bf16 *>(x), rows, in, static_cast<bf16 *>(out));
    return type == F32 ? 1 : scale;
}

void cuda_lower(struct device *d, const struct lowering *l)
{
    if (l->rows == 0)
        return;
    size_t size = dtype_size(l->type), in = (size_t)l->in;
    struct matrix_product p = {};
    p.type = l->type;
    p.transpose_b = true;
    p.m = l->rows;
    p.n = lowered_width(l);
    p.k = l->in;
    p.scale = 1;
    p.a = l->x;
    p.b = l->a;
    p.a_step = p.b_step = in;
    p.c = l->low;
    p.c_step = (size_t)p.n;
    if (!(l->dropout[0].rate > 0)) {
        cuda_gemm(d, &p);
        return;
    }
    p.scale = drop_input(d, l->dropout, l->n, l->x, l->type, l->rows, l->in, l->work);
    p.a = l->work;
    for (int i = 0; i < l->n; i++) {
        p.n = l->ranks[i];
        cuda_gemm(d, &p);
        p.a = static_cast<const char *>(p.a) + (size_t)l->rows * in * size;
        p.b = static_cast<const char *>(p.b) + (size_t)p.n * in * size;
        p.c += p.n;
    }
}

/* ---- gradients ---- */

static void add_dropped(struct device *d, const struct dropout *of, const float *x, int rows,
                        int width, float *to)
{
    struct dropouts o = dropouts_of(of, 1, dropout_scale(of->rate));
    bool four = width % 4 == 0 && fours(x, to);
    auto add = four ? add_dropped_rows<4> : add_dropped_rows<1>;
    LAUNCH(d, add, dropout_grid(rows, width), DROPOUT_THREADS, 0, o, x, width, to);
}

void cuda_lower_backward(struct device *d, const struct lowering_backward *b)
{
    if (b->rows == 0)
        return;
    bool drops = b->dropout.rate > 0;
    struct matrix_product p = {};
    p.type = b->type;
    p.transpose_a = true;
    p.m = b->rank;
    p.n = b->in;
    p.k = b->rows;
    p.scale = 1;
    p.a = b->d_low;
    p.b = b->x;
    p.a_step = (size_t)b->rank;
    p.b_step = p.c_step = (size_t)b->in;
    p.c = b->da;
    p.accumulate = true;
    if (drops) {
        p.scale = drop_input(d, &b->dropout, 1, b->x, b->type, b->rows, b->in, b->work);
        p.b = b->work;
    }
    cuda_gemm(d, &p);
    if (!b->dx)
        return;
    p.transpose_a = false;
    p.m = b->rows;
    p.k = b->rank;
    p.scale = 1;
    p.b = b->a;
    p.c = drops ? static_cast<float *>(b->work) : b->dx;
    p.accumulate = !drops;
    cuda_gemm(d, &p);
    if (drops)
        add_dropped(d, &b->dropout, static_cast<const float *>(b->work), b->rows, b->in, b->dx);
}
