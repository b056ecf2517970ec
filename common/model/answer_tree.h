/* The answers of a task's classes as a tree of tokens, and what a class's logit is.
 *
 * Answers are sequences of tokens of which none begins another: the leaves of a tree whose edges
 * are tokens. A node that has edges is read at: its edges' logits are those after the prompt and
 * the tokens that lead to the node. With l(e) such a logit, and a node's log-softmax taken over its
 * own edges,
 *   answer's logit = l(first edge) + sum over the edges after it of log-softmax(l)(edge)
 *   class's logit  = log sum exp over its answers' logits
 * so that the softmax over the classes is the product of the choices on the way, synonyms added.
 * Where each class has one answer of one token, a class's logit is that token's. */
#ifndef DUQ_MODEL_ANSWER_TREE_H
#define DUQ_MODEL_ANSWER_TREE_H

#include "common/stream/stream.h"

#include <stdbool.h>

struct answer_edge {
    int token; /* its number in the tree's tokens */
    int node;  /* where it leads, or -1: an answer ends here */
    int class; /* of that answer */
};

/* A node that has edges. */
struct answer_node {
    int first, n; /* its edges */
    int edge;     /* that leads to it; -1: it is the root */
    int parent;   /* -1: it is the root */
    bool passed;  /* by a branch */
};

/* The tokens from the prompt to a node below which none is read at. */
struct answer_branch {
    int32_t *tokens; /* [n] */
    int n;
    int read; /* nodes that no branch before passes through: the last `read` of its positions, where
               * position 0 is the prompt's end */
};

struct answer_tree {
    int n_classes;
    int n_tokens, n_edges, n_nodes, n_branches;
    int32_t *tokens;                /* [n_tokens]: those of all edges, each once */
    struct answer_edge *edges;      /* [n_edges], a node's together */
    struct answer_node *nodes;      /* [n_nodes]; 0 is the root; in the order of the branches */
    struct answer_branch *branches; /* [n_branches], 1 or more */
    int depth;                      /* tokens of the longest branch */
    bool plain;      /* a class's logit is that of token c: one node, one answer each */
    const char *key; /* "class_tokens" or "answer_tokens" ... */
    json_t *json;    /* ... and what the header has there */
};

/* From a header's "class_tokens" or "answer_tokens". Dies (EX_DATAERR) when there are neither, when
 * they are not as many as the classes, or hold something that is no token or no tree. */
struct answer_tree *answer_tree_read(const struct stream_reader *r);
/* From what a header has under this key; `where` names the source in messages. */
struct answer_tree *answer_tree_from_json(const json_t *list, const char *key, const char *where);
/* One token for each class. */
struct answer_tree *answer_tree_plain(const int32_t *tokens, int n);
void answer_tree_free(struct answer_tree *t);

/* Tokens of all branches: what reading at all nodes adds to a prompt. */
int answer_tree_positions(const struct answer_tree *t);

/* A record's class logits [n_classes], from those of the tree's tokens at its nodes, logits
 * [n_nodes, outputs] with outputs >= n_tokens. */
void answer_tree_logits(const struct answer_tree *t, const float *logits, int outputs,
                        float *class_logits);

/* The gradient by logits [n_nodes, outputs] from that by the class logits; all elements are set. */
void answer_tree_gradient(const struct answer_tree *t, const float *logits, int outputs,
                          const float *by_class, float *gradient);

/* The probability that the answers have together in the whole vocabulary: over answers, the sum of
 * products of exp(logit - norm) along them. norms: [n_nodes], log sum exp over the vocabulary. */
double answer_tree_mass(const struct answer_tree *t, const float *logits, int outputs,
                        const double *norms);

#endif
