/* What the logits at a tree's nodes come to: class logits, their gradient, the answers' mass. */
#include "common/model/answer_tree.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

/* The logit of an edge. */
static double logit_of(const struct answer_tree *t, const float *logits, int outputs, int node,
                       int edge)
{
    return (double)logits[(size_t)node * (size_t)outputs + (size_t)t->edges[edge].token];
}

/* log sum exp over a node's edges. */
static double node_norm(const struct answer_tree *t, const float *logits, int outputs, int node)
{
    const struct answer_node *x = &t->nodes[node];
    double top = -INFINITY, sum = 0;
    for (int e = x->first; e < x->first + x->n; e++)
        top = fmax(top, logit_of(t, logits, outputs, node, e));
    for (int e = x->first; e < x->first + x->n; e++)
        sum += exp(logit_of(t, logits, outputs, node, e) - top);
    /* A node has edges, so the sum is at least the top's own exp(0). */
    /* cppcheck-suppress invalidFunctionArg */
    return top + log(sum);
}

/* values: [n_edges], the sum from the first edge to each; norms: [n_nodes], taken from all but the
 * root's edges where root is false, from all where it is true. */
static void add_up(const struct answer_tree *t, const float *logits, int outputs,
                   const double *norms, bool root, double *values)
{
    for (int i = 0; i < t->n_nodes; i++) {
        const struct answer_node *x = &t->nodes[i];
        double before = x->edge >= 0 ? values[x->edge] : 0;
        double norm = i || root ? norms[i] : 0;
        for (int e = x->first; e < x->first + x->n; e++)
            values[e] = before + logit_of(t, logits, outputs, i, e) - norm;
    }
}

/* The classes' logits and, in values, the sums along the edges. norms: [n_nodes], working memory
 * that holds the nodes' norms afterwards. */
static void class_values(const struct answer_tree *t, const float *logits, int outputs,
                         double *norms, double *values, double *classes)
{
    for (int i = 0; i < t->n_nodes; i++)
        norms[i] = node_norm(t, logits, outputs, i);
    add_up(t, logits, outputs, norms, false, values);
    double *top = xcalloc((size_t)t->n_classes, sizeof *top);
    for (int c = 0; c < t->n_classes; c++) {
        top[c] = -INFINITY;
        classes[c] = 0;
    }
    for (int e = 0; e < t->n_edges; e++)
        if (t->edges[e].node < 0)
            top[t->edges[e].class] = fmax(top[t->edges[e].class], values[e]);
    for (int e = 0; e < t->n_edges; e++)
        if (t->edges[e].node < 0)
            classes[t->edges[e].class] += exp(values[e] - top[t->edges[e].class]);
    for (int c = 0; c < t->n_classes; c++)
        classes[c] = top[c] + log(classes[c]);
    free(top);
}

struct values {
    double *norms, *edges, *classes; /* [n_nodes], [n_edges], [n_classes] */
};

static struct values values_of(const struct answer_tree *t, const float *logits, int outputs)
{
    struct values v = {xcalloc((size_t)t->n_nodes, sizeof *v.norms),
                       xcalloc((size_t)t->n_edges, sizeof *v.edges),
                       xcalloc((size_t)t->n_classes, sizeof *v.classes)};
    class_values(t, logits, outputs, v.norms, v.edges, v.classes);
    return v;
}

static void free_values(struct values *v)
{
    free(v->norms);
    free(v->edges);
    free(v->classes);
}

void answer_tree_logits(const struct answer_tree *t, const float *logits, int outputs,
                        float *class_logits)
{
    struct values v = values_of(t, logits, outputs);
    for (int c = 0; c < t->n_classes; c++)
        class_logits[c] = (float)v.classes[c];
    free_values(&v);
}

/* An answer has of its class's gradient the share that it has of the class; an edge that of all
 * answers past it, less, at a node below the root, its softmax's share of all that pass the node.
 */
void answer_tree_gradient(const struct answer_tree *t, const float *logits, int outputs,
                          const float *by_class, float *gradient)
{
    struct values v = values_of(t, logits, outputs);
    double *past = xcalloc((size_t)t->n_edges, sizeof *past); /* each edge */
    for (size_t i = 0; i < (size_t)t->n_nodes * (size_t)outputs; i++)
        gradient[i] = 0;
    for (int e = 0; e < t->n_edges; e++) {
        int c = t->edges[e].class;
        if (t->edges[e].node < 0)
            past[e] = (double)by_class[c] * exp(v.edges[e] - v.classes[c]);
    }
    for (int i = t->n_nodes - 1; i >= 0; i--) {
        const struct answer_node *x = &t->nodes[i];
        float *own = gradient + (size_t)i * (size_t)outputs;
        double all = 0;
        for (int e = x->first; e < x->first + x->n; e++)
            all += past[e];
        for (int e = x->first; e < x->first + x->n; e++) {
            double share = i ? exp(logit_of(t, logits, outputs, i, e) - v.norms[i]) * all : 0;
            own[t->edges[e].token] = (float)(past[e] - share);
        }
        if (x->edge >= 0)
            past[x->edge] = all;
    }
    free(past);
    free_values(&v);
}

double answer_tree_mass(const struct answer_tree *t, const float *logits, int outputs,
                        const double *norms)
{
    double *values = xcalloc((size_t)t->n_edges, sizeof *values), mass = 0;
    add_up(t, logits, outputs, norms, true, values);
    for (int e = 0; e < t->n_edges; e++)
        if (t->edges[e].node < 0)
            mass += exp(values[e]);
    free(values);
    return fmin(mass, 1);
}
