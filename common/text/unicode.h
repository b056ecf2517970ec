/* UTF-8 and the few character classes that tokenizers ask for. */
#ifndef DUQ_TEXT_UNICODE_H
#define DUQ_TEXT_UNICODE_H

#include "common/util/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length in bytes of the character that starts with this byte, in text known to be UTF-8. */
static inline size_t utf8_len(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* Where the character begins that ends before s + at, in text known to be UTF-8; at > 0. */
static inline size_t utf8_before(const char *s, size_t at)
{
    do
        at--;
    while (((unsigned char)s[at] & 0xC0) == 0x80);
    return at;
}

/* The code point at s, in text known to be UTF-8; *len gets its bytes. */
static inline uint32_t utf8_get(const char *s, size_t *len)
{
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] < 0x80) {
        *len = 1;
        return u[0];
    }
    if (u[0] < 0xE0) {
        *len = 2;
        return (u[0] & 0x1Fu) << 6 | (u[1] & 0x3Fu);
    }
    if (u[0] < 0xF0) {
        *len = 3;
        return (u[0] & 0x0Fu) << 12 | (u[1] & 0x3Fu) << 6 | (u[2] & 0x3Fu);
    }
    *len = 4;
    return (u[0] & 0x07u) << 18 | (u[1] & 0x3Fu) << 12 | (u[2] & 0x3Fu) << 6 | (u[3] & 0x3Fu);
}

/* Appends a code point as UTF-8. */
void utf8_add(struct buf *b, uint32_t code);

/* Appends bytes as text: each maximal part of a broken character becomes U+FFFD (Unicode 3.9,
 * "substitution of maximal subparts"; what Rust's from_utf8_lossy does). */
void utf8_add_lossy(struct buf *b, const char *s, size_t len);

/* Where Python's str.split() splits and str.strip() strips: the characters of str.isspace(). */
bool unicode_is_split_space(uint32_t code);
/* White_Space. */
bool unicode_is_space(uint32_t code);
/* General category N (Unicode 17, as Rust's library has it). */
bool unicode_is_number(uint32_t code);
/* A word character: Alphabetic, M, Nd, Pc or Join_Control (Unicode TR 18, of Unicode 16). */
bool unicode_is_word(uint32_t code);

/* Byte-level alphabet (GPT-2): each byte as a printable code point, and back (-1: not one). */
uint32_t byte_to_char(unsigned char byte);
int char_to_byte(uint32_t code);

#endif
