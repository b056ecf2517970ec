"""Writes and reads duq's record streams (duq-stream(5)) without any of duq's own code."""
import math

import msgpack
import numpy as np
import xxhash


def write(path, header, records, close=True):
    """header needs "schema"; numpy arrays become bin. close=False leaves the trailer out: a stream that was cut off."""
    def pack(value):
        def plain(v):
            if isinstance(v, np.ndarray):
                return v.tobytes()
            if isinstance(v, float) and math.isnan(v):
                return None
            return v
        return msgpack.packb({k: plain(v) for k, v in value.items()}, use_bin_type=True)

    head = pack({"duq": 1, **header})
    body = [pack(r) for r in records]
    with open(path, "wb") as f:
        f.write(head + b"".join(body))
        if close:
            f.write(pack({"end": len(body), "xxh64": xxhash.xxh64_hexdigest(b"".join(body)),
                          "header": xxhash.xxh64_hexdigest(head)}))


def read(path, dtypes=None):
    """(header, records) of one stream; dtypes: field -> numpy type of the bin fields."""
    with open(path, "rb") as f:
        objects = list(msgpack.Unpacker(f, raw=False))
    records = [{k: np.frombuffer(v, dtypes[k]) if dtypes and k in dtypes and v is not None else v
                for k, v in o.items()} for o in objects[1:-1]]
    return objects[0], records
