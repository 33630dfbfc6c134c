"""Blanks the kernels of all but one compute capability in a CUDA library, so that it compresses well.

keep_architecture.py SOURCE TARGET CAPABILITY: 90 is Hopper (H100, H200), 80 and 86 Ampere, 89 Ada. The library keeps its size and
layout. Exit code 1 where it has no kernels of that capability. Format: the section .nv_fatbin holds fat binaries (magic 0xBA55ED50),
each a row of entries with kind (2: machine code), header size, payload size and, at byte 28, the architecture.
"""

import struct
import sys

MAGIC = 0xBA55ED50
MACHINE_CODE = 2


def sections(library: bytes):
    """Name, offset and size of each section of a 64-bit little-endian ELF file."""
    (table,) = struct.unpack_from('<Q', library, 0x28)
    entry, count, names = struct.unpack_from('<HHH', library, 0x3A)
    headers = [struct.unpack_from('<IIQQQQIIQQ', library, table + i * entry) for i in range(count)]
    strings = headers[names][4]
    for name, _, _, _, offset, size, *_ in headers:
        begin = strings + name
        yield library[begin : library.index(0, begin)].decode(), offset, size


def blank_others(library: bytearray, offset: int, end: int, keep: int) -> int:
    """How many entries were kept."""
    kept = 0
    while offset < end - 16:
        magic, _, header, size = struct.unpack_from('<IHHQ', library, offset)
        if magic != MAGIC:
            offset += 8
            continue
        entry, last = offset + header, offset + header + size
        while entry < last:
            kind, _, entry_header, entry_size = struct.unpack_from('<HHIQ', library, entry)
            (architecture,) = struct.unpack_from('<I', library, entry + 28)
            if kind == MACHINE_CODE and architecture == keep:
                kept += 1
            else:
                library[entry + entry_header : entry + entry_header + entry_size] = bytes(entry_size)
            entry += entry_header + entry_size
        offset = last
    return kept


if __name__ == '__main__':
    source, target, capability = sys.argv[1:]
    with open(source, 'rb') as file:
        content = bytearray(file.read())
    kept = sum(
        blank_others(content, offset, offset + size, int(capability))
        for name, offset, size in sections(bytes(content))
        if name == '.nv_fatbin'
    )
    if kept == 0:
        sys.exit(f'keep_architecture: {source} has no kernels of compute capability {capability}')
    with open(target, 'wb') as file:
        file.write(content)
