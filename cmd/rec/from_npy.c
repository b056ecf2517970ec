/* Arrays of probabilities to predictions. */
#include "cmd/rec/commands.h"
#include "common/stream/header.h"
#include "common/stream/id_index.h"
#include "common/stream/npy_predictions.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Where the texts' ids and labels come from: a stream of theirs, or their numbers. */
struct identities {
    struct stream_reader *like; /* NULL: numbers from 1, no labels */
    struct id_index *seen;
    char *id; /* of the last one */
    uint64_t number;
};

static void next_number(struct identities *t)
{
    free(t->id);
    t->id = xasprintf("%" PRIu64, ++t->number);
}

/* The next text's label; its id is in t. */
static int next_identity(struct identities *t, size_t texts, const char *path)
{
    if (!t->like) {
        next_number(t);
        return NO_LABEL;
    }
    struct identity next;
    bool added;
    if (!identity_read(t->like, &next))
        die(EX_DATAERR, "%s: %" PRIu64 " records, but %s has %zu texts", stream_name(t->like),
            t->number, path, texts);
    t->number++;
    free(t->id);
    t->id = xstrdup(next.id);
    id_index_add(t->seen, t->id, &added);
    if (!added)
        stream_bad_record(t->like, t->id,
                          "this id comes twice: --like takes a record for each text");
    return next.label;
}

static json_t *make_header(const struct settings *s, const struct identities *t,
                           const struct npy_predictions *a)
{
    json_t *header = stream_header_from(NULL, "prediction", s->argc, s->argv);
    if (t->like)
        header_copy_task(header, stream_header(t->like));
    size_t named = json_array_size(json_object_get(header, "classes"));
    if (named && named != npy_classes(a))
        die(EX_DATAERR, "%s: %zu classes, but %s names %zu", s->npy.path, npy_classes(a),
            stream_name(t->like), named);
    size_t n;
    const double *weights = npy_weights(a, &n);
    json_object_set_new(header, "head", json_string(weights ? "ensemble" : "softmax"));
    if (!s->npy.keep_members)
        return header;
    json_t *list = json_array();
    for (size_t m = 0; m < n; m++)
        json_array_append_new(list, json_real(weights[m]));
    json_object_set_new(header, "weights", list);
    return header;
}

static void write_predictions(const struct settings *s, struct identities *t,
                              struct npy_predictions *a, struct stream_writer *w)
{
    size_t texts = npy_texts(a);
    struct prediction p;
    progress_start("predictions", texts);
    for (size_t i = 0; i < texts; i++) {
        int label = next_identity(t, texts, s->npy.path);
        if (label != NO_LABEL && (size_t)label >= npy_classes(a))
            stream_bad_record(t->like, t->id, "label %d, but %s has %zu classes", label,
                              s->npy.path, npy_classes(a));
        npy_next(a, t->id, &p);
        p.id = t->id;
        p.label = label;
        prediction_write(w, &p);
        progress_update(stream_written(w));
    }
    progress_end();
    struct identity more;
    if (t->like && identity_read(t->like, &more))
        die(EX_DATAERR, "%s: more records than the %zu texts of %s", stream_name(t->like), texts,
            s->npy.path);
}

void run_from_npy(const struct settings *s)
{
    if (s->n_files != 1)
        usage_error("from-npy reads one .npy file: name it");
    struct settings own = *s;
    own.npy.path = s->files[0];
    struct npy_predictions *a = npy_predictions_open(&own.npy);
    struct identities t = {.seen = id_index_new()};
    if (s->like)
        t.like = stream_open(s->like, NULL);
    struct stream_writer *w = create_output(s, make_header(&own, &t, a));
    write_predictions(&own, &t, a, w);
    closing_count(stream_written(w), stream_written(w), 0);
    stream_finish(w);
    stream_close(t.like);
    id_index_free(t.seen);
    free(t.id);
    npy_predictions_close(a);
}
