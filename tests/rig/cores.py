# SPDX-License-Identifier: BSD-2-Clause-Patent
"""Whether partitions ever shared a core: reads the rings of include/corbel/trace.h out of the
machine's memory, which `--ram` leaves in a file of the test's folder."""

import mmap
import struct

MAGIC = b"CORBEL TRACE 1\0\0"
HEADER = struct.Struct("<16sQIIII")
RECORD = struct.Struct("<QQ")
PAGE = 4096
NOBODY = 0


def _rings(path):
    """{LP: (threads of a core, [(TSC, partition), ...])}, records in order."""
    rings = {}
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as ram:
        at = ram.find(MAGIC)
        while at >= 0:
            _, count, capacity, lp, threads, _ = HEADER.unpack_from(ram, at)
            if at % PAGE == 0 and 0 < capacity < 1 << 20 and count:
                first = at + HEADER.size
                records = [RECORD.unpack_from(ram, first + i * RECORD.size)
                           for i in range(min(count, capacity))]
                start = count % capacity if count > capacity else 0
                rings[lp] = threads, records[start:] + records[:start]
            at = ram.find(MAGIC, at + PAGE)
    return rings


def _intervals(records):
    """[(start, end, partition), ...] of one LP; the last record has no end, and is left out."""
    return [(tsc, end, partition) for (tsc, partition), (end, _) in zip(records, records[1:])
            if partition != NOBODY]


def _shared(one, other):
    """Pairs of intervals of two threads, of two partitions, that overlap."""
    pairs, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        a, b = one[i], other[j]
        if a[2] != b[2] and max(a[0], b[0]) < min(a[1], b[1]):
            pairs.append((a, b))
        if a[1] < b[1]:
            i += 1
        else:
            j += 1
    return pairs


def _examine(result):
    path = result.folder / "ram"
    rings = _rings(path)
    path.unlink()
    runs = {lp: _intervals(records) for lp, (_, records) in rings.items()}
    partitions = {run[2] for lp in runs for run in runs[lp]}
    pairs = [pair for lp in rings for other in rings
             if lp < other and lp // rings[lp][0] == other // rings[other][0]
             for pair in _shared(runs[lp], runs[other])]
    return rings, partitions, pairs, sum(map(len, runs.values()))


def _too_little(rings, partitions, runs):
    """What the rings must hold, or nothing is shown by them."""
    if len(rings) != 4 or any(threads != 2 for threads, _ in rings.values()):
        return f"rings of LPs {sorted(rings)}: four with two threads a core were expected"
    if len(partitions) < 3 or runs < 1000:
        return f"{runs} runs of {len(partitions)} partitions are too few to show anything"
    return ""


def never_shared(result):
    """No two partitions were on one core at once."""
    rings, partitions, pairs, runs = _examine(result)
    fault = _too_little(rings, partitions, runs)
    if not fault and pairs:
        fault = f"partitions shared a core {len(pairs)} times in {runs} runs, first {pairs[0]}"
    return fault


def shared(result):
    """They were, which shows that it would be seen."""
    rings, partitions, pairs, runs = _examine(result)
    fault = _too_little(rings, partitions, runs)
    if not fault and not pairs:
        fault = f"partitions never shared a core in {runs} runs"
    return fault
