"""Files whose insides lie: Parquet footers, zip directories and gzip streams that name what is not there, and paths of artifacts that lead elsewhere.

Each is answered with a clear error of the client's, or read; the server goes on, and nothing is left of what was refused. What is drawn is drawn from
SEED: `KEEL_SEED=7 pytest …` draws others.
"""
import gzip
import io
import json
import os
import pathlib
import random
import socket
import struct
import zipfile

import pyarrow
import pyarrow.parquet
import pytest
import requests
import yaml

from watch import Watched

pytestmark = pytest.mark.alone

SEED = int(os.environ.get("KEEL_SEED", "2026"))
CONTRACT = {
    "apiVersion": "keel/v1", "kind": "Dataset", "metadata": {"name": "files"},
    "spec": {"columns": [{"name": "x", "type": "int64", "nullable": True}, {"name": "y", "type": "string", "nullable": True}]},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "files.yaml").write_text(yaml.safe_dump(CONTRACT))
    with Watched() as server:
        server.cli("apply", folder)
        yield server
        server.restart()


def stored(server):
    """The files that an ingest makes: what it received, and what lies in the lake."""
    home = pathlib.Path(server.home)
    return {str(p) for p in [*home.glob("work/*"), *home.glob("lake/**/*"), *home.glob("objects/tmp/*")] if p.name != "files"}


def ingest(server, name, content):
    """The outcome: None when it was read, else its error, after which no file is left."""
    before = stored(server)
    error = sent(server, name, content)
    if error is not None:
        assert stored(server) == before, (name, error)
    return error


def sent(server, name, content):
    answer = requests.post(f"{server.url}/api/v1/datasets/files/ingest", params={"file": name, "overwrite": "true"}, data=content,
                           headers={"Content-Type": "application/octet-stream"}, timeout=120)
    assert answer.status_code < 500, (name, answer.text[:500])
    if answer.status_code >= 400:
        return answer.json()["error"]
    # Progress first, then the result or the error, a line each.
    last = json.loads(answer.text.strip().splitlines()[-1])
    error = last.get("error")
    if error is not None:
        text = json.dumps(error)
        assert error["code"] != "internal", text[:500]
        assert server.home not in text and "SELECT" not in text, text[:500]
    return error


# MARK: Parquet


class Thrift:
    """Thrift's compact protocol, as far as footers need it. A struct is a dict of field → (kind, value)."""
    KINDS = {"i32": 5, "i64": 6, "binary": 8, "list": 9, "struct": 12}

    @staticmethod
    def varint(n):
        out = bytearray()
        while n > 127:
            out.append(n & 127 | 128)
            n >>= 7
        return bytes(out + bytes([n]))

    @classmethod
    def value(cls, kind, value):
        if kind in ("i32", "i64"):
            return cls.varint((value << 1 ^ value >> 63) & (1 << 64) - 1)
        if kind == "binary":
            return cls.varint(len(value)) + value
        if kind == "list":
            element, items, *claimed = value
            count = claimed[0] if claimed else len(items)
            head = bytes([count << 4 | cls.KINDS[element]]) if count < 15 else bytes([0xF0 | cls.KINDS[element]]) + cls.varint(count)
            return head + b"".join(cls.value(element, item) for item in items)
        out, last = b"", 0
        for field, (inner, content) in sorted(value.items()):
            out += bytes([(field - last) << 4 | cls.KINDS[inner]]) + cls.value(inner, content)
            last = field
        return out + b"\0"


def element(name, children=None, kind=None, repetition=1):
    out = {3: ("i32", repetition), 4: ("binary", name)}
    if kind is not None:
        out[1] = ("i32", kind)
    if children is not None:
        out[5] = ("i32", children)
    return out


def chunk(path=(b"x",), values=1, offset=4, size=40, unpacked=40, dictionary=None, file=None, codec=0, kind=2):
    column = {1: ("i32", kind), 2: ("list", ("i32", [0, 3])), 3: ("list", ("binary", list(path))), 4: ("i32", codec), 5: ("i64", values),
              6: ("i64", unpacked), 7: ("i64", size), 9: ("i64", offset)}
    if dictionary is not None:
        column[11] = ("i64", dictionary)
    out = {2: ("i64", offset), 3: ("struct", column)}
    if file is not None:
        out[1] = ("binary", file)
    return out


def footer(schema=None, groups=None, rows=1, **more):
    schema = schema or [element(b"root", 1), element(b"x", kind=2)]
    groups = groups if groups is not None else [{1: ("list", ("struct", [chunk(**more)])), 2: ("i64", 40), 3: ("i64", rows)}]
    return Thrift.value("struct", {1: ("i32", 1), 2: ("list", ("struct", schema)), 3: ("i64", rows), 4: ("list", ("struct", groups))})


def file(foot, body=b"\0" * 64, length=None):
    return b"PAR1" + body + foot + struct.pack("<I", len(foot) if length is None else length) + b"PAR1"


def nested(depth, repetition=1):
    path = [b"x"] * depth
    schema = [element(b"root", 1)] + [element(b"x", 1, repetition=repetition)] * (depth - 1) + [element(b"x", kind=2)]
    return footer(schema, path=path)


HUGE = 2**63 - 1
PARQUET = {
    "nothing between the marks": lambda: b"PAR1PAR1",
    "a footer without a length": lambda: b"PAR1" + b"\0\0\0\0" + b"PAR1",
    "a footer longer than the file": lambda: file(footer(), length=2**31),
    "a footer of 4 GiB": lambda: file(footer(), length=2**32 - 1),
    "a footer that begins in the mark": lambda: file(footer(), length=len(footer()) + 66),
    "an empty footer": lambda: file(b""),
    "an empty struct": lambda: file(b"\0"),
    "structs without an end": lambda: file(b"\x1c" * 1_000_000),
    "lists in lists": lambda: file(b"\x19" + b"\xf9\xff\xff\xff\xff\x07" * 200_000),
    "a list of 2³¹ columns": lambda: file(Thrift.value("struct", {1: ("i32", 1), 2: ("list", ("struct", [element(b"root", 1)], 2**31 - 1))})),
    "a name of 2³¹ bytes": lambda: file(b"\x15\x02\x19\x1c\x48" + Thrift.varint(2**31 - 1)),
    "no schema": lambda: file(Thrift.value("struct", {1: ("i32", 1), 3: ("i64", 1)})),
    "a root without columns": lambda: file(footer([element(b"root", 0)], groups=[])),
    "more columns than there are": lambda: file(footer([element(b"root", 2**31 - 1), element(b"x", kind=2)])),
    "a negative number of columns": lambda: file(footer([element(b"root", -1), element(b"x", kind=2)])),
    "a column that is its own child": lambda: file(footer([element(b"root", 1), element(b"x", 1)])),
    "an unknown type": lambda: file(footer([element(b"root", 1), element(b"x", kind=99)])),
    "a negative number of rows": lambda: file(footer(rows=-1)),
    "2⁶³ rows": lambda: file(footer(rows=HUGE, values=HUGE)),
    "2⁶³ rows in no column": lambda: file(footer([element(b"root", 1), element(b"x", kind=2)], groups=[{1: ("list", ("struct", [])), 2: ("i64", 0), 3: ("i64", HUGE)}], rows=HUGE)),
    "no columns in a group": lambda: file(footer(groups=[{1: ("list", ("struct", [])), 2: ("i64", 0), 3: ("i64", 1)}])),
    "100,000 empty groups": lambda: file(footer(groups=[{1: ("list", ("struct", [])), 2: ("i64", 0), 3: ("i64", 0)}] * 100_000)),
    "a negative number of values": lambda: file(footer(values=-5)),
    "a page before the file": lambda: file(footer(offset=-100)),
    "a page behind the file": lambda: file(footer(offset=HUGE)),
    "a page of 2⁶³ bytes": lambda: file(footer(size=HUGE)),
    "a page of a negative size": lambda: file(footer(size=-1)),
    "a page that is unpacked to 2⁶³ bytes": lambda: file(footer(unpacked=HUGE)),
    "a dictionary behind the file": lambda: file(footer(dictionary=HUGE)),
    "a dictionary before the file": lambda: file(footer(dictionary=-8)),
    "an unknown codec": lambda: file(footer(codec=77)),
    "a column in another file": lambda: file(footer(file=b"/etc/passwd")),
    "a column in a file above": lambda: file(footer(file=b"../../../../etc/passwd")),
    "a page header of its own footer": lambda: file(footer(offset=80)),
    "64 levels": lambda: file(nested(64)),
    "1,000 levels": lambda: file(nested(1_000)),
    "100,000 levels": lambda: file(nested(100_000)),
    "100,000 levels of lists": lambda: file(nested(100_000, repetition=2)),
    "20,000 columns": lambda: file(footer([element(b"root", 20_000)] + [element(b"c%d" % i, kind=2) for i in range(20_000)], groups=[])),
    "one name for all columns": lambda: file(footer([element(b"root", 500)] + [element(b"x", kind=2)] * 500, groups=[])),
    "a name of control characters": lambda: file(footer([element(b"root", 1), element(b"\x1b[2J\x00\n'\"", kind=2)])),
    "a name that is no UTF-8": lambda: file(footer([element(b"root", 1), element(b"\xff\xfe", kind=2)])),
    "a name of a megabyte": lambda: file(footer([element(b"root", 1), element(b"n" * 1_000_000, kind=2)])),
}


@pytest.mark.parametrize("name", PARQUET)
def test_a_footer_that_lies_is_refused(server, name):
    content = PARQUET[name]()
    with server.attacked():
        error = ingest(server, "lies.parquet", content)
    assert error is not None or name in ("100,000 empty groups",), "it was read"


def whole():
    out = io.BytesIO()
    table = pyarrow.table({"x": pyarrow.array(range(3000), pyarrow.int64()), "y": pyarrow.array([f"text {i % 50}" for i in range(3000)])})
    pyarrow.parquet.write_table(table, out, row_group_size=700, compression="zstd")
    return out.getvalue()


def changed(content, draw, start, end):
    """Some bytes between the two places are others, or are gone, or come twice."""
    out = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        at = draw.randrange(start, end)
        manner = draw.randrange(4)
        if manner == 0:
            out[at] ^= 1 << draw.randrange(8)
        elif manner == 1:
            out[at] = draw.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif manner == 2:
            size = draw.randrange(1, 9)
            out[at:at + size] = draw.randbytes(size)
        else:
            size = draw.randrange(1, 9)
            out[at:at + size] = out[at:at + size] * 2 if draw.random() < 0.5 else b""
            end = min(end, len(out) - 8)
    return bytes(out)


def test_footers_changed_at_random(server):
    draw = random.Random(SEED)
    content = whole()
    length = struct.unpack("<I", content[-8:-4])[0]
    with server.attacked():
        for _ in range(150):
            made = changed(content, draw, len(content) - 8 - length, len(content) - 8)
            # The length is right for half of them, so that what changed is read.
            if draw.random() < 0.5:
                made = made[:-8] + struct.pack("<I", max(0, length + len(made) - len(content))) + b"PAR1"
            ingest(server, "changed.parquet", made)


def test_pages_changed_at_random(server):
    draw = random.Random(SEED + 1)
    content = whole()
    length = struct.unpack("<I", content[-8:-4])[0]
    with server.attacked():
        for _ in range(100):
            ingest(server, "changed.parquet", changed(content, draw, 4, len(content) - 8 - length))


# MARK: Archives


def archive(count=3):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for i in range(count):
            made.writestr(f"{i}.csv", b"x,y\n" + b"1,a\n" * 500)
    return bytearray(out.getvalue())


def directory(**fields):
    """An archive of one file whose directory says other things of it: offsets in its entry → values."""
    out = archive(1)
    at = out.rindex(b"PK\x01\x02")
    for place, value in fields.items():
        form, offset = place.rsplit("_", 1)
        struct.pack_into({"u16": "<H", "u32": "<I"}[form], out, at + int(offset), value)
    return bytes(out)


def end_record(**fields):
    out = archive(1)
    at = out.rindex(b"PK\x05\x06")
    for place, value in fields.items():
        form, offset = place.rsplit("_", 1)
        struct.pack_into({"u16": "<H", "u32": "<I"}[form], out, at + int(offset), value)
    return bytes(out)


def overlapping():
    """Every entry of the directory is the same file: 2,000 names for one content."""
    out = archive(1)
    start, end = out.rindex(b"PK\x01\x02"), out.rindex(b"PK\x05\x06")
    entry = out[start:end]
    tail = out[end:]
    struct.pack_into("<HH", tail, 8, 2000, 2000)
    struct.pack_into("<II", tail, 12, len(entry) * 2000, start)
    return bytes(out[:start] + entry * 2000 + tail)


ARCHIVES = {
    "a size of 4 GiB": lambda: directory(u32_24=2**32 - 2),
    "no size": lambda: directory(u32_24=0),
    "a packed size of 4 GiB": lambda: directory(u32_20=2**32 - 2),
    "a header behind the file": lambda: directory(u32_42=2**31),
    "a header in the directory": lambda: directory(u32_42=60),
    "a name of 64 KiB": lambda: directory(u16_28=0xFFFF),
    "an extra field of 64 KiB": lambda: directory(u16_30=0xFFFF),
    "encrypted": lambda: directory(u16_8=1),
    "an unknown method": lambda: directory(u16_10=99),
    "another checksum": lambda: directory(u32_16=0),
    "sizes in a field that is not there": lambda: directory(u32_24=2**32 - 1, u32_20=2**32 - 1, u32_42=2**32 - 1),
    "65,535 files": lambda: end_record(u16_10=0xFFFF),
    "a directory of 4 GiB": lambda: end_record(u32_12=2**32 - 1),
    "a directory behind the file": lambda: end_record(u32_16=2**32 - 1),
    "one content under 2,000 names": overlapping,
    "an archive in an archive": lambda: packed(bytes(archive()), "inner.zip"),
    "names that lead elsewhere": lambda: packed(b"x,y\n1,a\n", "../../../../tmp/keel-escaped.csv"),
    "an absolute name": lambda: packed(b"x,y\n1,a\n", "/tmp/keel-escaped.csv"),
    "no end": lambda: bytes(archive(1)[:-10]),
    "only its head": lambda: b"PK\x03\x04" + b"\0" * 60,
    "gzip without an end": lambda: gzip.compress(b"x,y\n" + b"1,a\n" * 5000)[:-20],
    "gzip with another length": lambda: gzip.compress(b"x,y\n1,a\n")[:-4] + b"\xff\xff\xff\xff",
    "gzip with another checksum": lambda: gzip.compress(b"x,y\n1,a\n")[:-8] + b"\0" * 8,
    "gzip in gzip in gzip": lambda: gzip.compress(gzip.compress(gzip.compress(b"x,y\n1,a\n"))),
    "gzip with a head that never ends": lambda: b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"n" * 1_000_000,
    "100,000 empty streams": lambda: gzip.compress(b"") * 100_000,
}
# What the archive calls a file is only a name: nothing is unpacked under it.
READ = {"an absolute name"}


def packed(content, name):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_lies_is_refused(server, name):
    ending = "lies.csv.gz" if "gzip" in name or "streams" in name else "lies.zip"
    with server.attacked():
        error = ingest(server, ending, ARCHIVES[name]())
    assert (error is None) == (name in READ), error
    assert not os.path.exists("/tmp/keel-escaped.csv")


def test_archives_changed_at_random(server):
    draw = random.Random(SEED + 2)
    content = bytes(archive(1))
    stream = gzip.compress(b"x,y\n" + b"".join(b"%d,text\n" % i for i in range(2000)))
    with server.attacked():
        for _ in range(100):
            ingest(server, "changed.zip", changed(content, draw, 0, len(content)))
            ingest(server, "changed.csv.gz", changed(stream, draw, 2, len(stream)))


# MARK: Paths of artifacts


def ask(server, method, target, body=b""):
    """The answer to a request whose target is sent byte by byte as given, as no client would; 0 when the connection was closed without one."""
    head = b"%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
        s.sendall(head % (method.encode(), target, server.port, len(body)) + body)
        try:
            answer = s.makefile("rb").read()
        except ConnectionError:
            return 0, b""
    return (int(answer.split()[1]), answer) if answer else (0, b"")


PARTS = [b"..", b".", b"", b"%2e%2e", b"%2E.", b"%252e%252e", b"%25252e%25252e", b"%2f", b"%5c", b"..%2f..", b"%2e%2e%2f", b"..%5c", b"..%00", b"%00", b"a%00b",
         b"%0a", b"%0d%0aX-Injected:1", b"%ff%fe", b"%c0%ae%c0%ae", b"%e0%80%ae", b"%", b"%2", b"%zz", b"a", b"b.txt", b"etc", b"passwd", b"secrets.key",
         b"n" * 255, b"n" * 256, b"C:", b"C:%5cx", b"~", b"%7e", b"a%23b", b"%3f", b"con", b"...", b".%2e", b"%u002e", b"\xe2\x80\xae", b"%F0%9F%A6%8A"]
WHOLE = [b"/etc/passwd", b"//etc/passwd", b"%2fetc%2fpasswd", b"file:///etc/passwd", b"../" * 300 + b"etc/passwd", b"a/" * 5000 + b"b", b"n" * 20_000,
         b"%2e%2e/" * 20 + b"etc/passwd", b"0/../../secrets.key", b"0/%2e%2e/%2e%2e/secrets.key", b"%25" * 200 + b"2e"]


def test_paths_of_artifacts_lead_nowhere(server):
    draw = random.Random(SEED + 3)
    run = server.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0"}).json()["run"]["info"]
    base = run["artifact_uri"].split(":/", 1)[1].lstrip("/").encode()
    home = pathlib.Path(server.home)
    # What a path that leads out could reach or make: everything but the store of contents, and the database.
    secrets = {p: p.read_bytes() for p in home.glob("*.key")}
    before = outside(home)
    targets = [w for w in WHOLE] + [b"/".join(draw.choice(PARTS) for _ in range(draw.randrange(1, 7))) for _ in range(250)]
    with server.attacked():
        for target in targets:
            for path in [target, base + b"/" + target]:
                for method, prefix in [("PUT", b"/api/2.0/mlflow-artifacts/artifacts/"), ("GET", b"/api/2.0/mlflow-artifacts/artifacts/"),
                                       ("GET", b"/api/2.0/mlflow-artifacts/artifacts?path="),
                                       ("GET", b"/get-artifact?run_uuid=%s&path=" % run["run_id"].encode()),
                                       ("GET", b"/api/2.0/mlflow/artifacts/list?run_id=%s&path=" % run["run_id"].encode()),
                                       ("POST", b"/api/2.0/mlflow-artifacts/mpu/create/"), ("DELETE", b"/api/2.0/mlflow-artifacts/artifacts/")]:
                    status, answer = ask(server, method, prefix + path, b"content" if method == "PUT" else b"")
                    assert 200 <= status < 500 or status == 501, (method, path[:200], answer[:300])
                    assert b"root:" not in answer and b"\r\nX-Injected" not in answer, (method, path)
                    assert not any(secret in answer for secret in secrets.values()), (method, path)
    assert outside(home) == before, "a path led out of the store"
    assert {p: p.read_bytes() for p in home.glob("*.key")} == secrets


def outside(home):
    return sorted(str(p) for p in home.rglob("*") if p.relative_to(home).parts[0] not in ("objects", "predictions", "checkpoints", "keel.sqlite-wal"))


def test_a_link_in_the_place_of_a_content_is_not_followed(server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("of somebody else")
    run = server.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0"}).json()["run"]["info"]
    base = server.url + "/api/2.0/mlflow-artifacts/artifacts/" + run["artifact_uri"].split(":/", 1)[1].lstrip("/")
    content = random.Random(SEED + 4).randbytes(1000)
    before = set(pathlib.Path(server.home, "objects", "content").rglob("*"))
    assert requests.put(base + "/a.bin", data=content, timeout=60).status_code == 200
    place, = [p for p in set(pathlib.Path(server.home, "objects", "content").rglob("*")) - before if p.is_file()]
    place.unlink()
    place.symlink_to(secret)
    answer = requests.get(base + "/a.bin", timeout=60)
    assert answer.status_code >= 400 and b"somebody else" not in answer.content
    # What arrives again takes its place, and not that of the file it pointed to.
    assert requests.put(base + "/a.bin", data=content, timeout=60).status_code == 200
    assert requests.get(base + "/a.bin", timeout=60).content == content
    assert secret.read_text() == "of somebody else" and not place.is_symlink()
