#include "common/stream/show.h"

#include "common/math/dirichlet.h"
#include "common/math/loss.h"
#include "common/stream/print.h"
#include "common/stream/record.h"
#include "common/stream/schema.h"
#include "common/util/terminal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 10, GAP = 2, ITEMS_SHOWN = 16 };

struct bin {
    uint64_t n, labelled, right;
};

struct bar {
    uint64_t prompt;
    double weight;
};

struct column {
    char *name;                     /* printable */
    bool right, last;               /* numbers stand to the right; long things come last */
    bool used;                      /* some record has more there than nil */
    size_t name_width, cells_width; /* of the name, of the widest cell */
};

struct row {
    char **cells; /* [n], printable, by column; NULL: the record has no such field */
    size_t n;
};

struct show {
    const json_t *classes; /* NULL: they have no names */
    size_t rows;
    struct column *columns;
    size_t n_columns;
    struct row *shown; /* [n_shown] */
    size_t n_shown;
    uint64_t n;
    struct bin confidence[BINS], entropy[BINS];
    size_t n_classes; /* of the probabilities; 0: there are none */
    struct bar *bars; /* [n_bars], of weights */
    size_t n_bars;
    double *probs; /* [n_classes] */
};

/* ---- cells ---- */

static void add_number(struct buf *out, double v)
{
    double size = fabs(v);
    bool plain = size < 1e6 && (size >= 1e-4 || !(size > 0));
    buf_addf(out, plain ? "%.4f" : "%.3g", v);
}

/* A class's name, or its number where classes have none. */
static void add_class(struct buf *out, const struct show *s, uint64_t class)
{
    const char *name = json_string_value(json_array_get(s->classes, class));
    if (name)
        add_printable(out, name, strlen(name));
    else
        buf_addf(out, "%" PRIu64, class);
}

static bool is_set(const msgpack_object_str *key)
{
    return str_is(key, "set");
}

/* The first numbers of an array, after how many there are where that is more; of a prediction set
 * its classes. */
static void add_numbers(struct buf *out, const struct show *s, const msgpack_object_str *key,
                        enum element e, const msgpack_object_bin *bin)
{
    size_t n = bin->size / element_size(e), shown = n < ITEMS_SHOWN ? n : ITEMS_SHOWN;
    if (shown < n)
        buf_addf(out, "(%zu) ", n);
    for (size_t i = 0; i < shown; i++) {
        double v = element_at(e, bin->ptr, i);
        if (i)
            buf_addf(out, is_set(key) ? ", " : " ");
        if (is_set(key) && v >= 0)
            add_class(out, s, (uint64_t)v);
        else if (e == ELEMENT_I32)
            buf_addf(out, "%d", (int)v);
        else
            add_number(out, v);
    }
}

static bool is_class(const msgpack_object_str *key, const msgpack_object *v)
{
    return v->type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
           (str_is(key, "label") || str_is(key, "answer") || str_is(key, "class"));
}

static void add_json(struct buf *out, const struct stream_reader *r, const msgpack_object_kv *kv)
{
    struct buf json = {0};
    print_value(&json, r, &kv->key.via.str, &kv->val);
    add_printable(out, json.data, json.len);
    buf_free(&json);
}

static void add_value(struct buf *out, const struct show *s, const struct stream_reader *r,
                      const msgpack_object_kv *kv)
{
    const msgpack_object *v = &kv->val;
    enum element e = ELEMENT_NONE;
    if (v->type == MSGPACK_OBJECT_BIN)
        e = schema_element(schema_of_records(stream_schema(r)), kv->key.via.str.ptr,
                           kv->key.via.str.size);
    if (v->type == MSGPACK_OBJECT_NIL)
        buf_addc(out, '-');
    else if (is_class(&kv->key.via.str, v))
        add_class(out, s, v->via.u64);
    else if (v->type == MSGPACK_OBJECT_STR)
        add_printable(out, v->via.str.ptr, v->via.str.size);
    else if (v->type == MSGPACK_OBJECT_FLOAT32 || v->type == MSGPACK_OBJECT_FLOAT64)
        add_number(out, v->via.f64);
    else if (e)
        add_numbers(out, s, &kv->key.via.str, e, &v->via.bin);
    else if (v->type == MSGPACK_OBJECT_BIN)
        buf_addf(out, "(%" PRIu32 " bytes)", v->via.bin.size);
    else
        add_json(out, r, kv);
}

/* ---- columns ---- */

/* Of predictions the class and its probability stand for arrays. */
static bool is_left_out(const struct stream_reader *r, const msgpack_object_str *key)
{
    return !strcmp(stream_schema(r), "prediction") &&
           (str_is(key, "probs") || str_is(key, "alpha") || str_is(key, "members") ||
            str_is(key, "mean_log"));
}

/* The column of that name, added where it is new. */
static size_t column_of(struct show *s, const char *name, size_t len)
{
    struct buf shown = {0};
    add_printable(&shown, name, len);
    buf_addc(&shown, 0);
    size_t i = 0;
    while (i < s->n_columns && strcmp(s->columns[i].name, shown.data))
        i++;
    if (i < s->n_columns) {
        buf_free(&shown);
        return i;
    }
    s->columns = xreallocarray(s->columns, s->n_columns + 1, sizeof *s->columns);
    s->columns[s->n_columns] =
        (struct column){.name = shown.data, .name_width = text_columns(shown.data, shown.len - 1)};
    return s->n_columns++;
}

static void put_cell(struct show *s, struct row *row, const char *name, size_t len,
                     const struct buf *cell, bool right, bool last)
{
    size_t i = column_of(s, name, len);
    if (i >= row->n) {
        row->cells = xreallocarray(row->cells, i + 1, sizeof *row->cells);
        while (row->n <= i)
            row->cells[row->n++] = NULL;
    }
    free(row->cells[i]);
    row->cells[i] = xasprintf("%.*s", (int)cell->len, cell->len ? cell->data : "");
    struct column *c = &s->columns[i];
    size_t width = text_columns(cell->data, cell->len);
    c->right = c->right || right;
    c->last = c->last || last;
    c->used = c->used || width != 1 || *row->cells[i] != '-';
    c->cells_width = width > c->cells_width ? width : c->cells_width;
}

static size_t best_class(const struct show *s)
{
    size_t best = 0;
    for (size_t c = 1; c < s->n_classes; c++)
        if (s->probs[c] > s->probs[best])
            best = c;
    return best;
}

/* The most probable class and its probability. */
static void put_best(struct show *s, struct row *row)
{
    size_t best = best_class(s);
    struct buf cell = {0};
    add_class(&cell, s, best);
    put_cell(s, row, "class", strlen("class"), &cell, false, false);
    cell.len = 0;
    add_number(&cell, s->probs[best]);
    put_cell(s, row, "confidence", strlen("confidence"), &cell, true, false);
    buf_free(&cell);
}

static bool is_long(const msgpack_object_kv *kv)
{
    return str_is(&kv->key.via.str, "text") ||
           (kv->val.type == MSGPACK_OBJECT_BIN && !is_set(&kv->key.via.str)) ||
           kv->val.type == MSGPACK_OBJECT_ARRAY || kv->val.type == MSGPACK_OBJECT_MAP;
}

static bool is_number(const msgpack_object_kv *kv)
{
    msgpack_object_type t = kv->val.type;
    return (t == MSGPACK_OBJECT_FLOAT32 || t == MSGPACK_OBJECT_FLOAT64 ||
            t == MSGPACK_OBJECT_POSITIVE_INTEGER || t == MSGPACK_OBJECT_NEGATIVE_INTEGER) &&
           !is_class(&kv->key.via.str, &kv->val);
}

static void add_row(struct show *s, const struct stream_reader *r, const msgpack_object *record)
{
    struct row row = {0};
    struct buf cell = {0};
    for (uint32_t i = 0; i < record->via.map.size; i++) {
        const msgpack_object_kv *kv = &record->via.map.ptr[i];
        if (kv->key.type != MSGPACK_OBJECT_STR)
            stream_bad_record(r, NULL, "a key is not a string");
        const msgpack_object_str *key = &kv->key.via.str;
        if (s->n_classes && str_is(key, "probs"))
            put_best(s, &row);
        if (is_left_out(r, key))
            continue;
        cell.len = 0;
        add_value(&cell, s, r, kv);
        put_cell(s, &row, key->ptr, key->size, &cell, is_number(kv), is_long(kv));
    }
    buf_free(&cell);
    s->shown = xreallocarray(s->shown, s->n_shown + 1, sizeof *s->shown);
    s->shown[s->n_shown++] = row;
}

/* ---- histograms ---- */

static const msgpack_object_bin *array_of(const msgpack_object *record, const char *key,
                                          size_t element)
{
    const msgpack_object *v = map_get(record, key);
    return v && v->type == MSGPACK_OBJECT_BIN && v->via.bin.size && v->via.bin.size % element == 0
               ? &v->via.bin
               : NULL;
}

/* What is no probabilities, as of logits that are not numbers, is uniform, as in an ensemble. */
static void even_out(double *probs, size_t n)
{
    bool numbers = true;
    for (size_t c = 0; c < n; c++)
        numbers = numbers && isfinite(probs[c]);
    for (size_t c = 0; !numbers && c < n; c++)
        probs[c] = 1 / (double)n;
}

/* The record's probabilities, or those of its logits, in s->probs. */
static bool take_probs(struct show *s, const struct stream_reader *r, const msgpack_object *record)
{
    bool scores = !strcmp(stream_schema(r), "scores");
    if (!scores && strcmp(stream_schema(r), "prediction") != 0)
        return false;
    size_t element = scores ? sizeof(float) : sizeof(double);
    const msgpack_object_bin *bin = array_of(record, scores ? "logits" : "probs", element);
    size_t n = bin ? bin->size / element : 0;
    if (n == 0 || (s->n_classes && n != s->n_classes))
        stream_bad_record(r, NULL, "no %s of %s classes as the others have",
                          scores ? "logits" : "probabilities", s->n_classes ? "as many" : "any");
    s->n_classes = n;
    s->probs = xreallocarray(s->probs, n, sizeof *s->probs);
    for (size_t c = 0; c < n; c++)
        s->probs[c] = element_at(scores ? ELEMENT_F32 : ELEMENT_F64, bin->ptr, c);
    if (scores)
        softmax_probs(s->probs, n, s->probs);
    even_out(s->probs, n);
    return true;
}

static void count(struct bin *bins, double value, double most, bool labelled, bool right)
{
    double at = most > 0 ? value / most * BINS : 0;
    size_t i = !(at > 0) ? 0 : at >= BINS ? BINS - 1 : (size_t)at;
    bins[i].n++;
    bins[i].labelled += labelled;
    bins[i].right += right;
}

static void take_spread(struct show *s, const msgpack_object *record)
{
    const msgpack_object *label = map_get(record, "label");
    bool labelled = label && label->type == MSGPACK_OBJECT_POSITIVE_INTEGER;
    size_t best = best_class(s);
    bool right = labelled && label->via.u64 == best;
    count(s->confidence, s->probs[best], 1, labelled, right);
    count(s->entropy, entropy(s->probs, s->n_classes), log((double)s->n_classes), labelled, right);
}

static void take_bar(struct show *s, const struct stream_reader *r, const msgpack_object *record)
{
    const msgpack_object *prompt = map_get(record, "prompt"), *weight = map_get(record, "weight");
    if (!prompt || prompt->type != MSGPACK_OBJECT_POSITIVE_INTEGER || !weight ||
        weight->type != MSGPACK_OBJECT_FLOAT64)
        return;
    if (!(weight->via.f64 >= 0 && weight->via.f64 <= 1))
        stream_bad_record(r, NULL, "field 'weight' is not between 0 and 1");
    s->bars = xreallocarray(s->bars, s->n_bars + 1, sizeof *s->bars);
    s->bars[s->n_bars++] = (struct bar){prompt->via.u64, weight->via.f64};
}

/* ---- taking in ---- */

struct show *show_new(const struct stream_reader *r, size_t rows)
{
    struct show *s = xcalloc(1, sizeof *s);
    s->classes = json_object_get(stream_header(r), "classes");
    s->rows = rows;
    return s;
}

void show_add(struct show *s, const struct stream_reader *r, const msgpack_object *record)
{
    if (take_probs(s, r, record))
        take_spread(s, record);
    if (!strcmp(stream_schema(r), "weights"))
        take_bar(s, r, record);
    if (s->n++ < s->rows)
        add_row(s, r, record);
}

void show_free(struct show *s)
{
    for (size_t i = 0; i < s->n_shown; i++) {
        for (size_t c = 0; c < s->shown[i].n; c++)
            free(s->shown[i].cells[c]);
        free(s->shown[i].cells);
    }
    for (size_t c = 0; c < s->n_columns; c++)
        free(s->columns[c].name);
    free(s->columns);
    free(s->shown);
    free(s->bars);
    free(s->probs);
    free(s);
}

/* ---- printing ---- */

/* The columns that are used, [*n], in their order of printing, long ones last. */
static size_t *printing_order(const struct show *s, size_t *n)
{
    size_t *order = xcalloc(s->n_columns + 1, sizeof *order);
    *n = 0;
    for (int last = 0; last < 2; last++)
        for (size_t c = 0; c < s->n_columns; c++)
            if (s->columns[c].used && s->columns[c].last == last)
                order[(*n)++] = c;
    return order;
}

static size_t full_width(const struct column *c)
{
    return c->name_width > c->cells_width ? c->name_width : c->cells_width;
}

/* What is cut first, next and last. Numbers are not: one without its end is another. */
enum cut { CUT_LONG, CUT_NUMBERS_NAMES, CUT_WORDS, CUTS };

/* How wide a column is at least, once that is being cut. */
static size_t least_width(const struct column *c, enum cut cut)
{
    if (c->right)
        return cut < CUT_NUMBERS_NAMES ? full_width(c) : c->cells_width;
    if (cut == CUT_WORDS)
        return 1;
    return c->last ? c->name_width : full_width(c);
}

/* How wide each of them is printed: what is too wide is cut in the widest ones that may be. */
static size_t *printed_widths(const struct show *s, const size_t *order, size_t n, size_t columns)
{
    size_t *widths = xcalloc(n + 1, sizeof *widths), total = 0;
    for (size_t i = 0; i < n; i++) {
        size_t own = full_width(&s->columns[order[i]]);
        widths[i] = own < columns ? own : columns;
        total += widths[i] + (i ? GAP : 0);
    }
    for (enum cut cut = 0; cut < CUTS && total > columns;) {
        size_t widest = n;
        for (size_t i = 0; i < n; i++)
            if (widths[i] > least_width(&s->columns[order[i]], cut) &&
                (widest == n || widths[i] > widths[widest]))
                widest = i;
        if (widest == n) {
            cut++;
            continue;
        }
        widths[widest]--;
        total--;
    }
    return widths;
}

/* One line; row NULL: the columns' names. */
static void print_row(const struct show *s, struct buf *out, const struct row *row,
                      const size_t *order, const size_t *widths, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t c = order[i];
        const char *text = !row ? s->columns[c].name : c < row->n ? row->cells[c] : NULL;
        text = text ? text : "";
        buf_addf(out, "%*s", i ? GAP : 0, "");
        /* Behind the last column no blanks are needed; a character has no more columns than bytes.
         */
        size_t len = strlen(text), width = i + 1 == n && len < widths[i] ? len : widths[i];
        add_cell(out, text, len, s->columns[c].right ? widths[i] : width, s->columns[c].right);
    }
    while (out->len && out->data[out->len - 1] == ' ')
        out->len--;
    buf_addc(out, '\n');
}

void show_table(const struct show *s, struct buf *out, size_t columns)
{
    size_t n, *order = printing_order(s, &n), *widths = printed_widths(s, order, n, columns);
    if (s->n_shown)
        print_row(s, out, NULL, order, widths, n);
    for (size_t i = 0; i < s->n_shown; i++)
        print_row(s, out, &s->shown[i], order, widths, n);
    if (s->n > s->n_shown)
        buf_addf(out, "(%zu of %" PRIu64 " records; -n says how many)\n", s->n_shown, s->n);
    free(order);
    free(widths);
}

static void add_bar(struct buf *out, double share, size_t columns)
{
    size_t length = (size_t)(share * (double)columns + 0.5);
    if (length)
        buf_addf(out, "  ");
    while (length--)
        buf_addc(out, '#');
    buf_addc(out, '\n');
}

/* Bins first ... of those from 0 to most. */
static void print_bins(struct buf *out, const char *title, const struct bin *bins, int first,
                       double most, size_t columns)
{
    enum { BEFORE_BAR = 36 };
    uint64_t highest = 0, labelled = 0;
    for (int b = 0; b < BINS; b++) {
        highest = bins[b].n > highest ? bins[b].n : highest;
        labelled += bins[b].labelled;
    }
    buf_addf(out, "\n%-16s %7s%s\n", title, "n", labelled ? "  accuracy" : "");
    for (int b = first; b < BINS; b++) {
        buf_addf(out, "%6.3f to %6.3f %7" PRIu64, most * b / BINS, most * (b + 1) / BINS,
                 bins[b].n);
        if (labelled && bins[b].labelled)
            buf_addf(out, "%10.4f", (double)bins[b].right / (double)bins[b].labelled);
        else if (labelled)
            buf_addf(out, "%10s", "-");
        add_bar(out, (double)bins[b].n / (double)highest,
                columns > BEFORE_BAR ? columns - BEFORE_BAR : 1);
    }
}

static void print_bars(const struct show *s, struct buf *out, size_t columns)
{
    enum { BEFORE_BAR = 18 };
    double highest = 0;
    for (size_t i = 0; i < s->n_bars; i++)
        highest = s->bars[i].weight > highest ? s->bars[i].weight : highest;
    buf_addf(out, "\n%7s %8s\n", "prompt", "weight");
    for (size_t i = 0; i < s->n_bars && highest > 0; i++) {
        buf_addf(out, "%7" PRIu64 " %8.4f", s->bars[i].prompt, s->bars[i].weight);
        add_bar(out, s->bars[i].weight / highest, columns > BEFORE_BAR ? columns - BEFORE_BAR : 1);
    }
}

void show_histograms(const struct show *s, struct buf *out, size_t columns)
{
    if (s->n_classes) {
        int least = BINS / (int)s->n_classes; /* no class is likelier than 1 / classes below */
        print_bins(out, "confidence", s->confidence, least, 1, columns);
        print_bins(out, "entropy (nats)", s->entropy, 0, log((double)s->n_classes), columns);
    }
    if (s->n_bars)
        print_bars(s, out, columns);
}
