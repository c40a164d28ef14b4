"""Artifacts with MLflow's own client and as bytes on the wire: names, sizes, ranges, uploads in parts, faults, and removing for good."""

import concurrent.futures
import hashlib
import http.client
import json
import os
import pathlib
import resource
import socket
import threading
import time
import uuid

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from servers import Keel, MLflowServer

PROXY = "/api/2.0/mlflow-artifacts/artifacts"
MB = 1 << 20


@pytest.fixture(scope="module")
def server():
    server = Keel().start()
    yield server
    server.stop()


@pytest.fixture
def client(server):
    mlflow.set_tracking_uri(server.url)
    yield MlflowClient(server.url, server.url)
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(os.environ["KEEL_URL"])


@pytest.fixture
def run(client):
    return client.create_run(client.create_experiment("artifacts-" + uuid.uuid4().hex)).info


@pytest.fixture
def in_parts(monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "1")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 * MB))


def root(run):
    return run.artifact_uri.removeprefix("mlflow-artifacts:/")


def listed(server, path):
    return {f["path"]: f.get("file_size") for f in server.get(PROXY, params={"path": path}).json().get("files", [])}


def raw(server, method, path, body=b"", headers={}):
    """One request, its path as it stands."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(body)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text


def stored_files(server, folder):
    return [f for f in pathlib.Path(server.home, "objects", folder).rglob("*") if f.is_file()]


def ledger(server, kind):
    return server.json("ledger", "--oldest", "--kind", kind, "--limit", "10000")["events"]


def peak_mb(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


# The client


def test_folders_and_names_of_every_kind(client, run, tmp_path):
    names = ["plain.txt", "with space.txt", "ünïcode-日本-😀.txt", "100%.txt", "a+b&c=d.txt", "UPPER.TXT", ".hidden", "empty.bin", "it's (1).txt", "semi;colon.txt"]
    for folder in ["", "deep/er/and/deeper", "spa ce/ü"]:
        (tmp_path / "in" / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (tmp_path / "in" / folder / name).write_bytes(b"" if name == "empty.bin" else f"{folder}|{name}".encode())
    client.log_artifacts(run.run_id, str(tmp_path / "in"))
    client.log_artifact(run.run_id, str(tmp_path / "in" / "plain.txt"), "else where")
    top = {f.path: (f.is_dir, f.file_size) for f in client.list_artifacts(run.run_id)}
    assert set(top) == set(names) | {"deep", "spa ce", "else where"}
    assert top["deep"] == (True, None) and top["plain.txt"] == (False, len("|plain.txt")) and top["empty.bin"] == (False, 0)
    assert {f.path for f in client.list_artifacts(run.run_id, "spa ce/ü")} == {f"spa ce/ü/{n}" for n in names}
    assert [f.path for f in client.list_artifacts(run.run_id, "deep/er")] == ["deep/er/and"]
    assert client.list_artifacts(run.run_id, "plain.txt") == [] and client.list_artifacts(run.run_id, "nowhere") == []
    got = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=run.run_id, artifact_path="", dst_path=str(tmp_path)))
    for folder in ["", "deep/er/and/deeper", "spa ce/ü"]:
        for name in names:
            assert (got / folder / name).read_bytes() == (tmp_path / "in" / folder / name).read_bytes(), name
    one = mlflow.artifacts.download_artifacts(f"runs:/{run.run_id}/spa ce/ü/100%.txt", dst_path=str(tmp_path / "one") if (tmp_path / "one").mkdir() is None else None)
    assert pathlib.Path(one).read_text() == "spa ce/ü|100%.txt"


def test_what_is_logged_again_is_replaced_and_the_same_bytes_are_kept_once(client, server, run, tmp_path):
    content = os.urandom(300_000)
    before = len(stored_files(server, "content"))
    (tmp_path / "x.bin").write_bytes(content)
    for i in range(10):
        client.log_artifact(run.run_id, str(tmp_path / "x.bin"), f"copy/{i}")
    assert len(stored_files(server, "content")) == before + 1
    (tmp_path / "x.bin").write_bytes(b"new")
    client.log_artifact(run.run_id, str(tmp_path / "x.bin"), "copy/0")
    assert listed(server, root(run) + "/copy/0") == {"x.bin": 3} and listed(server, root(run) + "/copy/9") == {"x.bin": 300_000}


def test_delete(client, server, run, tmp_path):
    for path in ["a/x", "a/b/y", "ab/z"]:
        client.log_text(run.run_id, path, path)
    assert requests.delete(f"{server.url}{PROXY}/{root(run)}/a").json() == {}
    assert [f.path for f in client.list_artifacts(run.run_id)] == ["ab"]
    gone = server.get(f"{PROXY}/{root(run)}/a/x")
    assert gone.status_code == 404 and gone.json() == {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"No such artifact: '{root(run)}/a/x'"}
    with pytest.raises(MlflowException, match="Failed to download"):
        mlflow.artifacts.download_artifacts(f"runs:/{run.run_id}/a/x", dst_path=str(tmp_path))


# What goes in one piece is longer than 31 bits count; parts are shorter however long the whole is.
@pytest.mark.parametrize("parts, blocks", [("whole", 128), ("in parts", 40)])
def test_gigabytes_up_and_down_in_little_memory(tmp_path, monkeypatch, parts, blocks):
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(100 * MB))
    if parts == "whole":
        monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")
    server = Keel().start()
    try:
        mlflow.set_tracking_uri(server.url)
        client = MlflowClient(server.url, server.url)
        file, digest = tmp_path / "big.bin", hashlib.sha256()
        with open(file, "wb") as out:
            block = os.urandom(16 * MB)
            for i in range(blocks):
                piece = i.to_bytes(8, "big") + block[8:]
                digest.update(piece)
                out.write(piece)
        run = client.create_run("0").info
        client.log_artifact(run.run_id, str(file))
        # The client finds out by itself that this server takes large files in parts.
        assert len(ledger(server, "artifact.upload.begun")) == (parts == "in parts")
        answer = requests.get(f"{server.url}{PROXY}/{root(run)}/big.bin", stream=True)
        assert answer.headers["ETag"] == f'"{digest.hexdigest()}"' and answer.headers["Content-Length"] == str(blocks * 16 * MB)
        answer.close()
        file.unlink()
        got = pathlib.Path(mlflow.artifacts.download_artifacts(f"runs:/{run.run_id}/big.bin", dst_path=str(tmp_path)))
        again = hashlib.sha256()
        with open(got, "rb") as file:
            while piece := file.read(16 * MB):
                again.update(piece)
        assert again.hexdigest() == digest.hexdigest()
        assert stored_files(server, "tmp") == [] and stored_files(server, "uploads") == []
        assert peak_mb(server) < 220
        got.unlink()
    finally:
        server.stop()
        for file in stored_files(server, "content"):
            file.unlink()


def test_sixteen_uploads_at_one_time(client, server, run, tmp_path):
    contents = {f"{i}.bin": os.urandom(4 * MB) + bytes([i]) * i for i in range(16)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: client.log_artifact(run.run_id, str(tmp_path / name), "many"), contents))
    assert listed(server, root(run) + "/many") == {name: len(content) for name, content in contents.items()}
    for name, content in contents.items():
        assert requests.get(f"{server.url}{PROXY}/{root(run)}/many/{name}").content == content


# Uploads in parts


def test_uploads_in_parts(client, server, run, tmp_path, in_parts):
    content = os.urandom(23 * MB + 17)
    (tmp_path / "pa rt.bin").write_bytes(content)
    client.log_artifact(run.run_id, str(tmp_path / "pa rt.bin"), "in ü")
    begun = [e for e in ledger(server, "artifact.upload.begun") if root(run) in e["subject"]]
    assert [e["data"]["parts"] for e in begun] == [5]
    assert listed(server, root(run) + "/in ü") == {"pa rt.bin": len(content)}
    assert requests.get(f"{server.url}{PROXY}/{root(run)}/in ü/pa rt.bin").content == content
    assert stored_files(server, "uploads") == []


def test_parts_need_no_token_where_everything_else_does(tmp_path, in_parts, monkeypatch):
    first = Keel().start()
    token = first.cli("tokens", "create", "dana", "--persona", "data-scientist").stdout.strip()
    first.stop()
    server = Keel(home=first.home, environment={"KEEL_AUTH_LOCAL": "off"}).start()
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
        client = MlflowClient(server.url, server.url)
        mlflow.set_tracking_uri(server.url)
        run = client.create_run("0").info
        (tmp_path / "x.bin").write_bytes(content := os.urandom(11 * MB))
        client.log_artifact(run.run_id, str(tmp_path / "x.bin"))
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.get(f"{server.url}{PROXY}/{root(run)}/x.bin", headers=headers).content == content
        assert requests.get(f"{server.url}{PROXY}/{root(run)}/x.bin").status_code == 401
        upload = begin(server, root(run), "y.bin", 2, headers)
        url = upload["credentials"][0]["url"]
        for forged in [url.replace("/1?", "/2?"), url[:-1] + ("0" if url[-1] != "0" else "1"), url.split("?")[0], url.replace(upload["upload_id"], "0" * 32)]:
            answer = requests.put(forged, data=b"x")
            assert answer.status_code == 401 and answer.json()["error_code"] == "UNAUTHENTICATED"
        assert requests.put(url, data=b"x").status_code == 200
    finally:
        server.stop()


def begin(server, folder, name, parts, headers={}):
    answer = requests.post(f"{server.url}/api/2.0/mlflow-artifacts/mpu/create/{folder}", json={"path": f"/somewhere/{name}", "num_parts": parts}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def finish(server, folder, name, upload, etags, verb="complete"):
    parts = [{"part_number": i + 1, "etag": etag, "url": None} for i, etag in enumerate(etags)]
    return requests.post(
        f"{server.url}/api/2.0/mlflow-artifacts/mpu/{verb}/{folder}", json={"path": f"/somewhere/{name}", "upload_id": upload["upload_id"], "parts": parts})


def put_part(upload, number, content):
    answer = requests.put(upload["credentials"][number - 1]["url"], data=content)
    assert answer.status_code == 200, answer.text
    return answer.headers["ETag"]


def test_an_upload_in_parts_goes_on_after_a_kill(tmp_path):
    server = Keel().start()
    parts = [os.urandom(MB), os.urandom(MB), b"end"]
    upload = begin(server, "r", "big", 3)
    etags = {3: put_part(upload, 3, parts[2]), 1: put_part(upload, 1, parts[0])}
    server.kill()
    # The addresses name the port: the server comes back where it was.
    again = Keel(home=server.home)
    again.port, again.url = server.port, server.url
    again.start()
    assert listed(again, "r") == {}
    refused = finish(again, "r", "big", upload, [etags[1], '"0"', etags[3]])
    assert refused.status_code == 400 and "part 2 has not arrived" in refused.json()["message"]
    etags[2] = put_part(upload, 2, parts[1])
    # Asked twice, because an answer was lost.
    for _ in range(2):
        assert finish(again, "r", "big", upload, [etags[1], etags[2], etags[3]]).json() == {}
    assert again.get(f"{PROXY}/r/big").content == b"".join(parts)
    assert stored_files(again, "uploads") == []
    again.stop()


def test_an_upload_in_parts_is_aborted(server):
    upload = begin(server, "aborted", "big", 2)
    put_part(upload, 1, b"x" * 1000)
    assert finish(server, "aborted", "big", upload, [], verb="abort").json() == {}
    gone = finish(server, "aborted", "big", upload, [])
    assert gone.status_code == 404 and gone.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert requests.put(upload["credentials"][1]["url"], data=b"x").status_code == 401
    assert stored_files(server, "uploads") == [] and listed(server, "aborted") == {}


# The wire


def test_ranges_and_conditions(server):
    content = bytes(range(256)) * 40
    url = f"{server.url}{PROXY}/ranges/data.bin"
    assert requests.put(url, data=content).status_code == 200
    whole = requests.get(url)
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    assert whole.content == content and whole.headers["ETag"] == etag and whole.headers["Accept-Ranges"] == "bytes"
    for asked, (first, last) in {"bytes=0-0": (0, 0), "bytes=100-299": (100, 299), "bytes=10000-": (10000, 10239), "bytes=-5": (10235, 10239), "bytes=9-99999": (9, 10239)}.items():
        got = requests.get(url, headers={"Range": asked})
        assert got.status_code == 206 and got.content == content[first:last + 1], asked
        assert got.headers["Content-Range"] == f"bytes {first}-{last}/10240" and got.headers["Content-Length"] == str(last - first + 1)
    for asked in ["bytes=10240-", "bytes=-0"]:
        got = requests.get(url, headers={"Range": asked})
        assert got.status_code == 416 and got.headers["Content-Range"] == "bytes */10240" and "error_code" in got.json()
    assert requests.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'}).content == content
    assert requests.get(url, headers={"Range": "bytes=0-1", "If-Range": etag}).content == content[:2]
    assert requests.get(url, headers={"If-None-Match": etag}).status_code == 304


HOSTILE = [
    "../x", "a/../../x", "%2e%2e/x", "a/%2e%2e/b", "a/%2E%2E/b", "%252e%252e/x", "a%2f..%2f..%2fb", "%252e%252e%252fx", "%25252e%25252e/x", "/etc/passwd", "%2fetc/passwd",
    "a%5c..%5cb", "..%5cx", "a\\..\\b", "C:%5cwindows", "C:/windows", "a%00b", "%2500", "a%23b", "n" * 256, "d/" * 1100 + "x",
]


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_no_path_leads_out(server, method):
    before = {str(f) for top in ["", "objects"] for f in pathlib.Path(server.home, top).glob("*")}
    for path in HOSTILE + (["folder/"] if method == "PUT" else []):
        status, text = raw(server, method, f"{PROXY}/{path}", b"x" if method == "PUT" else b"")
        assert status == 400 and json.loads(text)["error_code"] == "INVALID_PARAMETER_VALUE", f"{method} {path}: {status} {text[:200]}"
    after = {str(f) for top in ["", "objects"] for f in pathlib.Path(server.home, top).glob("*")}
    assert after == before
    assert stored_files(server, "tmp") == []


def test_hostile_paths_in_lists_and_pages(server, client, run):
    for path in ["../x", "%2e%2e/x", "%252e%252e", "/etc", "a%00b"]:
        for url in [f"{PROXY}?path={path}", f"/get-artifact?run_id={run.run_id}&path={path}", f"/api/2.0/mlflow/artifacts/list?run_id={run.run_id}&path={path}"]:
            status, text = raw(server, "GET", url)
            assert status == 400 and json.loads(text)["error_code"] == "INVALID_PARAMETER_VALUE", (url, text)
        body = json.dumps({"path": "/tmp/x", "num_parts": 1}).encode()
        status, text = raw(server, "POST", f"/api/2.0/mlflow-artifacts/mpu/create/{path}", body, {"Content-Type": "application/json"})
        assert status in (400, 404), (path, text)
    for name in ["", "..", "/", "a/.."]:
        answer = requests.post(f"{server.url}/api/2.0/mlflow-artifacts/mpu/create/x", json={"path": name, "num_parts": 1})
        assert answer.status_code == 400, (name, answer.text)


def send_half(server, path, headers, body):
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"PUT {PROXY}/{path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
    connection.sendall(head.encode() + body)
    return connection


@pytest.mark.parametrize("form", ["length", "chunks"])
def test_an_upload_that_breaks_off_is_not_there(server, form):
    half = os.urandom(3 * MB)
    if form == "length":
        connection = send_half(server, f"broken/{form}.bin", {"Content-Length": 6 * MB}, half)
    else:
        connection = send_half(server, f"broken/{form}.bin", {"Transfer-Encoding": "chunked"}, b"%x\r\n" % len(half) + half + b"\r\n")
    for _ in range(100):
        if stored_files(server, "tmp"):
            break
        time.sleep(0.05)
    assert stored_files(server, "tmp"), "the upload is under way"
    connection.close()
    for _ in range(100):
        if not stored_files(server, "tmp"):
            break
        time.sleep(0.05)
    assert stored_files(server, "tmp") == [] and listed(server, "broken") == {}


def test_kill_in_the_middle_of_uploads(tmp_path):
    server = Keel().start()
    content = os.urandom(8 * MB)
    done = set()

    def upload(worker):
        for i in range(1000):
            try:
                if requests.put(f"{server.url}{PROXY}/kill/{worker}/{i}", data=content + b"%d" % i).status_code == 200:
                    done.add(f"{worker}/{i}")
            except requests.RequestException:
                return

    threads = [threading.Thread(target=upload, args=(w,), daemon=True) for w in range(4)]
    for thread in threads:
        thread.start()
    while len(done) < 12:
        time.sleep(0.02)
    server.kill()
    for thread in threads:
        thread.join()
    again = Keel(home=server.home).start()
    assert stored_files(again, "tmp") == []
    found = {f"{worker}/{name}": size for worker in listed(again, "kill") for name, size in listed(again, f"kill/{worker}").items()}
    assert done <= set(found), "an acknowledged upload is lost"
    for path, size in found.items():
        number = path.split("/")[1].encode()
        assert size == len(content) + len(number) and again.get(f"{PROXY}/kill/{path}").content == content + number
    assert requests.put(f"{again.url}{PROXY}/kill/0/retry", data=content).status_code == 200
    assert again.json("ledger", "verify").get("problem") is None
    again.stop()


def test_limits_and_a_full_disk(tmp_path):
    server = Keel(environment={"KEEL_LIMITS_ARTIFACT": str(40 * MB)}).start()
    url = f"{server.url}{PROXY}/limits/x.bin"

    def pieces(count):
        for _ in range(count):
            yield b"p" * MB

    for body in [pieces(41), b"b" * (40 * MB + 1)]:
        try:
            answer = requests.put(url, data=body)
            assert answer.status_code == 413 and answer.json()["error_code"] == "BAD_REQUEST", answer.text
        except requests.ConnectionError:
            pass  # The server need not read on when it has refused.
    assert listed(server, "limits") == {} and stored_files(server, "tmp") == []
    assert requests.put(url, data=pieces(40)).status_code == 200
    # No file may grow beyond this any more: what a full disk says to whoever writes.
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (20 * MB, 20 * MB))
    full = requests.put(url, data=b"z" * (30 * MB))
    assert full.status_code == 503 and full.json()["error_code"] == "TEMPORARILY_UNAVAILABLE" and "disk is full" in full.json()["message"]
    assert stored_files(server, "tmp") == [] and listed(server, "limits") == {"x.bin": 40 * MB}
    assert requests.put(f"{server.url}{PROXY}/limits/small", data=b"small").status_code == 200
    server.stop()


def answer_of(server, method, path, body, headers, run):
    """What a client sees of an answer, with what differs from server to server taken out."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, path.replace("RUN", run), body.replace(b"RUN", run.encode()), headers)
    answer = connection.getresponse()
    text = answer.read().replace(run.encode(), b"RUN")
    shown = {name: answer.getheader(name) for name in ["Content-Type", "Content-Disposition", "Content-Range"]} if method == "GET" else {}
    connection.close()
    if answer.status >= 400:
        error = json.loads(text or b"{}")
        # Keel adds what to do about it; both add codes of their own.
        return answer.status, error.get("error_code"), error.get("message", "").split(" (an artifact path")[0]
    return answer.status, shown, text if method == "GET" else None


def questions():
    names = [
        "a.txt", "MLmodel", "x.png", "a%20b.json", "s%C3%BC%C3%9F.txt", "%E6%97%A5.bin", "x.pkl", "d.tar.gz", "page.html", "noext", "100%25.txt", "q%22uote.txt", ".hid",
        "a'b(1).csv", "semi%3Bcolon", "comma%2Cx", "plus+x", "a%2520b", "x%3Fy", "a.tgz", "b.YAML", "c.ipynb"]
    for name in names:
        path = f"{PROXY}/f/{name}"
        yield "PUT", path, b"0123456789", {}
        yield "GET", path, b"", {}
        yield "GET", path, b"", {"Range": "bytes=2-4"}
        yield "GET", path, b"", {"Range": "bytes=-3"}
    for listing in ["?path=f", "", "?path=f/", "?path=nowhere", "?path=f/a.txt", "?path=../x", "?path=%252e%252e", "?path=/etc", "?path=a%2523b"]:
        yield "GET", PROXY + listing, b"", {}
    for hostile in ["../x", "%2e%2e/x", "a/../x", "%252e%252e/x", "/etc", "a%23b", "C:/x", "%2fetc"]:
        yield "PUT", f"{PROXY}/{hostile}", b"x", {}
        yield "GET", f"{PROXY}/{hostile}", b"", {}
    yield "GET", f"{PROXY}/nothing", b"", {}
    yield "DELETE", f"{PROXY}/nothing", b"", {}
    yield "PUT", f"{PROXY}/g/h/i", b"x", {}
    yield "DELETE", f"{PROXY}/g/h/i", b"", {}
    yield "GET", f"{PROXY}?path=g", b"", {}
    yield "DELETE", f"{PROXY}/g", b"", {}
    yield "GET", f"{PROXY}?path=g", b"", {}
    yield "GET", "/api/2.0/mlflow-artifacts/presigned/f/a.txt", b"", {}
    page = "/ajax-api/2.0/mlflow/upload-artifact"
    for query, body in [("run_uuid=RUN&path=x/y.txt", b"hello"), ("run_uuid=RUN&path=x/y.txt", b""), ("path=x", b"h"), ("run_uuid=RUN", b"h"), ("run_uuid=nope&path=x", b"h"),
                        ("run_uuid=RUN&path=../x", b"h")]:
        yield "POST", f"{page}?{query}", body, {}
    for url in ["/get-artifact?run_id=RUN&path=x/y.txt", "/get-artifact?run_uuid=RUN&path=x/y.txt", "/get-artifact?run_id=RUN&path=x", "/get-artifact?run_id=RUN&path=none",
                "/get-artifact?run_id=nope&path=x", "/get-artifact?run_id=RUN&path=../x", "/api/2.0/mlflow/artifacts/list?run_id=RUN", "/api/2.0/mlflow/artifacts/list?run_id=RUN&path=x",
                "/api/2.0/mlflow/artifacts/list?run_id=RUN&path=../x", "/api/2.0/mlflow/artifacts/list?run_id=nope", "/model-versions/get-artifact?name=a&version=1&path=x",
                "/model-versions/get-artifact?name=a&version=z&path=x", "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files?artifact_file_path=x",
                "/api/2.0/mlflow/logged-models/m-1/artifacts/directories"]:
        yield "GET", url, b"", {}
    for name in ["presigned-upload-url", "presigned-download-url"]:
        for body in [{"run_id": "RUN", "path": "x"}, {"run_id": "RUN"}, {"path": "x"}, {"run_id": "nope", "path": "x"}, {"run_id": "RUN", "model_id": "m", "path": "x"},
                     {"run_id": "RUN", "path": "../x"}, {"run_id": "RUN", "path": "x", "expiration": 0}, {}]:
            yield "POST", f"/api/2.0/mlflow/artifacts/{name}", json.dumps(body).encode(), {"Content-Type": "application/json"}


def test_answers_agree_with_mlflow():
    # Both are new: lists of folders show what others left.
    server, reference = Keel().start(), MLflowServer().start()
    run = lambda s: requests.post(s.url + "/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}).json()["run"]["info"]["run_id"]
    own, other = run(server), run(reference)
    for question in questions():
        ours, theirs = answer_of(server, *question, own), answer_of(reference, *question, other)
        if ours[0] == 200 and question[0] == "GET" and "json" in (ours[1]["Content-Type"] or ""):
            ours, theirs = [(status, json.loads(text)) for status, _, text in (ours, theirs)]
        assert ours == theirs, question
    server.stop()
    reference.stop()


def test_headers_of_files(server):
    for name, content_type, disposition in [
        ("MLmodel", "text/plain", "attachment; filename=MLmodel"), ("plot.png", "image/png", "attachment; filename=plot.png"),
        ("a b.json", "text/plain", 'attachment; filename="a b.json"'), ("x.pkl", "application/octet-stream", "attachment; filename=x.pkl"),
        ("süß.txt", "text/plain", "attachment; filename=su.txt; filename*=UTF-8''s%C3%BC%C3%9F.txt"),
    ]:
        url = f"{server.url}{PROXY}/headers/{name}"
        assert requests.put(url, data=b"1").status_code == 200
        got = requests.get(url)
        assert (got.headers["Content-Type"], got.headers["Content-Disposition"], got.headers["X-Content-Type-Options"]) == (content_type, disposition, "nosniff")


def test_files_by_run_model_and_version(client, server, run, tmp_path):
    client.log_text(run.run_id, "of the run", "folder/a b.txt")
    model = client.create_logged_model(run.experiment_id, "m", source_run_id=run.run_id)
    requests.put(f"{server.url}{PROXY}/{model.artifact_location.removeprefix('mlflow-artifacts:/')}/weights.bin", data=b"of the model")
    name = "artifacts-" + uuid.uuid4().hex
    client.create_registered_model(name)
    version = client.create_model_version(name, f"{run.artifact_uri}/folder", run.run_id)
    assert server.get("/get-artifact", params={"run_id": run.run_id, "path": "folder/a b.txt"}).text == "of the run"
    assert server.get("/get-artifact", params={"run_uuid": run.run_id, "path": "folder/a b.txt"}).text == "of the run"
    assert server.get("/model-versions/get-artifact", params={"name": name, "version": version.version, "path": "a b.txt"}).text == "of the run"
    files = f"/ajax-api/2.0/mlflow/logged-models/{model.model_id}/artifacts/files"
    assert server.get(files, params={"artifact_file_path": "weights.bin"}).text == "of the model"
    directory = server.get(f"/api/2.0/mlflow/logged-models/{model.model_id}/artifacts/directories").json()
    assert directory["files"] == [{"path": "weights.bin", "is_dir": False, "file_size": 12}] and directory["root_uri"] == model.artifact_location
    lists = server.get("/api/2.0/mlflow/artifacts/list", params={"run_id": run.run_id, "path": "folder"}).json()
    assert lists["files"] == [{"path": "folder/a b.txt", "is_dir": False, "file_size": 10}]
    for path, params, status in [
        ("/get-artifact", {"run_id": run.run_id, "path": "nothing"}, 404), ("/get-artifact", {"run_id": run.run_id, "path": "folder"}, 400),
        ("/get-artifact", {"run_id": "0" * 32, "path": "x"}, 404), (files, {}, 400), ("/model-versions/get-artifact", {"name": name, "version": "9", "path": "x"}, 404),
    ]:
        answer = server.get(path, params=params)
        assert answer.status_code == status and "error_code" in answer.json(), (path, params, answer.text)


def test_small_uploads_of_the_web_page(client, server, run):
    url = "/ajax-api/2.0/mlflow/upload-artifact"
    post = lambda params, data: requests.post(server.url + url, params=params, data=data)
    assert post({"run_uuid": run.run_id, "path": "notes/n.txt"}, b"note").status_code == 200
    assert server.get("/get-artifact", params={"run_id": run.run_id, "path": "notes/n.txt"}).text == "note"
    for params, data, message in [
        ({"path": "x"}, b"x", "run_uuid"), ({"run_uuid": run.run_id}, b"x", "path"), ({"run_uuid": run.run_id, "path": "x"}, b"", "data"),
        ({"run_uuid": run.run_id, "path": "x"}, b"x" * (10 * MB + 1), "too large"), ({"run_uuid": run.run_id, "path": "../x"}, b"x", "Invalid path"),
    ]:
        answer = post(params, data)
        assert answer.status_code == 400 and message in answer.json()["message"], answer.text


def test_presigned_urls_are_refused_as_a_proxied_store_refuses_them(client, server, run):
    answer = server.get("/api/2.0/mlflow-artifacts/presigned/x/y")
    assert answer.status_code == 501 and answer.json()["error_code"] == "NOT_IMPLEMENTED"
    for route in ["presigned-upload-url", "presigned-download-url"]:
        answer = server.post(f"/api/2.0/mlflow/artifacts/{route}", {"run_id": run.run_id, "path": "x"})
        assert answer.status_code == 400 and "proxied artifact storage" in answer.json()["message"]
    assert server.post("/api/2.0/mlflow/artifacts/presigned-download-url", {"run_id": run.run_id, "path": "x", "expiration": 0}).status_code == 400


def test_artifacts_of_an_older_home_are_adopted(tmp_path):
    server = Keel()
    old = pathlib.Path(server.home, "objects", "artifacts", "0", "f" * 32, "artifacts", "model")
    old.mkdir(parents=True)
    (old / "MLmodel").write_text("old model")
    (old / "cöpy").write_text("old model")
    server.start()
    assert listed(server, f"0/{'f' * 32}/artifacts/model") == {"MLmodel": 9, "cöpy": 9}
    assert server.get(f"{PROXY}/0/{'f' * 32}/artifacts/model/cöpy").text == "old model"
    assert len(stored_files(server, "content")) == 1 and not pathlib.Path(server.home, "objects", "artifacts").exists()
    server.stop()


# Removing for good


def test_gc(tmp_path):
    server = Keel().start()
    mlflow.set_tracking_uri(server.url)
    client = MlflowClient(server.url, server.url)
    kept, needed, gone = [client.create_run("0").info for _ in range(3)]
    for run, size in [(kept, 1), (needed, 2), (gone, 3)]:
        (tmp_path / "own.bin").write_bytes(os.urandom(size * 1000))
        (tmp_path / "shared.bin").write_bytes(b"shared")
        client.log_artifacts(run.run_id, str(tmp_path), "model")
    client.create_registered_model("m")
    client.create_model_version("m", f"{needed.artifact_uri}/model", needed.run_id)
    upload = begin(server, "under/way", "x", 1)
    put_part(upload, 1, b"part")
    for run in [needed, gone]:
        client.delete_run(run.run_id)
    assert server.json("gc", "--older-than", "1h")["items"] == []
    planned = server.json("gc", "--dry-run")
    outcome = lambda report: {i["id"]: i["kept_for"] for i in report["items"]}
    assert outcome(planned) == {needed.run_id: "models:/m/1", gone.run_id: None} and (planned["objects"], planned["bytes"]) == (1, 3000)
    assert client.get_run(gone.run_id).info.lifecycle_stage == "deleted"
    table = server.cli("gc").stdout
    assert "kept for models:/m/1" in table and "freed 3,000 bytes in 1 objects" in table
    with pytest.raises(MlflowException):
        client.get_run(gone.run_id)
    assert listed(server, "0").keys() == {kept.run_id, needed.run_id}
    assert server.get(f"{PROXY}/{root(needed)}/model/own.bin").status_code == 200
    assert server.get(f"{PROXY}/{root(kept)}/model/shared.bin").text == "shared"
    assert ledger(server, "storage.collected")[-1]["data"]["bytes"] == 3000 and len(ledger(server, "run.purged")) == 1
    assert server.json("gc")["bytes"] == 0
    assert finish(server, "under/way", "x", upload, [f'"{hashlib.sha256(b"part").hexdigest()}"']).json() == {}
    # When the version goes, so may the run.
    client.delete_model_version("m", "1")
    assert outcome(server.json("gc")) == {needed.run_id: None}
    assert sorted(f.stat().st_size for f in stored_files(server, "content")) == [4, 6, 1000]
    refused = server.cli("gc", "--run-ids", kept.run_id, check=False)
    assert refused.returncode != 0 and "not in `deleted` lifecycle stage" in refused.stderr
    assert server.json("ledger", "verify").get("problem") is None
    server.stop()
