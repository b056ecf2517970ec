/* Reading protocol buffers' wire format, within bounds: fields one by one.
 * https://protobuf.dev/programming-guides/encoding/ */
#ifndef DUQ_TEXT_PROTOBUF_H
#define DUQ_TEXT_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* A message being read: {bytes, length}. */
struct protobuf {
    const char *at;
    size_t left;
    bool damaged; /* the bytes ended within a field, or are none */
};

struct protobuf_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value; /* of the number types, as it is on the wire */
    const char *bytes;
    size_t len; /* of WIRE_BYTES */
};

/* False at the end, damaged or not. */
bool protobuf_next(struct protobuf *p, struct protobuf_field *field);
/* A WIRE_32 value as the float it is. */
float protobuf_float(const struct protobuf_field *field);

#endif
