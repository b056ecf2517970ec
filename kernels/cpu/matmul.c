/* Products with the model's weights, by oneDNN: its C API of version 2 and of version 3 both, and
 * nowhere else.
 *
 * Weights are multiplied in a layout of oneDNN's choosing ("packed"). In bf16 they are packed once.
 * In f32 they are packed anew for every product: that costs some 5 % at 2,000 rows and spares a
 * copy twice the size of a bf16 model. The layout is fixed by one shape, so it is the same for
 * every number of rows. */
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "kernels/cpu/cpu.h"

#include <dnnl.h>
#include <stdlib.h>

struct weight {
    const void *data; /* [out, in] as stored */
    enum dtype stored;
    int out, in;
    void *packed; /* NULL in f32 */
};

/* oneDNN's state and the buffers of the f32 path. */
static struct {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    void *packed, *plain;
    size_t packed_size, plain_size;
} mm;

#define CHECK(call) check((call), #call)

static void check(dnnl_status_t status, const char *call)
{
    if (status == dnnl_unimplemented)
        die(EX_UNAVAILABLE,
            "this processor or this oneDNN cannot do the product asked for; try --compute f32");
    if (status != dnnl_success)
        die(EX_SOFTWARE, "oneDNN: status %d from %s", (int)status, call);
}

static dnnl_data_type_t dnnl_type(enum dtype t)
{
    return t == F32 ? dnnl_f32 : t == BF16 ? dnnl_bf16 : dnnl_f16;
}

/* ---- the two C APIs: memory descriptors, and the descriptors of the two primitives used ---- */

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t layout;

static layout layout_strided(int rows, int columns, enum dtype t, int row_step, int column_step)
{
    layout l;
    CHECK(dnnl_memory_desc_create_with_strides(&l, 2, (dnnl_dims_t){rows, columns}, dnnl_type(t),
                                               (dnnl_dims_t){row_step, column_step}));
    return l;
}

static layout layout_any(int rows, int columns, enum dtype t)
{
    layout l;
    CHECK(dnnl_memory_desc_create_with_tag(&l, 2, (dnnl_dims_t){rows, columns}, dnnl_type(t),
                                           dnnl_format_tag_any));
    return l;
}

static layout layout_bias(int columns)
{
    return layout_strided(1, columns, F32, columns, 1);
}

static void layout_free(layout l)
{
    dnnl_memory_desc_destroy(l);
}

static layout weights_layout_of(const_dnnl_primitive_desc_t d)
{
    layout l;
    CHECK(dnnl_memory_desc_clone(&l, dnnl_primitive_desc_query_md(d, dnnl_query_weights_md, 0)));
    return l;
}

static size_t layout_bytes(layout l)
{
    return dnnl_memory_desc_get_size(l);
}

static dnnl_primitive_desc_t product_desc(layout x, layout w, layout bias, bool with_bias, layout y,
                                          const_dnnl_primitive_attr_t attr)
{
    dnnl_primitive_desc_t d;
    CHECK(dnnl_matmul_primitive_desc_create(&d, mm.engine, x, w, with_bias ? bias : NULL, y, attr));
    return d;
}

static dnnl_primitive_desc_t reorder_desc(layout from, layout to)
{
    dnnl_primitive_desc_t d;
    CHECK(dnnl_reorder_primitive_desc_create(&d, from, mm.engine, to, mm.engine, NULL));
    return d;
}

static dnnl_memory_t memory(layout l, const void *data)
{
    dnnl_memory_t m;
    CHECK(dnnl_memory_create(&m, l, mm.engine, (void *)data));
    return m;
}

static void append_sum(dnnl_post_ops_t ops)
{
    CHECK(dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef));
}

#else

typedef dnnl_memory_desc_t layout; /* a struct, nothing to free */

static layout layout_strided(int rows, int columns, enum dtype t, int row_step, int column_step)
{
    layout l;
    CHECK(dnnl_memory_desc_init_by_strides(&l, 2, (dnnl_dims_t){rows, columns}, dnnl_type(t),
                                           (dnnl_dims_t){row_step, column_step}));
    return l;
}

static layout layout_any(int rows, int columns, enum dtype t)
{
    layout l;
    CHECK(dnnl_memory_desc_init_by_tag(&l, 2, (dnnl_dims_t){rows, columns}, dnnl_type(t),
                                       dnnl_format_tag_any));
    return l;
}

static layout layout_bias(int columns)
{
    return layout_strided(1, columns, F32, columns, 1);
}

static void layout_free(layout l)
{
    (void)l;
}

static layout weights_layout_of(const_dnnl_primitive_desc_t d)
{
    return *dnnl_primitive_desc_query_md(d, dnnl_query_weights_md, 0);
}

static size_t layout_bytes(layout l)
{
    return dnnl_memory_desc_get_size(&l);
}

static dnnl_primitive_desc_t product_desc(layout x, layout w, layout bias, bool with_bias, layout y,
                                          const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t op;
    CHECK(dnnl_matmul_desc_init(&op, &x, &w, with_bias ? &bias : NULL, &y));
    dnnl_primitive_desc_t d;
    CHECK(dnnl_primitive_desc_create(&d, &op, attr, mm.engine, NULL));
    return d;
}

static dnnl_primitive_desc_t reorder_desc(layout from, layout to)
{
    dnnl_primitive_desc_t d;
    CHECK(dnnl_reorder_primitive_desc_create(&d, &from, mm.engine, &to, mm.engine, NULL));
    return d;
}

static dnnl_memory_t memory(layout l, const void *data)
{
    dnnl_memory_t m;
    CHECK(dnnl_memory_create(&m, &l, mm.engine, (void *)data));
    return m;
}

static void append_sum(dnnl_post_ops_t ops)
{
    CHECK(dnnl_post_ops_append_sum(ops, 1.0f));
}

#endif

/* ---- weights ---- */

/* Runs a primitive and frees it; oneDNN keeps what was compiled for it in a cache of its own. */
static void run(dnnl_primitive_desc_t desc, const dnnl_exec_arg_t *args, int n)
{
    dnnl_primitive_t primitive;
    CHECK(dnnl_primitive_create(&primitive, desc));
    CHECK(dnnl_primitive_execute(primitive, mm.stream, n, args));
    CHECK(dnnl_stream_wait(mm.stream));
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(desc);
}

/* The packed layout of [in, out] for this compute type, the one oneDNN likes for 512 rows. */
static layout packed_layout(int out, int in, enum dtype compute)
{
    enum { ROWS = 512 };
    layout x = layout_strided(ROWS, in, compute, in, 1), any = layout_any(in, out, compute);
    layout y = layout_strided(ROWS, out, F32, out, 1);
    dnnl_primitive_desc_t d = product_desc(x, any, y, false, y, NULL);
    layout packed = weights_layout_of(d);
    dnnl_primitive_desc_destroy(d);
    layout_free(x);
    layout_free(any);
    layout_free(y);
    return packed;
}

static void *at_least(void **buffer, size_t *size, size_t bytes)
{
    if (*size < bytes) {
        free(*buffer);
        *buffer = xaligned(bytes);
        *size = bytes;
    }
    return *buffer;
}

/* to = w in the packed layout (and its type): as the forward product's W^T [in, out], or as the
 * backward's W [out, in]. */
static void pack(const struct weight *w, bool backward, layout packed, void *to)
{
    const void *from = w->data;
    enum dtype type = w->stored;
    if (type == F16) { /* not all of oneDNN's versions read it */
        size_t n = (size_t)w->out * (size_t)w->in;
        float *plain = at_least(&mm.plain, &mm.plain_size, n * sizeof *plain);
#pragma omp parallel for
        for (size_t i = 0; i < n; i++)
            plain[i] = dtype_load(F16, from, i);
        from = plain;
        type = F32;
    }
    layout stored = backward ? layout_strided(w->out, w->in, type, w->in, 1)
                             : layout_strided(w->in, w->out, type, 1, w->in);
    dnnl_memory_t source = memory(stored, from), target = memory(packed, to);
    run(reorder_desc(stored, packed),
        (dnnl_exec_arg_t[]){{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}}, 2);
    dnnl_memory_destroy(source);
    dnnl_memory_destroy(target);
    layout_free(stored);
}

struct weight *cpu_weight_create(struct device *d, const void *data, enum dtype stored, int out,
                                 int in)
{
    struct weight *w = xcalloc(1, sizeof *w);
    *w = (struct weight){.data = data, .stored = stored, .out = out, .in = in};
    if (d->compute == BF16) {
        layout packed = packed_layout(out, in, BF16);
        w->packed = xaligned(layout_bytes(packed));
        pack(w, false, packed, w->packed);
        layout_free(packed);
    }
    return w;
}

void cpu_weight_free(struct device *d, struct weight *w)
{
    (void)d;
    if (!w)
        return;
    free(w->packed);
    free(w);
}

/* y[rows, n] = x[rows, k] W[k, n] + bias */
static void product(enum dtype compute, layout lw, const void *weights, const void *x,
                    const float *bias, float *y, int rows, int k, int n, bool accumulate)
{
    layout lx = layout_strided(rows, k, compute, k, 1);
    layout ly = layout_strided(rows, n, F32, n, 1), lbias = layout_bias(n);
    dnnl_primitive_attr_t attr;
    CHECK(dnnl_primitive_attr_create(&attr));
    if (accumulate) {
        dnnl_post_ops_t ops;
        CHECK(dnnl_post_ops_create(&ops));
        append_sum(ops);
        CHECK(dnnl_primitive_attr_set_post_ops(attr, ops));
        dnnl_post_ops_destroy(ops);
    }
    dnnl_memory_t mx = memory(lx, x), mw = memory(lw, weights), my = memory(ly, y);
    dnnl_memory_t mb = memory(lbias, bias);
    run(product_desc(lx, lw, lbias, bias != NULL, ly, attr),
        (dnnl_exec_arg_t[]){
            {DNNL_ARG_SRC, mx}, {DNNL_ARG_WEIGHTS, mw}, {DNNL_ARG_DST, my}, {DNNL_ARG_BIAS, mb}},
        bias ? 4 : 3);
    dnnl_primitive_attr_destroy(attr);
    dnnl_memory_destroy(mx);
    dnnl_memory_destroy(mw);
    dnnl_memory_destroy(my);
    dnnl_memory_destroy(mb);
    layout_free(lx);
    layout_free(ly);
    layout_free(lbias);
}

void cpu_matmul(struct device *d, const struct weight *w, const void *x, const float *bias,
                float *y, int rows, bool accumulate)
{
    if (rows == 0)
        return;
    layout packed = packed_layout(w->out, w->in, d->compute);
    const void *weights = w->packed;
    if (!weights) {
        void *buffer = at_least(&mm.packed, &mm.packed_size, layout_bytes(packed));
        pack(w, false, packed, buffer);
        weights = buffer;
    }
    product(d->compute, packed, weights, x, bias, y, rows, w->in, w->out, accumulate);
    layout_free(packed);
}

/* Of the few weights a batch needs at a time, a second packed copy would double the memory: bf16 is
 * read where it lies in the file's pages, all else packed anew. */
void cpu_matmul_backward(struct device *d, const struct weight *w, const void *dy, float *dx,
                         int rows, bool accumulate)
{
    if (rows == 0)
        return;
    const void *weights = w->data;
    layout l;
    if (d->compute == BF16 && w->stored == BF16) {
        l = layout_strided(w->out, w->in, BF16, w->in, 1);
    } else {
        l = packed_layout(w->in, w->out, d->compute);
        void *buffer = at_least(&mm.packed, &mm.packed_size, layout_bytes(l));
        pack(w, true, l, buffer);
        weights = buffer;
    }
    product(d->compute, l, weights, dy, NULL, dx, rows, w->out, w->in, accumulate);
    layout_free(l);
}

void matmul_open(struct device *d)
{
    (void)d;
    if (mm.engine)
        return;
    CHECK(dnnl_engine_create(&mm.engine, dnnl_cpu, 0));
    CHECK(dnnl_stream_create(&mm.stream, mm.engine, dnnl_stream_default_flags));
}
