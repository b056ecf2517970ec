#include "common/text/protobuf.h"

#include <string.h>

static bool damaged(struct protobuf *p)
{
    p->damaged = true;
    return false;
}

static bool varint(struct protobuf *p, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && p->left; shift += 7) {
        unsigned char c = (unsigned char)*p->at++;
        p->left--;
        *value |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80)
            return true;
    }
    return damaged(p);
}

/* A little-endian number of so many bytes. */
static bool fixed(struct protobuf *p, size_t bytes, uint64_t *value)
{
    if (p->left < bytes)
        return damaged(p);
    *value = 0;
    for (size_t i = 0; i < bytes; i++)
        *value |= (uint64_t)(unsigned char)p->at[i] << 8 * i;
    p->at += bytes;
    p->left -= bytes;
    return true;
}

bool protobuf_next(struct protobuf *p, struct protobuf_field *field)
{
    uint64_t key;
    if (p->left == 0 || !varint(p, &key))
        return false;
    if (key >> 3 == 0 || key >> 3 > UINT32_MAX)
        return damaged(p);
    field->number = (uint32_t)(key >> 3);
    field->type = (enum wire_type)(key & 7);
    switch (field->type) {
    case WIRE_VARINT:
        return varint(p, &field->value);
    case WIRE_64:
        return fixed(p, 8, &field->value);
    case WIRE_32:
        return fixed(p, 4, &field->value);
    case WIRE_BYTES:
        if (!varint(p, &field->value))
            return false;
        if (field->value > p->left)
            return damaged(p);
        field->bytes = p->at;
        field->len = (size_t)field->value;
        p->at += field->len;
        p->left -= field->len;
        return true;
    }
    return damaged(p);
}

float protobuf_float(const struct protobuf_field *field)
{
    uint32_t bits = (uint32_t)field->value;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
