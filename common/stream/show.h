/* Records for people: a table of the first ones and, where records hold probabilities, logits or
 * weights, how these are spread. */
#ifndef DUQ_STREAM_SHOW_H
#define DUQ_STREAM_SHOW_H

#include "common/stream/stream.h"
#include "common/util/mem.h"

struct show;

/* rows: how many records the table has at most. */
struct show *show_new(const struct stream_reader *r, size_t rows);
/* Takes in the next record. Dies (EX_DATAERR, record named) at numbers that are not of the classes
 * that the header has. */
void show_add(struct show *s, const struct stream_reader *r, const msgpack_object *record);
/* Appends the table, of lines at most so many columns wide, unless its numbers alone are wider:
 * cut are long things first, then the names of columns of numbers, then other words. */
void show_table(const struct show *s, struct buf *out, size_t columns);
/* Appends the histograms, an empty line before each: of predictions and scores their confidence,
 * with the accuracy of those that have a label, and their entropy; of weights themselves. Nothing
 * for other records. */
void show_histograms(const struct show *s, struct buf *out, size_t columns);
void show_free(struct show *s);

#endif
