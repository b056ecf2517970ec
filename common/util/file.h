/* Files that are read as a whole. Here, and in input.h for those read in order, it is noted what a
 * program's inputs are (apart.h). */
#ifndef DUQ_UTIL_FILE_H
#define DUQ_UTIL_FILE_H

#include "common/util/mem.h"

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Whether there is something under the path; dies (die_errno()) where that cannot be told: what
 * cannot be looked at is not taken for missing. */
bool file_exists(const char *path);
/* The same of a name in a folder. */
bool file_exists_in(const char *folder, const char *name);

/* Open for reading; dies with die_errno(). */
FILE *file_open(const char *path);
/* Closes it; dies with die_errno() where reading it has failed. */
void file_close(FILE *f, const char *path);
/* Adds all that the file holds; dies with die_errno(). */
void file_read(const char *path, struct buf *out);

/* A regular file's bytes, mapped and watched (mapping.h); NULL where it has none. */
struct file_map {
    void *base;
    size_t size;
    struct apart *use;
};

/* Dies: with die_errno(), or EX_DATAERR where it is no regular file; what: "a GGUF file". */
struct file_map file_map(const char *path, const char *what);
void file_unmap(struct file_map *map);

/* What a folder holds; none where there is no such folder. Dies with die_errno() where it cannot be
 * read to its end. */
DIR *folder_open(const char *path);
/* A name, to be used before the next call; NULL after the last. */
const char *folder_next(DIR *d, const char *path);
void folder_close(DIR *d);

#endif
