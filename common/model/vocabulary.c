#include "common/model/vocabulary.h"

#include "common/model/ends.h"
#include "common/util/mem.h"
#include "common/util/threads.h"

#include <math.h>
#include <stdlib.h>

/* Tokens at a time. */
enum { CHUNK = 4096 };

struct vocabulary {
    struct model *model;
    struct device *device;
    const struct output_matrix *output;
    const struct lora *part; /* lm_head's, or NULL */
    float *a, *b;            /* on the device: its matrices */
    int32_t *ids;            /* on the device: all tokens */
    float *rows_of_output;   /* on the device: [CHUNK, width] */

    int rows;            /* room in what follows */
    float *low, *logits; /* on the device: [rows, rank], [rows, CHUNK] */
    float *host;         /* [rows, CHUNK] */
    int count;           /* tokens of the present chunk */
    double *top, *sum;   /* [rows]: of the chunks so far; sum is of exp(logit - top) */
};

static float *uploaded(struct device *d, const float *values, size_t n)
{
    float *p = d->alloc(d, n * sizeof *p);
    d->upload(d, p, values, n * sizeof *p);
    return p;
}

struct vocabulary *vocabulary_open(struct model *m, const struct lora_set *lora)
{
    struct vocabulary *v = xcalloc(1, sizeof *v);
    struct device *d = m->device;
    size_t vocab = (size_t)m->config->vocab, width = (size_t)m->config->width;
    v->model = m;
    v->device = d;
    v->output = model_output(m);
    v->part = lora ? adapter_part(lora_adapter(lora), 0, LM_HEAD) : NULL;
    if (v->part && !v->part->a)
        v->part = NULL;
    if (v->part) {
        v->a = uploaded(d, v->part->a, (size_t)v->part->rank * width);
        v->b = uploaded(d, v->part->b, vocab * (size_t)v->part->rank);
    }
    int32_t *ids = xcalloc(vocab, sizeof *ids);
    for (size_t i = 0; i < vocab; i++)
        ids[i] = (int32_t)i;
    v->ids = d->alloc(d, vocab * sizeof *ids);
    d->upload(d, v->ids, ids, vocab * sizeof *ids);
    free(ids);
    v->rows_of_output = d->alloc(d, CHUNK * width * sizeof(float));
    return v;
}

static void release_rows(struct vocabulary *v)
{
    v->device->release(v->device, v->low);
    v->device->release(v->device, v->logits);
    free(v->host);
    free(v->top);
    free(v->sum);
}

void vocabulary_close(struct vocabulary *v)
{
    struct device *d = v->device;
    release_rows(v);
    void *buffers[] = {v->a, v->b, v->ids, v->rows_of_output};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        d->release(d, buffers[i]);
    free(v);
}

void vocabulary_reserve(struct vocabulary *v, int rows)
{
    if (rows <= v->rows)
        return;
    struct device *d = v->device;
    size_t n = (size_t)rows;
    release_rows(v);
    v->rows = rows;
    v->low = v->part ? d->alloc(d, n * (size_t)v->part->rank * sizeof(float)) : NULL;
    v->logits = d->alloc(d, n * CHUNK * sizeof(float));
    v->host = xreallocarray(NULL, n * CHUNK, sizeof *v->host);
    v->top = xcalloc(n, sizeof *v->top);
    v->sum = xcalloc(n, sizeof *v->sum);
}

/* c[rows, n] = scale x[rows, k] w[n, k]^T, added when accumulate. */
static void multiply(struct device *d, float scale, const float *x, int rows, const float *w, int n,
                     int k, float *c, bool accumulate)
{
    d->gemm(d, &(struct matrix_product){.transpose_b = true,
                                        .m = rows,
                                        .n = n,
                                        .k = k,
                                        .scale = scale,
                                        .a = x,
                                        .a_step = (size_t)k,
                                        .b = w,
                                        .b_step = (size_t)k,
                                        .c = c,
                                        .c_step = (size_t)n,
                                        .accumulate = accumulate});
}

/* The chunk's logits from `first` on, on the host. */
static void chunk_logits(struct vocabulary *v, const float *hidden, int rows, int first)
{
    struct device *d = v->device;
    int width = v->model->config->width;
    const struct lora *l = v->part;
    d->embed(d, v->output->rows, v->output->type, width, v->ids + first, v->count,
             v->rows_of_output);
    multiply(d, 1, hidden, rows, v->rows_of_output, v->count, width, v->logits, false);
    if (l)
        multiply(d, l->scale, v->low, rows, v->b + (size_t)first * (size_t)l->rank, v->count,
                 l->rank, v->logits, true);
    finish_logits(v->model, v->logits, (size_t)rows * (size_t)v->count);
    d->download(d, v->host, v->logits, (size_t)rows * (size_t)v->count * sizeof *v->host);
}

/* Adds a row's chunk to its sum. */
static void add_chunk(void *vocabulary, size_t row)
{
    struct vocabulary *v = vocabulary;
    size_t n = (size_t)v->count;
    const float *x = v->host + row * n;
    double top = v->top[row], sum = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, (double)x[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - top);
    v->sum[row] = v->sum[row] * exp(v->top[row] - top) + sum;
    v->top[row] = top;
}

void vocabulary_norms(struct vocabulary *v, const float *hidden, int rows, double *norms)
{
    const struct config *c = v->model->config;
    vocabulary_reserve(v, rows);
    for (int r = 0; r < rows; r++) {
        v->top[r] = -HUGE_VAL;
        v->sum[r] = 0;
    }
    if (v->part)
        multiply(v->device, 1, hidden, rows, v->a, v->part->rank, c->width, v->low, false);
    for (int first = 0; first < c->vocab; first += CHUNK) {
        v->count = c->vocab - first < CHUNK ? c->vocab - first : CHUNK;
        chunk_logits(v, hidden, rows, first);
        threads_run((size_t)rows, add_chunk, v);
    }
    for (int r = 0; r < rows; r++)
        norms[r] = v->top[r] + log(v->sum[r]);
}
