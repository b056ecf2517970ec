/* Words met before and their token ids. Bounded: when full it starts again from empty. */
#ifndef DUQ_TEXT_WORD_CACHE_H
#define DUQ_TEXT_WORD_CACHE_H

#include "common/text/ids.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct word_cache;

struct word_cache *word_cache_new(void);
void word_cache_free(struct word_cache *c);
uint64_t word_cache_hash(const char *word, size_t len);
/* Appends the word's ids; false when it is not there. hash: word_cache_hash() of the word. */
bool word_cache_find(const struct word_cache *c, uint64_t hash, const char *word, size_t len,
                     struct ids *out);
/* The word must not be there yet. */
void word_cache_add(struct word_cache *c, uint64_t hash, const char *word, size_t len,
                    const int32_t *ids, size_t n);

#endif
