/* A whole stream of predictions in memory, to be evaluated. */
#ifndef DUQ_EVAL_PREDICTION_SET_H
#define DUQ_EVAL_PREDICTION_SET_H

#include "common/stream/id_index.h"
#include "common/stream/record.h"

/* The first are fields of a record, in nats, and parts of one another (common/math/dirichlet.h);
 * the others come from a Dirichlet's alpha: vacuity without a unit, the rest in nats. */
enum uncertainty_kind {
    TOTAL,
    ALEATORIC,
    EPISTEMIC,
    N_PARTS,
    VACUITY = N_PARTS,
    DIFFERENTIAL_ENTROPY,
    PAIRWISE_KL,
    N_UNCERTAINTIES
};
const char *uncertainty_name(enum uncertainty_kind k);

struct prediction_set {
    char *name, *file;
    char *seeds_of; /* the name that it shares with sets of other seeds; NULL: there are none */
    json_t *header;
    size_t n, n_classes;
    struct id_index *ids; /* row numbers by id */
    int *labels;          /* [n], NO_LABEL where there is none */
    double *probs;        /* [n * n_classes] */
    size_t n_members;     /* 0: no ensemble, or members were not asked for */
    double *members;      /* [n * n_members * n_classes] */
    /* [n]. NULL where the set's predictions do not have it. */
    double *uncertainty[N_UNCERTAINTIES];
};

/* Dies with EX_DATAERR where the probabilities of the record or of a member are not finite, are
 * outside 0 to 1 or do not sum to one (1e-4), at a label beyond the classes and at an uncertainty
 * that is infinite. */
void prediction_check(struct stream_reader *r, const struct prediction *p);

/* name NULL: the file's, without folder, .mp and .zst. Dies with EX_DATAERR at a stream without
 * records, an id that is there twice, what prediction_check() refuses, alpha that is not above 0
 * or whose uncertainties are not finite, and at a mixture of records with and without an
 * uncertainty, alpha or members. */
struct prediction_set *prediction_set_read(const char *name, const char *path, bool with_members);
/* The same of a stream that is open already; it stays open. */
struct prediction_set *prediction_set_take(struct stream_reader *r, bool with_members);
void prediction_set_free(struct prediction_set *s);

/* Rows that have a label, in order; the caller frees them. */
size_t *labelled_rows(const struct prediction_set *s, size_t *count);

/* Dies with EX_DATAERR unless both hold the same texts with the same labels over the same classes;
 * brings b's rows into a's order. */
void prediction_sets_align(const struct prediction_set *a, struct prediction_set *b);

#endif
