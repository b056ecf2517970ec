#include "common/util/json.h"

#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/foreign_file.h"
#include "common/util/mem.h"
#include "common/util/utf8.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

json_t *json_number(double x)
{
    bool whole = fabs(x) < 0x1p53 && x == (double)(json_int_t)x;
    return whole ? json_integer((json_int_t)x) : json_real(x);
}

/* Reals as json_number() has them. */
static json_t *with_integers(json_t *value)
{
    const char *key;
    json_t *part;
    size_t i;
    if (json_is_real(value)) {
        json_t *number = json_number(json_real_value(value));
        json_decref(value);
        return number;
    }
    json_object_foreach(value, key, part)
    {
        json_object_set_new(value, key, with_integers(json_incref(part)));
    }
    json_array_foreach(value, i, part)
    {
        json_array_set_new(value, i, with_integers(json_incref(part)));
    }
    return value;
}

/* Goes past a byte order mark, which some editors write; false where the file begins with a part of
 * one, which no JSON does. */
static bool pass_mark(FILE *f)
{
    int c = getc(f);
    if (c == 0xef)
        return getc(f) == 0xbb && getc(f) == 0xbf;
    ungetc(c, f);
    return true;
}

/* Numbers that no 64 bits hold stand in files that mean "no limit" by them. Where there is one, all
 * numbers are read as reals first. */
static json_t *load(FILE *f, json_error_t *error)
{
    enum { FLAGS = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY };
    *error = (json_error_t){.line = 1, .column = 1, .text = "invalid byte 0xef"};
    if (!pass_mark(f))
        return NULL;
    json_t *value = json_loadf(f, FLAGS, error);
    if (value || json_error_code(error) != json_error_numeric_overflow || fseek(f, 0, SEEK_SET) ||
        !pass_mark(f))
        return value;
    value = json_loadf(f, FLAGS | JSON_DECODE_INT_AS_REAL, error);
    return value ? with_integers(value) : NULL;
}

static void refuse_foreign(FILE *f, const char *path)
{
    char start[256];
    rewind(f);
    foreign_file_refuse(path, start, fread(start, 1, sizeof start, f));
}

json_t *json_read_file(const char *path)
{
    FILE *f = file_open(path);
    json_error_t error;
    json_t *value = load(f, &error);
    if (!value && !ferror(f))
        refuse_foreign(f, path);
    file_close(f, path);
    if (!value)
        die(EX_DATAERR, "%s: line %d, column %d: %s", path, error.line, error.column, error.text);
    return value;
}

json_t *json_lossy(const char *bytes)
{
    struct buf text = {0};
    size_t left = strlen(bytes);
    for (size_t good; (good = utf8_invalid_at(bytes, left)) < left;) {
        buf_add(&text, bytes, good);
        buf_addf(&text, "\xef\xbf\xbd");
        bytes += good + 1;
        left -= good + 1;
    }
    buf_add(&text, bytes, left);
    json_t *string = json_stringn(text.data ? text.data : "", text.len);
    buf_free(&text);
    return string;
}

char *json_text(const json_t *value, size_t flags)
{
    char *text = json_dumps(value, flags | JSON_ENCODE_ANY);
    if (!text)
        die(EX_OSERR, "out of memory: JSON could not be written");
    return text;
}

void json_write(const json_t *value, size_t flags, FILE *to)
{
    char *text = json_text(value, flags);
    fwrite(text, 1, strlen(text), to);
    putc('\n', to);
    free(text);
}

static char *text_of(const json_t *value)
{
    /* 15 digits: 0.1 is said as 0.1. */
    return value ? json_text(value, JSON_COMPACT | JSON_REAL_PRECISION(15)) : xstrdup("not set");
}

/* Of a's keys, but for one, the first whose value is another in b, or not there. */
static const char *first_difference(const json_t *a, const json_t *b, const char *but)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)a, key, value)
    {
        const json_t *other = json_object_get(b, key);
        if ((!but || strcmp(key, but) != 0) && (!other || !json_equal(other, value)))
            return key;
    }
    return NULL;
}

const char *json_differing_key(const json_t *then, const json_t *now, const char *but)
{
    const char *key = first_difference(now, then, but);
    return key ? key : first_difference(then, now, but);
}

const char *json_difference(const json_t *then, const json_t *now, char **before, char **after)
{
    const char *key = json_differing_key(then, now, NULL);
    if (key) {
        *before = text_of(json_object_get(then, key));
        *after = text_of(json_object_get(now, key));
    }
    return key;
}
