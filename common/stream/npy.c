#include "common/stream/npy.h"

#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/mem.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- the header: a Python dictionary ---- */

struct description {
    char type[16]; /* "<f4" */
    int fortran;   /* -1: not there */
    size_t dimensions;
    size_t shape[NPY_MAX_DIMENSIONS];
    bool shaped, typed, many; /* many: more dimensions than there is room for */
};

static void skip_blanks(const char **p)
{
    while (isspace((unsigned char)**p))
        ++*p;
}

/* One character, blanks before it passed over. */
static bool take(const char **p, char c)
{
    skip_blanks(p);
    if (**p != c)
        return false;
    ++*p;
    return true;
}

static bool take_word(const char **p, const char *word)
{
    skip_blanks(p);
    size_t n = strlen(word);
    if (strncmp(*p, word, n) != 0)
        return false;
    *p += n;
    return true;
}

/* A string in quotes of either kind, without escapes; longer ones than there is room for are none
 * that we know. */
static bool take_string(const char **p, char *out, size_t room)
{
    skip_blanks(p);
    char quote = **p;
    if (quote != '\'' && quote != '"')
        return false;
    const char *start = ++*p, *end = strchr(start, quote);
    if (!end || (size_t)(end - start) >= room)
        return false;
    memcpy(out, start, (size_t)(end - start));
    out[end - start] = '\0';
    *p = end + 1;
    return true;
}

static bool take_size(const char **p, size_t *size)
{
    skip_blanks(p);
    if (!isdigit((unsigned char)**p))
        return false;
    for (*size = 0; isdigit((unsigned char)**p); ++*p)
        if (__builtin_mul_overflow(*size, 10, size) ||
            __builtin_add_overflow(*size, (size_t)(**p - '0'), size))
            return false;
    return true;
}

/* "(3, 2, 9)", "(3,)", "()" */
static bool take_shape(const char **p, struct description *d)
{
    if (!take(p, '('))
        return false;
    while (!take(p, ')')) {
        size_t size;
        if (!take_size(p, &size))
            return false;
        if (d->dimensions < NPY_MAX_DIMENSIONS)
            d->shape[d->dimensions++] = size;
        else
            d->many = true;
        if (!take(p, ',') && **p != ')')
            return false;
    }
    d->shaped = true;
    return true;
}

static bool take_entry(const char **p, struct description *d)
{
    char key[32];
    if (!take_string(p, key, sizeof key) || !take(p, ':'))
        return false;
    if (!strcmp(key, "descr"))
        return d->typed = take_string(p, d->type, sizeof d->type);
    if (!strcmp(key, "shape") && !d->shaped)
        return take_shape(p, d);
    if (strcmp(key, "fortran_order") != 0)
        return false;
    d->fortran = take_word(p, "True") ? 1 : take_word(p, "False") ? 0 : -1;
    return d->fortran >= 0;
}

/* false where it is not what NumPy writes of an array of one type. */
static bool parse_description(const char *text, struct description *d)
{
    const char *p = text;
    *d = (struct description){.fortran = -1};
    if (!take(&p, '{'))
        return false;
    while (!take(&p, '}'))
        if (!take_entry(&p, d) || (!take(&p, ',') && *p != '}'))
            return false;
    skip_blanks(&p);
    return !*p && d->typed && d->shaped && d->fortran >= 0;
}

/* ---- the file ---- */

static void map_file(struct npy *a)
{
    a->map = file_map(a->name, "an array of NumPy's");
}

/* The header's text, which the caller frees; *data_at: where the elements begin. */
static char *header_text(const struct npy *a, size_t *data_at)
{
    static const char magic[] = "\x93NUMPY";
    enum { MAGIC = sizeof magic - 1 };
    const unsigned char *p = a->map.base;
    if (a->map.size < MAGIC + 4 || memcmp(p, magic, MAGIC) != 0)
        die(EX_DATAERR,
            "%s: not a .npy file, as numpy.save() writes them (rec(1) says how to make one of a "
            ".pt "
            "file)",
            a->name);
    unsigned version = p[MAGIC];
    if (version < 1 || version > 3)
        die(EX_DATAERR, "%s: version %u.%u of the format; versions 1 to 3 are read here", a->name,
            version, p[MAGIC + 1]);
    size_t width = version == 1 ? 2 : 4, length = 0, start = MAGIC + 2 + width;
    if (a->map.size >= start)
        for (size_t i = width; i-- > 0;)
            length = length << 8 | p[MAGIC + 2 + i];
    if (a->map.size < start || a->map.size - start < length)
        die(EX_DATAERR, "%s: cut off within its header", a->name);
    *data_at = start + length;
    char *text = xmalloc(length + 1);
    memcpy(text, p + start, length);
    text[length] = '\0';
    return text;
}

static void take_type(struct npy *a, const char *type)
{
    const char *order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? "<>" : "><";
    bool real = (type[0] == order[0] || type[0] == order[1]) && type[1] == 'f' &&
                (!strcmp(type + 2, "4") || !strcmp(type + 2, "8"));
    if (!real)
        die(EX_DATAERR,
            "%s: elements of type '%s'; float32 and float64 are read here: save "
            "x.astype('float32')",
            a->name, type);
    a->swapped = type[0] == order[1];
    a->element = (size_t)(type[2] - '0');
}

static void take_layout(struct npy *a, const struct description *d, size_t data_at)
{
    size_t count = 1, bytes;
    a->dimensions = d->dimensions;
    memcpy(a->shape, d->shape, sizeof a->shape);
    for (size_t i = 0; i < d->dimensions; i++) {
        size_t k = d->fortran ? i : d->dimensions - 1 - i;
        a->stride[k] = count;
        if (__builtin_mul_overflow(count, d->shape[k], &count))
            die(EX_DATAERR, "%s: its shape has more elements than can be counted", a->name);
    }
    if (__builtin_mul_overflow(count, a->element, &bytes) || a->map.size - data_at != bytes)
        die(EX_DATAERR, "%s: %zu bytes of elements, not those of its shape: cut off or damaged",
            a->name, a->map.size - data_at);
    a->data = (const unsigned char *)a->map.base + data_at;
}

struct npy npy_open(const char *path)
{
    struct npy a = {.name = path};
    struct description d;
    size_t data_at;
    map_file(&a);
    char *text = header_text(&a, &data_at);
    if (!parse_description(text, &d))
        die(EX_DATAERR, "%s: its header is not that of an array of numbers", path);
    free(text);
    if (d.many)
        die(EX_DATAERR, "%s: more than %d dimensions", path, NPY_MAX_DIMENSIONS);
    take_type(&a, d.type);
    take_layout(&a, &d, data_at);
    return a;
}

double npy_at(const struct npy *a, const size_t *index)
{
    size_t at = 0;
    unsigned char bytes[8];
    for (size_t i = 0; i < a->dimensions; i++)
        at += a->stride[i] * index[i];
    memcpy(bytes, a->data + at * a->element, a->element);
    for (size_t i = 0; a->swapped && i < a->element / 2; i++) {
        unsigned char b = bytes[i];
        bytes[i] = bytes[a->element - 1 - i];
        bytes[a->element - 1 - i] = b;
    }
    float single;
    double wide;
    memcpy(&single, bytes, sizeof single);
    memcpy(&wide, bytes, sizeof wide);
    return a->element == sizeof single ? (double)single : wide;
}

void npy_close(struct npy *a)
{
    file_unmap(&a->map);
    *a = (struct npy){0};
}
