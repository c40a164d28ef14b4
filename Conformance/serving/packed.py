"""Reads rows of the prediction log as they are stored (`Sources/Contracts/Table/PackedRow.swift`)."""
import datetime
import struct

EPOCH = datetime.datetime(1970, 1, 1)


def values(data):
    """The values of a row; anything but a whole row is an error."""
    out, at = [], 0
    while at < len(data):
        value, at = _value(data, at)
        out.append(value)
    assert at == len(data), "a logged row is not whole"
    return out


def _value(data, at):
    kind, at = data[at], at + 1
    if kind < 3:
        return [None, False, True][kind], at
    if kind in (7, 8, 11):
        count, at = struct.unpack_from("<I", data, at)[0], at + 4
        if kind == 11:
            items = []
            for _ in range(count):
                item, at = _value(data, at)
                items.append(item)
            return items, at
        content = data[at:at + count]
        assert len(content) == count, "a logged row is not whole"
        return content.decode() if kind == 7 else content, at + count
    form = {3: "<b", 4: "<q", 5: "<f", 6: "<d", 9: "<i", 10: "<q"}[kind]
    number = struct.unpack_from(form, data, at)[0]
    at += struct.calcsize(form)
    if kind == 9:
        return (EPOCH + datetime.timedelta(days=number)).date(), at
    return EPOCH + datetime.timedelta(microseconds=number) if kind == 10 else number, at
