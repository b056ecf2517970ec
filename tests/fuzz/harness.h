/* What a fuzz target is, and what it takes to put files before the library's readers.
 *
 * Readers die at bad input. Here die() ends the input alone: what it had allocated, mapped or
 * opened is taken back, and the next input finds the process as the first one did. An input is a
 * finding where a sanitizer says so, where it takes too much time or memory, where it ends with a
 * status that is not the input's fault (EX_SOFTWARE, EX_OSERR), and where it is read to its end and
 * leaves memory behind. */
#ifndef DUQ_TESTS_FUZZ_HARNESS_H
#define DUQ_TESTS_FUZZ_HARNESS_H

#include <stdbool.h>
#include <stddef.h>

/* ---- a target has these ---- */

/* Once, before all inputs: what stays. */
void fuzz_start(void);
void fuzz_one(const char *data, size_t size);

/* ---- files ---- */

/* The folder that this process's inputs lie in. */
const char *fuzz_folder(void);
/* Its file `name` now has these bytes. The path lives as long as the input. */
const char *fuzz_file(const char *name, const void *data, size_t size);
void fuzz_remove(const char *name);

/* A file in parts: lines "=== NAME" each begin one, up to the newline before the next. A part that
 * is not there has no data. */
struct fuzz_part {
    const char *data; /* NULL: there is none */
    size_t size;
};
struct fuzz_part fuzz_part(const char *data, size_t size, const char *name);
/* The part as a file of the folder by its name; without a part there is no such file. False then.
 */
bool fuzz_part_file(const char *data, size_t size, const char *name);

/* As fuzz_file(), but of a header that is JSON, up to a NUL or the end, and tensors' bytes after
 * it, it makes a safetensors file: the length in front is the header's. What does not begin with a
 * brace is the file as it is. */
const char *fuzz_safetensors(const char *name, struct fuzz_part part);

/* Of a header and records without a trailer a whole stream, with its checksums; what is none, as it
 * is. */
const char *fuzz_stream(const char *name, const char *data, size_t size);

#endif
