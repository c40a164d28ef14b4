"""Parquet files that were made to do harm: each says more of itself than it holds, or holds more than it says."""
import io
import struct

import numpy
import pyarrow
import pyarrow.parquet

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


class Reader:
    """Thrift's compact protocol, in which footers and page headers are written. A struct is {field: [type, value]}, a list (type, values)."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def number(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def value(self, kind):
        if kind in (TRUE, FALSE):
            return kind == TRUE
        if kind == BYTE:
            return self.byte()
        if kind in (I16, I32, I64):
            return self.number()
        if kind == DOUBLE:
            self.at += 8
            return self.data[self.at - 8:self.at]
        if kind == BINARY:
            count = self.varint()
            self.at += count
            return self.data[self.at - count:self.at]
        if kind in (LIST, SET):
            head = self.byte()
            count = head >> 4 if head >> 4 != 15 else self.varint()
            return head & 15, [self.byte() == TRUE if head & 15 in (TRUE, FALSE) else self.value(head & 15) for _ in range(count)]
        assert kind == STRUCT, kind
        return self.struct()

    def struct(self):
        fields, last = {}, 0
        while (head := self.byte()) != 0:
            last = last + (head >> 4) if head >> 4 else self.number()
            fields[last] = [head & 15, self.value(head & 15)]
        return fields


def varint(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def number(value):
    return varint((value << 1) ^ (value >> 63))


def written(kind, value):
    if kind == BYTE:
        return bytes([value])
    if kind in (I16, I32, I64):
        return number(value)
    if kind == DOUBLE:
        return value
    if kind == BINARY:
        return varint(len(value)) + value
    if kind in (LIST, SET):
        of, values = value
        head = bytes([len(values) << 4 | of]) if len(values) < 15 else bytes([0xF0 | of]) + varint(len(values))
        return head + b"".join(bytes([TRUE if each else FALSE]) if of in (TRUE, FALSE) else written(of, each) for each in values)
    out, last = bytearray(), 0
    for field, (of, each) in sorted(value.items()):
        if of in (TRUE, FALSE):
            of = TRUE if each else FALSE
        out += bytes([field - last << 4 | of]) if 0 < field - last < 16 else bytes([of]) + number(field)
        if of not in (TRUE, FALSE):
            out += written(of, each)
        last = field
    return bytes(out) + b"\0"


def closed(body, footer):
    """A file of these pages and this footer."""
    footer = written(STRUCT, footer)
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def opened(data):
    """The pages of a file, and its footer."""
    size = struct.unpack("<I", data[-8:-4])[0]
    return data[:-8 - size], Reader(data, len(data) - 8 - size).struct()


def file(table, **options):
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out, **options)
    return out.getvalue()


def small():
    return file(pyarrow.table({"x": list(range(1000))}), use_dictionary=False, compression="none", write_statistics=False, store_schema=False)


def many_rows():
    """2^40 rows, says the footer."""
    body, footer = opened(small())
    footer[3][1] = 1 << 40
    group = footer[4][1][1][0]
    group[3][1] = 1 << 40
    group[1][1][1][0][3][1][5][1] = 1 << 40
    return closed(body, footer)


def page(**changes):
    """A file whose only page says something else of itself."""
    body, footer = opened(small())
    chunk = footer[4][1][1][0][1][1][1][0][3][1]
    reader = Reader(body, chunk[9][1])
    head = reader.struct()
    for name, value in changes.items():
        if name == "values":
            head[5][1][1][1] = value
        else:
            head[{"whole": 2, "packed": 3}[name]][1] = value
    return closed(body[:chunk[9][1]] + written(STRUCT, head) + body[reader.at:], footer)


def nested(depth):
    """Groups within groups, and no rows."""
    _, footer = opened(small())
    group = {3: [I32, 1], 4: [BINARY, b"g"], 5: [I32, 1]}
    leaf = {1: [I32, 1], 3: [I32, 1], 4: [BINARY, b"x"]}
    footer[2][1] = (STRUCT, [{4: [BINARY, b"schema"], 5: [I32, 1]}] + [group] * depth + [leaf])
    footer[3][1] = 0
    footer[4][1] = (STRUCT, [])
    return closed(b"PAR1", footer)


def wide(count):
    return file(pyarrow.table({f"column_{i:05d}": [i, i + 1] for i in range(count)}), use_dictionary=False, write_statistics=False)


def packed_page(megabytes):
    """One page of so many megabytes, packed into a few kilobytes."""
    table = pyarrow.table({"x": numpy.zeros(megabytes << 17, dtype="int64")})
    return file(table, use_dictionary=False, compression="zstd", write_statistics=False, data_page_size=1 << 30, row_group_size=megabytes << 17)


def large_values(megabytes, rows):
    """One text of so many megabytes in every row, stored once."""
    texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * rows, pyarrow.int32()), pyarrow.array(["a" * (megabytes << 20)]))
    return file(pyarrow.table({"x": texts}), compression="zstd", write_statistics=False)


def circular():
    """A group that has more children than the footer has columns."""
    body, footer = opened(small())
    footer[2][1][1][0][5][1] = (1 << 31) - 1
    return closed(body, footer)


def far_pages():
    """Pages that begin behind the end of the file."""
    body, footer = opened(small())
    footer[4][1][1][0][1][1][1][0][3][1][9][1] = 1 << 50
    return closed(body, footer)


FILES = {
    "rows": many_rows, "page-whole": lambda: page(whole=(1 << 31) - 1), "page-packed": lambda: page(packed=(1 << 31) - 1), "page-negative": lambda: page(whole=-5, packed=-5),
    "page-values": lambda: page(values=(1 << 31) - 1), "nested-100": lambda: nested(100), "nested-100000": lambda: nested(100_000), "wide": lambda: wide(10_000),
    "packed-page": lambda: packed_page(320), "large-values": lambda: large_values(32, 100), "children": circular, "far-pages": far_pages,
}
