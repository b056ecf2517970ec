"""Writes and reads duq's record streams (duq-stream(5)) without any of duq's own code."""
import math

import msgpack
import numpy as np
import xxhash


def encode(header, records, close=True):
    """The bytes of a stream. header needs "schema"; arrays are bytes by now. close=False leaves the trailer out: a
    stream that was cut off."""
    head = msgpack.packb({"duq": 1, **header})
    body = b"".join(map(msgpack.packb, records))
    trailer = {"end": len(records), "xxh64": xxhash.xxh64_hexdigest(body), "header": xxhash.xxh64_hexdigest(head)}
    return head + body + (msgpack.packb(trailer) if close else b"")


def write(path, header, records, close=True):
    """A stream as a file; numpy arrays become bin, NaN nil."""
    def plain(v):
        if isinstance(v, np.ndarray):
            return v.tobytes()
        if isinstance(v, float) and math.isnan(v):
            return None
        return v

    with open(path, "wb") as f:
        f.write(encode(header, [{k: plain(v) for k, v in r.items()} for r in records], close))


def read(path, dtypes=None):
    """(header, records) of one stream; dtypes: field -> numpy type of the bin fields."""
    with open(path, "rb") as f:
        objects = list(msgpack.Unpacker(f, raw=False))
    records = [{k: np.frombuffer(v, dtypes[k]) if dtypes and k in dtypes and v is not None else v
                for k, v in o.items()} for o in objects[1:-1]]
    return objects[0], records
