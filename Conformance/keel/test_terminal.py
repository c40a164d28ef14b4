"""What others wrote reaches the terminal as text only: every command, with each text of the server's answers made hostile on its way."""
import http.server
import json
import re
import subprocess
import threading

import pytest
import requests

import project
from servers import KEEL, ROOT, Keel

HOSTILE = "\x1b[2J\x1b]0;t\x07\nerror: forged\r\x9b1A\x7f\u202e\u200b\u2028"
HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")


def hostile(value):
    """The same document, every text in it longer by what a terminal must never get."""
    if isinstance(value, str):
        return value + HOSTILE
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return {key: hostile(item) for key, item in value.items()} if isinstance(value, dict) else value


def extreme(number):
    """Changes every number of a document into this one."""
    def change(value):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return number
        if isinstance(value, list):
            return [change(item) for item in value]
        return {key: change(item) for key, item in value.items()} if isinstance(value, dict) else value
    return change


class Between(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the real server, and its answers back changed."""
    protocol_version = "HTTP/1.1"
    server_url = None
    change = staticmethod(hostile)

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "application/json")
        answer = requests.request(self.command, self.server_url + self.path, data=body, headers={"Content-Type": kind}, timeout=60)
        content = answer.content
        type_ = answer.headers.get("Content-Type", "")
        if "json" in type_:
            lines = content.splitlines() if "ndjson" in type_ else [content]
            content = b"\n".join(json.dumps(self.change(json.loads(line))).encode() for line in lines if line) + (b"\n" if "ndjson" in type_ else b"")
        elif self.change is hostile:
            content += HOSTILE.encode()
        self.send_response(answer.status_code)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = forward

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A server with a trained and released model, and the address at which its texts are hostile."""
    folder = tmp_path_factory.mktemp("terminal")
    keel = Keel().start()
    project.apply(keel, folder)
    project.ingest(keel, folder, project.csv(project.rows(2000)))
    run = keel.json("run", "train")["id"]
    between = stand_between(keel, hostile)
    tracked = keel.json("runs", "list")["runs"][0]["info"]["run_id"]
    yield keel, f"http://127.0.0.1:{between.server_port}", folder, run, tracked
    between.shutdown()
    keel.stop()


def stand_between(keel, change):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("At", (Between,), {"server_url": keel.url, "change": staticmethod(change)}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


QUESTION = '{"user": "u1", "at": "2024-06-01T00:00:00Z", "price": 10}'
# In an order in which each still finds what it needs.
COMMANDS = [
    "get endpoints", "get runs", "get snapshots clicks", "get alerts", "get datasets", "get releases buying", "releases buying",
    "describe dataset clicks", "describe endpoint buying", "describe model buying", "describe model buying/1", "describe run RUN",
    "ledger", "ledger --kind release.", "ledger verify", "tokens list", "tokens create dana --persona service", "tokens revoke dana",
    "models list", "models history buying", "models card buying/1", "models tag buying/1 a=b", "models alias buying/1 best",
    "models create other", "models delete other", "runs list --experiment train", "runs list", "runs show TRACKED", "runs compare TRACKED",
    "features read buying QUESTION", "features verify buying", "predict buying QUESTION", "push clicks FILE", "ingest clicks FILE",
    "plan CHANGED", "apply CHANGED", "label 01a20bd3-ee3a-7d60-b5b5-ca66909a6ce8 1", "gc --dry-run", "release buying models:/buying/1",
    "rollback buying", "promote buying", "run train --no-cache", "delete pipeline train", "delete pipeline train --cascade --yes", "doctor",
    "get damage", "get triggers", "logs RUN fit", "get nothings", "describe dataset nothing", "predict nothing {}", "run nothing",
]


def said(url, command, world, json_output):
    _, _, folder, run, tracked = world
    (folder / "one.csv").write_text(project.csv(project.rows(1, start=9000)))
    (folder / "one.jsonl").write_text("\n".join(json.dumps(row) for row in project.rows(1, start=9500) + [{"bad": 1}]) + "\n")
    (folder / "changed.yaml").write_text(project.RESOURCES.replace("range: [0, 1000]", "range: [0, 2000]"))
    words = {"RUN": run, "TRACKED": tracked, "QUESTION": QUESTION, "CHANGED": str(folder / "changed.yaml"),
             "FILE": str(folder / ("one.jsonl" if command.startswith("push") else "one.csv"))}
    arguments = [words.get(word, word) for word in command.split(" ")] + (["--json"] if json_output else [])
    return subprocess.run([str(KEEL), *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120,
                          env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "KEEL_URL": url})


@pytest.mark.parametrize("command", COMMANDS)
def test_a11_no_text_of_others_reaches_the_terminal(world, command):
    done = said(world[1], command, world, json_output=False)
    assert done.stdout or done.stderr
    for line in (done.stdout + done.stderr).split("\n"):
        assert not HIDDEN.search(line), repr(line)
        # A card is a document with lines of its own; errors are on the other stream.
        assert command.startswith("models card") or not line.startswith("error: forged"), done.stdout + done.stderr
    assert not any(line.startswith("error: forged") for line in done.stderr.split("\n"))


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.split()[0] in ("get", "describe", "ledger", "models", "runs", "predict")])
def test_a11_json_escapes_what_it_says(world, command):
    done = said(world[1], command, world, json_output=True)
    assert not HIDDEN.search((done.stdout + done.stderr).replace("\n", "")), done.stdout
    if done.returncode == 0 and not command.startswith("models card"):
        json.loads(done.stdout)


# Not those that ask again until something is over, or page until nothing is left.
READING = ["get endpoints", "get runs", "get snapshots clicks", "describe dataset clicks", "describe endpoint buying", "ledger", "runs list --history auc",
           "runs show TRACKED", "runs compare TRACKED", "releases buying", "models list", "features verify buying", "predict buying QUESTION",
           "push clicks FILE", "ingest clicks FILE", "label 01a20bd3-ee3a-7d60-b5b5-ca66909a6ce8 1", "gc --dry-run", "doctor"]


@pytest.mark.parametrize("number", [1.6e15, -1.6e15, 1e308, -1e308, 5e-324, 2**63 - 1, -(2**63), 0.1])
def test_s8_every_number_prints(world, number):
    between = stand_between(world[0], extreme(number))
    try:
        for command in READING:
            done = said(f"http://127.0.0.1:{between.server_port}", command, world, json_output=False)
            assert done.returncode in (0, 1), (command, done.returncode, done.stdout, done.stderr)
            assert done.stdout or done.stderr, command
    finally:
        between.shutdown()


def test_a11_a_model_file_forges_no_line_of_the_log(world):
    keel = world[0]
    before = len(keel.log().split("\n"))
    requests.get(keel.url + "/api/v1/resources/%0a2026-01-01T00:00:00+0000 error keel: forged/x", timeout=10)
    requests.post(keel.url + "/v2/models/a%0aforged%1b[1A/infer", json={}, timeout=10)
    added = keel.log().split("\n")[before:]
    assert not HIDDEN.search("".join(keel.log().split("\n")))
    assert not [line for line in added if line.startswith(("forged", "2026-01-01"))]
