#!/usr/bin/env python3
"""The kernels that take longest, from ncu's table of launches (--csv --page raw).

usage: heaviest.py FILE N      with gpu__time_duration.sum, sm__throughput... and dram__throughput... among its columns
"""
import csv
import sys

UNITS = {"nsecond": 1e-9, "ns": 1e-9, "usecond": 1e-6, "us": 1e-6, "msecond": 1e-3, "ms": 1e-3, "second": 1, "s": 1}


def main():
    with open(sys.argv[1]) as f:
        lines = [line for line in f if line.startswith('"')]
    rows = list(csv.DictReader(lines))
    units, rows = rows[0], rows[1:]
    column = {short: next(c for c in units if c.startswith(short))
              for short in ("gpu__time_duration", "sm__throughput", "dram__throughput")}
    scale = UNITS[units[column["gpu__time_duration"]]]
    kernels = {}
    for row in rows:
        seconds = scale * float(row[column["gpu__time_duration"]].replace(",", ""))
        k = kernels.setdefault(row["Kernel Name"].split("(")[0], [0, 0.0, 0.0, 0.0])
        k[0] += 1
        k[1] += seconds
        k[2] += seconds * float(row[column["sm__throughput"]].replace(",", ""))
        k[3] += seconds * float(row[column["dram__throughput"]].replace(",", ""))
    total = sum(k[1] for k in kernels.values())
    print(f"{len(rows)} launches, {1e3 * total:.3f} ms; by kernel: launches, ms, share, and % of the peak of the "
          "multiprocessors and of the memory, weighted by time")
    heaviest = sorted(kernels.items(), key=lambda item: -item[1][1])
    for name, (n, seconds, sm, dram) in heaviest[:int(sys.argv[2])]:
        print(f"{n:6} {1e3 * seconds:10.3f} {100 * seconds / total:6.1f} % {sm / seconds:6.1f} {dram / seconds:6.1f}  {name}")


if __name__ == "__main__":
    main()
