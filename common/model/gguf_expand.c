#include "common/model/gguf_expand.h"

#include "common/util/dtype.h"

/* A half-precision number within a block. */
static float half_at(const unsigned char *bytes)
{
    return dtype_load(F16, bytes, 0);
}

/* ---- blocks of 32: one scale, with or without a least value ---- */

enum { SMALL = 32 };

/* 4-bit numbers: the first half of a block in the low nibbles, the second in the high ones. */
static int nibble(const unsigned char *bytes, int i)
{
    return i < SMALL / 2 ? bytes[i] & 15 : bytes[i - SMALL / 2] >> 4;
}

/* A fifth bit for each, of a word that need not be aligned. */
static int fifth_bit(const unsigned char *bytes, int i)
{
    return (bytes[i / 8] >> i % 8 & 1) << 4;
}

static void expand_q4_0(const unsigned char *b, float *out)
{
    float d = half_at(b);
    for (int i = 0; i < SMALL; i++)
        out[i] = d * (float)(nibble(b + 2, i) - 8);
}

static void expand_q4_1(const unsigned char *b, float *out)
{
    float d = half_at(b), m = half_at(b + 2);
    for (int i = 0; i < SMALL; i++)
        out[i] = d * (float)nibble(b + 4, i) + m;
}

static void expand_q5_0(const unsigned char *b, float *out)
{
    float d = half_at(b);
    for (int i = 0; i < SMALL; i++)
        out[i] = d * (float)((nibble(b + 6, i) | fifth_bit(b + 2, i)) - 16);
}

static void expand_q5_1(const unsigned char *b, float *out)
{
    float d = half_at(b), m = half_at(b + 2);
    for (int i = 0; i < SMALL; i++)
        out[i] = d * (float)(nibble(b + 8, i) | fifth_bit(b + 4, i)) + m;
}

static void expand_q8_0(const unsigned char *b, float *out)
{
    float d = half_at(b);
    for (int i = 0; i < SMALL; i++)
        out[i] = d * (float)(int8_t)b[2 + i];
}

/* ---- blocks of 256, in parts with scales of their own ---- */

enum { LARGE = 256, PART = 32, PARTS = LARGE / PART };

/* The 6-bit scale and least value of a part, packed in 12 bytes: those of parts 0 to 3 in the low
 * bits of bytes 0 to 3 and 4 to 7; of the others four bits in bytes 8 to 11, two in the high bits
 * of the bytes before. */
static void part_scale(const unsigned char *s, int part, int *scale, int *least)
{
    if (part < 4) {
        *scale = s[part] & 63;
        *least = s[part + 4] & 63;
        return;
    }
    *scale = (s[part + 4] & 15) | (s[part - 4] >> 6) << 4;
    *least = s[part + 4] >> 4 | (s[part] >> 6) << 4;
}

/* Q4_K, and with a fifth bit for each number Q5_K. Two parts share 32 bytes of nibbles; byte i of
 * fifth bits is of element i of every part, bit by part. */
static void expand_k(const unsigned char *b, const unsigned char *fifth,
                     const unsigned char *nibbles, float *out)
{
    float d = half_at(b), m = half_at(b + 2);
    for (int part = 0; part < PARTS; part++) {
        int scale, least;
        part_scale(b + 4, part, &scale, &least);
        float part_d = d * (float)scale, part_m = m * (float)least;
        const unsigned char *four = nibbles + PART * (part / 2);
        for (int i = 0; i < PART; i++) {
            int q = four[i] >> 4 * (part % 2) & 15;
            if (fifth)
                q |= (fifth[i] >> part & 1) << 4;
            out[PART * part + i] = part_d * (float)q - part_m;
        }
    }
}

static void expand_q4_k(const unsigned char *b, float *out)
{
    expand_k(b, NULL, b + 16, out);
}

static void expand_q5_k(const unsigned char *b, float *out)
{
    expand_k(b, b + 16, b + 16 + PART, out);
}

/* Halves of 128: 64 bytes of nibbles hold elements 0 to 63 in the low ones, 64 to 127 in the high
 * ones; 32 bytes hold two more bits for elements i, 32 + i, 64 + i and 96 + i each; 16 elements
 * share a scale. */
static void expand_q6_k(const unsigned char *b, float *out)
{
    enum { HALF = 128, HIGH = 128, SCALES = 192, SCALE = 208 };
    float d = half_at(b + SCALE);
    for (int i = 0; i < LARGE; i++) {
        int half = i / HALF, k = i % HALF;
        int four = b[64 * half + k % 64] >> 4 * (k / 64) & 15;
        int two = b[HIGH + 32 * half + k % 32] >> 2 * (k / 32) & 3;
        float scale = d * (float)(int8_t)b[SCALES + i / 16];
        out[i] = scale * (float)((four | two << 4) - 32);
    }
}

void gguf_expand(const struct gguf_type *type, const unsigned char *packed, size_t n, float *out)
{
    static void (*const expand[])(const unsigned char *, float *) = {
        [GGML_Q4_0] = expand_q4_0, [GGML_Q4_1] = expand_q4_1, [GGML_Q5_0] = expand_q5_0,
        [GGML_Q5_1] = expand_q5_1, [GGML_Q8_0] = expand_q8_0, [GGML_Q4_K] = expand_q4_k,
        [GGML_Q5_K] = expand_q5_k, [GGML_Q6_K] = expand_q6_k};
    for (size_t i = 0; i < n / type->block; i++)
        expand[type->number](packed + i * type->bytes, out + i * type->block);
}
