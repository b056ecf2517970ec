/* A layer of the transformer, forward and back: the one place that scoring and training share.
 *
 *   x -> norm -> q, k, v -> their norms -> rotation -> attention -> o -> norm, added to x
 *     -> norm -> gated linear unit of gate and up -> down -> norm, added to that
 *
 * Of the norms a model has those that its layers have gains for. What o and down give is a branch:
 * it is computed apart from what it is added to where it is normed or scaled.
 *
 * Past the last layer's keys and values only the positions that are read at are computed, on the
 * way back as well: nothing reads the others. */
#ifndef DUQ_MODEL_LAYER_H
#define DUQ_MODEL_LAYER_H

#include "common/model/lora.h"
#include "common/model/rope.h"
#include "common/model/weights.h"

/* Rows of a pass, on the device but for host_spans. */
struct layer_rows {
    int n;
    const int32_t *positions; /* [n] */
    const struct attention_span *spans, *host_spans;
};

/* What all layers of a pass share. */
struct layer_pass {
    const struct model *model;
    struct lora_set *lora;    /* what is added to the products, or NULL */
    struct layer_rows all;    /* the batch's */
    struct layer_rows last;   /* the positions that are read at, each sequence's last ones */
    const int32_t *last_rows; /* [last.n]: where these are among all */
    int n_spans;              /* of either */
    const int32_t *copies;    /* [n_copies]: rows whose keys and values stand once more after all */
    int n_copies;             /* for spans that share them */
    const struct rotation *rotation;
};

/* What a layer computes. Inputs of products are in the compute type. */
struct activations {
    int rows, keys, last;  /* room */
    void *attention_input; /* [rows, width]: norm of x */
    float *last_x;         /* [last, width]: x at last positions */
    void *last_input;      /* [last, width]: its norm */
    float *q;              /* [rows, heads * head_dim] */
    float *k, *v;          /* [keys, kv_heads * head_dim] */
    float *raw_q, *raw_k;  /* of rows, before their norms; NULL: normed in place, or not */
    const float *prefix_k, *prefix_v; /* of the prefixes that spans name, or NULL */
    float *lse;                       /* [rows, heads]; see struct attention */
    void *attended;                   /* [rows, heads * head_dim] */
    float *residual;                  /* [rows, width], past attention; NULL: x becomes it */
    float *attention_branch;          /* [rows, width]: what o gives; NULL: it is added at once */
    float *mlp_branch;                /* the same of down; may be attention_branch */
    void *mlp_input;                  /* [rows, width]: its norm */
    float *gate, *up;                 /* [rows, intermediate] */
    void *gated;                      /* [rows, intermediate]; NULL: nothing is kept */
    struct lora_low low;              /* of the adapter */
};

/* Makes room; keys: rows and copies; low_width: the adapter's (lora_low_width()). keep: for all
 * that layer_backward() reads; otherwise inputs of products take one another's place, and what the
 * caller does not read is not written. */
void activations_reserve(struct activations *a, struct device *d, const struct config *c, int rows,
                         int keys, int last, int low_width, bool keep);
void activations_release(struct activations *a, struct device *d);

/* Only the layer's keys, rotated, and values. x: [all.n, width]. */
void layer_keys(const struct layer_pass *p, int layer, const float *x, const struct activations *a);

/* The whole layer. x is changed where nothing is kept. out: the result [all.n, width], of the last
 * layer [last.n, width]; may be x, or a->last_x; NULL where only the activations are wanted. */
void layer_forward(const struct layer_pass *p, int layer, float *x, const struct activations *a,
                   float *out);

/* Gradients by what a layer computes, and working memory. */
struct gradients {
    int rows, keys;              /* room */
    float *dx, *next, *norm;     /* [rows, width] */
    float *last;                 /* [last, width]; the caller's */
    float *gated;                /* [rows, intermediate] */
    void *gate, *up;             /* [rows, intermediate], in the compute type */
    float *attended, *q, *k, *v; /* [rows or keys, ...] */
    float *work;                 /* [rows, heads] */
    void *rounded;               /* [rows, width or heads * head_dim], in the compute type */
    float *branch;               /* [rows, width]; NULL: branches are added at once */
};

void gradients_reserve(struct gradients *g, struct device *d, const struct config *c, int rows,
                       int keys);
void gradients_release(struct gradients *g, struct device *d);

/* g->dx: the gradient by the layer's result on entry, by its input x on return, unless the layer is
 * the first: below it there is nothing to train. a: what layer_forward() kept of the same pass.
 * Adds to the adapter's gradients. */
void layer_backward(const struct layer_pass *p, int layer, const float *x,
                    const struct activations *a, struct gradients *g);

/* For layer.c and layer_backward.c: what attention is asked for, whether a layer is the last, and
 * the rotation of rows of queries or keys, or back. */
struct attention layer_attention(const struct layer_pass *p, int layer,
                                 const struct activations *a);
bool is_last_layer(const struct layer_pass *p, int layer);
enum turn { TURN, TURN_BACK };
void turn_queries(const struct layer_pass *p, int layer, const struct layer_rows *rows, float *q,
                  enum turn turn);
void turn_keys(const struct layer_pass *p, int layer, float *k, enum turn turn);
/* What is normed of rows of queries or keys that have so many heads: each head apart, or all of a
 * row at once. */
struct norm_shape {
    int rows, width;
};
struct norm_shape qk_norm_shape(const struct config *c, int rows, int heads);
/* For activations.c too: whether branches are computed apart. */
bool has_branches(const struct config *c);

#endif
