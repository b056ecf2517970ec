/* Memory that is there or ends the program (EX_OSERR), and a growing byte buffer. */
#ifndef DUQ_UTIL_MEM_H
#define DUQ_UTIL_MEM_H

#include "common/util/everywhere.h"

#include <stdbool.h>
#include <stddef.h>

DUQ_C_BEGIN

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
/* count * size with an overflow check. */
void *xreallocarray(void *old, size_t count, size_t size);
/* 64-byte aligned, for vector loads; free() releases it. Contents are not set. */
void *xaligned(size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t most);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether they are the same; of no bytes the address may be NULL. */
bool same_bytes(const void *a, size_t a_len, const void *b, size_t b_len);

bool ends_with(const char *s, const char *end);

/* Bytes that grow at the end. Start from {0}; data is not NUL-terminated unless said so. */
struct buf {
    char *data;
    size_t len, cap;
};
void buf_reserve(struct buf *b, size_t extra);
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* NUL-terminates without counting the NUL in len; returns data. */
char *buf_str(struct buf *b);
void buf_free(struct buf *b);

DUQ_C_END

#endif
