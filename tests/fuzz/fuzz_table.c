/* Tables and lines: the first bytes say of which kind and with which options, up to a newline. */
#include "common/stream/import.h"
#include "tests/fuzz/harness.h"

#include <stdlib.h>
#include <string.h>

void fuzz_start(void)
{
}

static bool has(const char *options, size_t n, char letter)
{
    return memchr(options, letter, n);
}

void fuzz_one(const char *data, size_t size)
{
    const char *end = memchr(data, '\n', size);
    size_t n = end ? (size_t)(end - data) : 0;
    if (!end)
        return;
    const char *path = fuzz_file("in", end + 1, size - n - 1);
    enum row_format format = has(data, n, 't')   ? ROWS_TSV
                             : has(data, n, 'j') ? ROWS_JSONL
                             : has(data, n, 'l') ? ROWS_LINES
                                                 : ROWS_CSV;
    char *paths[] = {(char *)path, (char *)path};
    struct rows *r = rows_open(format, paths, has(data, n, '2') ? 2 : 1,
                               has(data, n, ';') ? ';' : ',', !has(data, n, 'n'));
    struct import_options o = {.text = format == ROWS_LINES ? "1" : "{text}. {text}",
                               .missing = has(data, n, 'p') ? MISSING_PANDAS : MISSING_AS_IS,
                               .ignore_unused = has(data, n, 'u'),
                               .skip_bad = has(data, n, 'b')};
    if (has(data, n, 'n'))
        o.text = "{1}{{}}";
    if (has(data, n, 'i'))
        o.id = "id";
    if (has(data, n, 'm')) {
        o.label = "label";
        o.label_map = "spam=1,ham=0";
    } else if (has(data, n, 'k')) {
        o.label = "label";
        o.classes = "negative,positive";
    }
    struct import_fault fault = {0};
    struct import *im = import_new(r, &o, &fault);
    struct example e;
    while (im && import_next(im, &e))
        ;
    if (im)
        import_free(im);
    free(fault.text);
    rows_close(r);
}
