"""The program of a Keel worker: it loads one extension and calls it with tables.

An extension is a class with two methods; `EXTENSIONS` names those that are known:

    load(path) -> Extension
        Loads what lies in the folder `path`. Runs once, before the first call.
    call(name, table, params) -> table
        Calls it. `name` says what is asked of it, for kinds that can do several things. `table` is a list of `Column`; `params` is a dict that came as
        JSON. What is returned may be anything that `to_columns` takes: data frames, arrays, lists, dicts of them.

An exception of either goes to the caller as an error, and the worker takes the next call. The server ends a worker that does not answer in time.

The server is at the other end of the socket that is open as the descriptor given as the first argument. docs/workers.md describes the messages, and
`TableFrame.swift` the bytes of a table. Python 3.9 and later; numpy must be there, pandas for data frames.
"""

import datetime
import decimal
import json
import os
import socket
import struct
import sys
import traceback

import numpy as np

MAGIC = b"KLW1"
EPOCH = datetime.date(1970, 1, 1)
FIXED = {
    "bool": np.dtype("?"), "int32": np.dtype("<i4"), "int64": np.dtype("<i8"), "float32": np.dtype("<f4"), "float64": np.dtype("<f8"),
    "date": np.dtype("<i4"), "timestamp": np.dtype("<i8"),
}
INSTANTS = (-62135596800000000, 253402300799999999)
DAYS = (-719162, 2932896)
TEXT_MAX = 2000


class Refused(Exception):
    """What an extension gives that no table can hold."""


# ---------------------------------------------------------------- tables


class Column:
    """A named, typed column: `values` is a numpy array for scalars and tensors, and a list for texts, bytes and lists.

    `valid` is an array of booleans, or None when every row has a value.
    """

    def __init__(self, name, type, values, valid=None):
        self.name = name
        self.type = type
        self.values = values
        self.valid = valid if valid is None or not valid.all() else None

    def __len__(self):
        return len(self.values)


def tensor_parts(type):
    """`tensor<float32, 3x-1>` as ("float32", (3, -1)); None for other types."""
    if not type.startswith("tensor<"):
        return None
    element, shape = type[7:-1].split(",")
    return element.strip(), tuple(int(size) for size in shape.strip().split("x"))


class Reader:
    """Reads the columns of a table from its body."""

    def __init__(self, body):
        self.body = memoryview(body)
        self.at = 0

    def take(self, length):
        part = self.body[self.at:self.at + length]
        self.at += (length + 7) & ~7
        return part

    def column(self, type, count, lengths):
        length = next(lengths)
        valid = None
        if length:
            bits = np.unpackbits(np.frombuffer(self.take(length), np.uint8), bitorder="little")
            valid = bits[:count].astype(bool)
        if type in FIXED:
            values = np.frombuffer(self.take(next(lengths)), FIXED[type])
            if type == "date":
                values = values.astype("datetime64[D]")
            elif type == "timestamp":
                values = values.view("datetime64[us]")
            return values, valid
        offsets = np.frombuffer(self.take(next(lengths)), "<i8").tolist()
        if type in ("string", "bytes"):
            data = bytes(self.take(next(lengths)))
            parts = [data[offsets[i]:offsets[i + 1]] for i in range(count)]
            if type == "string":
                parts = [part.decode("utf-8", "replace") for part in parts]
            if valid is not None:
                parts = [part if ok else None for part, ok in zip(parts, valid)]
            return parts, valid
        tensor = tensor_parts(type)
        element = tensor[0] if tensor else type[5:-1].strip()
        values, inner = self.column(element, offsets[-1], lengths)
        if tensor:
            return self.tensor(values, inner, offsets, count, valid, *tensor), None
        items = with_nulls(values, inner)
        rows = [items[offsets[i]:offsets[i + 1]] for i in range(count)]
        if valid is not None:
            rows = [row if ok else None for row, ok in zip(rows, valid)]
        return rows, valid

    def tensor(self, values, inner, offsets, count, valid, element, shape):
        if element in ("string", "bytes"):
            values = np.array(values, dtype=object)
        if inner is not None:
            if values.dtype.kind != "f":
                raise Refused("a tensor of %s has missing values" % element)
            values = np.where(inner, values, np.nan).astype(values.dtype)
        if valid is not None:
            if values.dtype.kind != "f" or -1 in shape:
                raise Refused("a row has no tensor")
            whole = np.full((count, int(np.prod(shape))), np.nan, values.dtype)
            whole[valid] = values.reshape(int(valid.sum()), -1)
            values = whole
        if shape.count(-1) > 1 and count:
            if len(set(b - a for a, b in zip(offsets, offsets[1:]))) > 1 or len(shape) > 1:
                raise Refused("a tensor has more than one free dimension")
        if count == 0:
            return values.reshape((0,) + tuple(max(size, 0) for size in shape))
        try:
            return values.reshape((count,) + shape)
        except ValueError:
            raise Refused("the rows of a tensor column have different shapes") from None


def with_nulls(values, valid):
    """Values as a list, None where there is none."""
    items = values.tolist() if isinstance(values, np.ndarray) else values
    if valid is None:
        return items
    return [item if ok else None for item, ok in zip(items, valid)]


def read_table(layout, body):
    reader = Reader(body)
    columns = []
    for item in layout["columns"]:
        values, valid = reader.column(item["type"], layout["rows"], iter(item["buffers"]))
        columns.append(Column(item["name"], item["type"], values, valid))
    return columns


class Writer:
    """Collects the buffers of a table."""

    def __init__(self):
        self.parts = []
        self.size = 0

    def put(self, data, lengths):
        data = memoryview(data).cast("B") if len(data) else b""
        lengths.append(len(data))
        self.parts.append(data)
        rest = -len(data) % 8
        if rest:
            self.parts.append(bytes(rest))
        self.size += len(data) + rest

    def column(self, type, values, valid):
        lengths = []
        self.add(type, values, valid, lengths)
        return lengths

    def add(self, type, values, valid, lengths):
        if valid is None or valid.all():
            self.put(b"", lengths)
        else:
            self.put(np.packbits(valid, bitorder="little"), lengths)
        if type in FIXED:
            self.put(np.ascontiguousarray(values, FIXED[type]), lengths)
            return
        if type in ("string", "bytes"):
            data = [b"" if value is None else value.encode("utf-8", "replace") if type == "string" else value for value in values]
            self.put(offsets_of(data), lengths)
            self.put(b"".join(data), lengths)
            return
        tensor = tensor_parts(type)
        if tensor:
            flat = values.reshape(-1)
            step = flat.size // len(values) if len(values) else 0
            self.put(np.arange(len(values) + 1, dtype="<i8") * step, lengths)
            element, whole, inner = scalars("", flat)
            if element != tensor[0]:
                raise Refused("a tensor cannot hold its values")
            self.add(element, whole, inner, lengths)
            return
        rows = [() if row is None else row for row in values]
        self.put(offsets_of(rows), lengths)
        items = [item for row in rows for item in row]
        inner = column_of("", items, type[5:-1]) if items else Column("", type[5:-1], empty(type[5:-1]))
        self.add(inner.type, inner.values, inner.valid, lengths)


def empty(type):
    return np.zeros(0, FIXED[type]) if type in FIXED else []


def offsets_of(parts):
    out = np.zeros(len(parts) + 1, "<i8")
    np.cumsum([len(part) for part in parts], out=out[1:]) if parts else None
    return out


def check(columns):
    """What the server would refuse as no table is the extension's error."""
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise Refused("two columns of one name: '%s'" % name)
        if len(name.encode("utf-8", "replace")) > 1000:
            raise Refused("a column's name is longer than 1000 bytes")
    for column in columns:
        if len(column) != len(columns[0]):
            raise Refused("'%s' has %d rows, '%s' %d" % (column.name, len(column), names[0], len(columns[0])))
        limits = {"timestamp": INSTANTS, "date": DAYS}.get(column.type)
        if limits and len(column) and not (limits[0] <= int(column.values.min()) and int(column.values.max()) <= limits[1]):
            raise Refused("'%s' holds instants outside the years 0001 to 9999" % column.name)


def write_table(columns):
    check(columns)
    writer = Writer()
    items = []
    for column in columns:
        lengths = writer.column(column.type, column.values, column.valid)
        items.append({"name": column.name, "type": column.type, "buffers": lengths})
    return {"rows": len(columns[0]) if columns else 0, "columns": items}, writer


# ---------------------------------------------------------------- anything -> columns


def to_columns(result):
    """The columns of what an extension gave."""
    if hasattr(result, "detach") and hasattr(result, "cpu"):
        result = result.detach().cpu().numpy()
    if hasattr(result, "to_pandas") and not hasattr(result, "iloc"):
        result = result.to_pandas()
    if hasattr(result, "toarray") and hasattr(result, "nnz"):
        result = result.toarray()
    if hasattr(result, "iloc") and hasattr(result, "columns"):
        return [from_series(text_of(name), result.iloc[:, i]) for i, name in enumerate(result.columns)]
    if hasattr(result, "iloc"):
        return [from_series(result.name if isinstance(result.name, str) else "predictions", result)]
    if isinstance(result, (np.ndarray, np.generic)):
        result = np.asanyarray(result)
        if result.dtype.names:
            return [from_array(name, result[name]) for name in result.dtype.names]
        return [from_array("predictions", np.atleast_1d(result))]
    if isinstance(result, dict):
        return [from_any(text_of(name), value) for name, value in result.items()]
    if isinstance(result, (list, tuple)) and result and all(isinstance(row, dict) for row in result):
        names = list(dict.fromkeys(name for row in result for name in row))
        return [column_of(text_of(name), [row.get(name) for row in result]) for name in names]
    return [from_any("predictions", result)]


def text_of(name):
    return "_".join(str(part) for part in name) if isinstance(name, tuple) else str(name)


def from_any(name, value):
    columns = to_columns(value) if not isinstance(value, (list, tuple, dict, str, bytes)) and hasattr(value, "__len__") else None
    if columns is not None:
        if len(columns) != 1:
            raise Refused("'%s' is a table within a table" % name)
        columns[0].name = name
        return columns[0]
    if isinstance(value, (list, tuple)):
        parts = [np.asarray(part) if hasattr(part, "__array__") and getattr(part, "ndim", 1) else part for part in value]
        if parts and all(isinstance(part, np.ndarray) and part.ndim for part in parts):
            if len(set(part.shape for part in parts)) == 1:
                return from_array(name, np.stack(parts))
            return column_of(name, [part.tolist() for part in parts])
        if parts and all(isinstance(part, (list, tuple)) for part in parts):
            try:
                whole = np.array(parts)
            except ValueError:
                whole = None
            if whole is not None and whole.dtype.kind in "biuf" and whole.ndim > 1:
                return from_array(name, whole)
        return column_of(name, parts)
    return column_of(name, [value])


def from_array(name, array):
    if isinstance(array, np.ma.MaskedArray) and array.ndim == 1:
        return column_of(name, [None if hidden else item for item, hidden in zip(array.tolist(), np.ma.getmaskarray(array))])
    if array.ndim == 1:
        if array.dtype.kind == "O":
            return column_of(name, array.tolist())
        return Column(name, *scalars(name, array))
    if 0 in array.shape[1:]:
        raise Refused("'%s' has the shape %s, of which a row has no value" % (name, array.shape))
    element = scalars(name, array.reshape(-1))[0]
    if "<" in element:
        raise Refused("'%s' is an array of lists" % name)
    return Column(name, "tensor<%s, %s>" % (element, "x".join(map(str, array.shape[1:]))), array)


def scalars(name, array):
    """(type, values, valid) of an array of one dimension; missing instants are nulls, NaN stays NaN."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return "bool", array, None
    if kind == "i":
        return ("int32" if size <= 4 else "int64"), array, None
    if kind == "u":
        if size == 8 and array.size and int(array.max()) > 0x7FFFFFFFFFFFFFFF:
            raise Refused("'%s' holds integers beyond int64" % name)
        return ("int32" if size <= 2 else "int64"), array, None
    if kind == "f":
        return ("float32" if size <= 4 else "float64"), array, None
    if kind == "M":
        valid = ~np.isnat(array)
        whole = np.where(valid, array, np.datetime64(0, "us")).astype("datetime64[us]").astype("<i8")
        return "timestamp", whole, valid
    if kind == "U":
        return "string", array.tolist(), None
    if kind == "S":
        return "bytes", array.tolist(), None
    if kind == "O":
        column = column_of(name, array.tolist())
        return column.type, column.values, column.valid
    raise Refused("'%s' holds values of the type %s, which no column can have" % (name, array.dtype))


def from_series(name, series):
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return column_of(name, [None if pd.isna(item) else item for item in series.tolist()], nan_is_null=True)
    if isinstance(dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return from_array(name, series.to_numpy())
    valid = ~series.isna().to_numpy(dtype=bool)
    kind = getattr(dtype, "kind", "O")
    if kind in "biuf" and getattr(dtype, "numpy_dtype", None) is not None:
        numpy = np.dtype(dtype.numpy_dtype)
        if numpy.kind in "biuf":
            values = series.to_numpy(dtype=numpy, na_value=numpy.type(0))
            type, values, _ = scalars(name, values)
            return Column(name, type, values, valid)
    return column_of(name, [item if ok else None for item, ok in zip(series.tolist(), valid)], nan_is_null=True)


def column_of(name, items, wanted=None, nan_is_null=False):
    """A column of Python values. NaN among texts, integers or instants is a missing value, as pandas has it."""
    items = [item.item() if isinstance(item, np.generic) and not isinstance(item, np.datetime64) else item for item in items]
    nothing = [item is None or is_missing(item) for item in items]
    present = [item for item, none in zip(items, nothing) if not none]
    is_float = any(isinstance(item, float) and item != item for item in items)
    kinds = set(kind_of(item) for item in present)
    type = wanted or type_of(name, kinds, present, is_float and not nan_is_null)
    if type in ("float32", "float64") and not nan_is_null:
        # NaN is a value of floats.
        nothing = [item is None or (is_missing(item) and not isinstance(item, float)) for item in items]
    valid = np.array([not none for none in nothing], dtype=bool)
    return Column(name, type, converted(name, type, items, nothing), valid)


def is_missing(item):
    if isinstance(item, float):
        return item != item
    return type(item).__name__ in ("NAType", "NaTType") or (isinstance(item, np.datetime64) and np.isnat(item))


def kind_of(item):
    if isinstance(item, bool):
        return "bool"
    if isinstance(item, int):
        return "int"
    if isinstance(item, (float, decimal.Decimal)):
        return "float"
    if isinstance(item, str):
        return "string"
    if isinstance(item, (bytes, bytearray)):
        return "bytes"
    if isinstance(item, (datetime.datetime, np.datetime64)):
        return "timestamp"
    if isinstance(item, datetime.date):
        return "date"
    if isinstance(item, dict):
        return "json"
    if isinstance(item, (list, tuple, set, np.ndarray)):
        return "list"
    return type(item).__name__


def type_of(name, kinds, present, has_nan):
    if not kinds:
        return "float64" if has_nan else "string"
    if kinds == {"bool"}:
        return "bool"
    if kinds == {"int"}:
        return "float64" if has_nan else "int64"
    if kinds <= {"int", "float"}:
        return "float64"
    if kinds == {"json"}:
        return "string"
    if kinds == {"list"}:
        inner = [item for row in present for item in row]
        return "list<%s>" % column_of(name, inner).type
    if len(kinds) == 1:
        kind = next(iter(kinds))
        if kind in ("string", "bytes", "timestamp", "date"):
            return kind
    raise Refused("'%s' holds values of these types, which no column can have: %s" % (name, ", ".join(sorted(kinds))))


def converted(name, type, items, nothing):
    if type in ("string", "bytes"):
        return [None if none else as_text(item) if type == "string" else bytes(item) for item, none in zip(items, nothing)]
    if type.startswith("list<"):
        return [None if none else list(item) for item, none in zip(items, nothing)]
    if type == "date":
        return np.array([0 if none else (item - EPOCH).days for item, none in zip(items, nothing)], "<i4")
    if type == "timestamp":
        return np.array([0 if none else microseconds(item) for item, none in zip(items, nothing)], "<i8")
    missing = float("nan") if type.startswith("float") else 0
    try:
        return np.array([missing if none else item for item, none in zip(items, nothing)], dtype=FIXED[type])
    except OverflowError:
        raise Refused("'%s' holds integers beyond %s" % (name, type)) from None


def as_text(item):
    return item if isinstance(item, str) else json.dumps(item, default=str)


def microseconds(item):
    if isinstance(item, np.datetime64):
        return int(item.astype("datetime64[us]").astype("<i8"))
    if item.tzinfo is not None:
        item = item.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return (item - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)


# ---------------------------------------------------------------- extensions


def to_series(column):
    """A column as pandas has it: a missing number is NaN for floats and <NA> for integers and booleans, a missing instant NaT, all else None."""
    import pandas as pd

    values, valid = column.values, column.valid
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return pd.Series(list(values), dtype=object)
    if column.type == "date":
        values = values.astype("datetime64[s]")
    if not isinstance(values, np.ndarray):
        return pd.Series(values, dtype=object)
    if valid is None:
        return pd.Series(values.copy())
    kind = values.dtype.kind
    if kind == "f":
        return pd.Series(np.where(valid, values, np.nan).astype(values.dtype))
    if kind == "M":
        return pd.Series(np.where(valid, values, np.datetime64("NaT")))
    whole = pd.Series(values.copy()).astype("boolean" if kind == "b" else "Int32" if values.dtype.itemsize == 4 else "Int64")
    whole[~valid] = pd.NA
    return whole


def to_array(column):
    values, valid = column.values, column.valid
    if not isinstance(values, np.ndarray):
        return np.array(values, dtype=object)
    if valid is None:
        return values.copy()
    if values.dtype.kind == "f":
        return np.where(valid, values, np.nan).astype(values.dtype)
    if values.dtype.kind == "M":
        return np.where(valid, values, np.datetime64("NaT"))
    raise Refused("'%s' has missing values, which an array of %s cannot have" % (column.name, column.type))


class PyFunc:
    """A model that MLflow saved, of any flavour: `predict` of `mlflow.pyfunc`."""

    def load(self, path):
        try:
            import mlflow.pyfunc
        except ImportError as error:
            raise Refused("mlflow cannot be imported in the model's environment: %s" % error) from None
        self.model = mlflow.pyfunc.load_model(path)
        schema = None
        if self.model.metadata is not None:
            schema = self.model.metadata.get_input_schema()
        self.takes_arrays = schema is not None and schema.is_tensor_spec()
        self.takes_one = self.takes_arrays and not schema.has_input_names()
        return self

    def call(self, name, table, params):
        if name != "predict":
            raise Refused("a model has nothing called '%s'" % name)
        data = self.data(table)
        return self.model.predict(data, params=params) if params else self.model.predict(data)

    def data(self, table):
        if self.takes_one and len(table) == 1:
            return to_array(table[0])
        if self.takes_arrays:
            return {column.name: to_array(column) for column in table}
        import pandas as pd

        return pd.DataFrame({column.name: to_series(column) for column in table})


EXTENSIONS = {"pyfunc": PyFunc}


# ---------------------------------------------------------------- messages


class Server:
    """The other end of the socket."""

    def __init__(self, number):
        self.socket = socket.socket(fileno=number)
        self.socket.set_inheritable(False)

    def read(self, count):
        out = bytearray(count)
        view = memoryview(out)
        done = 0
        while done < count:
            got = self.socket.recv_into(view[done:])
            if got == 0:
                # The server is gone, or does not want this worker any more.
                os._exit(0)
            done += got
        return out

    def receive(self):
        magic, header, body = struct.unpack("<4sIQ", self.read(16))
        if magic != MAGIC:
            raise SystemExit("what came from the server is no message")
        return json.loads(bytes(self.read(header))), self.read(body)

    def send(self, header, writer=None):
        head = json.dumps(header).encode()
        size = writer.size if writer else 0
        self.socket.sendall(struct.pack("<4sIQ", MAGIC, len(head), size) + head)
        for part in writer.parts if writer else ():
            self.socket.sendall(part)


def text_of_error(error):
    return {"type": type(error).__name__, "message": str(error)[:TEXT_MAX], "refused": isinstance(error, Refused)}


def answer(extension, message, body):
    """What to send back: a header, and the table's bytes."""
    operation = message["op"]
    if operation == "ping":
        return {"ok": True}, None
    if operation == "load":
        extension[0] = EXTENSIONS[message["kind"]]().load(message["path"])
        return {"ok": True, "python": "%d.%d.%d" % sys.version_info[:3]}, None
    result = extension[0].call(message["name"], read_table(message["table"], body), message.get("params") or {})
    layout, writer = write_table(to_columns(result))
    if writer.size > message["bytes_max"]:
        raise Refused("the answer has %d bytes, more than the %d that are allowed" % (writer.size, message["bytes_max"]))
    return {"ok": True, "table": layout}, writer


def main():
    server = Server(int(sys.argv[1]))
    extension = [None]
    while True:
        message, body = server.receive()
        try:
            header, writer = answer(extension, message, body)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            traceback.print_exc()
            header, writer = {"ok": False, "error": text_of_error(error)}, None
        server.send(header, writer)


if __name__ == "__main__":
    main()
