"""Servers that models of other servers are asked of: one of OpenAI's API and one of the Open Inference Protocol, as their public documentation describes them.

Both keep what they were asked, and answer wrongly on demand.
"""
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Upstream:
    """`mode` is how the next predictions are answered: well, or in one of the ways in which a server fails."""

    def __init__(self, handler):
        self.mode = "well"
        self.asked = []
        self.connections = 0
        self.open = []
        self.port = None
        self.handler = handler
        self.server = None

    def start(self):
        upstream = self

        class Handler(self.handler):
            def setup(self):
                super().setup()
                upstream.connections += 1
                upstream.open.append(self.connection)

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    # Whoever asked has gone, or this server is stopped.
                    pass

        Handler.upstream = self
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port or 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Two small writes of which the second waits for an acknowledgement take 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def answer(self, body, status=200, headers=()):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def read(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def fails(self):
        """The failures that every server has. Whether it was one of these."""
        mode = self.upstream.mode
        if mode == "error":
            self.answer({"error": {"message": "CUDA is out of memory"}}, 500)
        elif mode == "text":
            self.answer(b"<html>not what you wanted</html>")
        elif mode == "full":
            self.answer({"error": "the queue is full"}, 503)
        elif mode == "slow":
            time.sleep(3)
            self.answer({"error": "too late"}, 500)
        elif mode == "redirect":
            self.answer(b"", 307, [("Location", self.upstream.elsewhere)])
        elif mode == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"{")
            self.wfile.flush()
            self.close_connection = True
        elif mode == "closed":
            self.close_connection = True
        elif mode == "large":
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 30))
            self.end_headers()
            try:
                for _ in range(1 << 14):
                    self.wfile.write(b" " * (1 << 16))
            except OSError:
                self.close_connection = True
        else:
            return False
        return True


class Chat(Answering):
    """`base` answers with the words of the prompt, `shouting` in capitals: an adapter of it."""
    KEY = "key-of-the-model-server-123"

    def is_known(self):
        if self.headers.get("Authorization") == f"Bearer {self.KEY}":
            return True
        given = self.headers.get("Authorization", "")
        self.answer({"error": {"message": f"Incorrect API key provided: {given}", "type": "invalid_request_error"}}, 401)
        return False

    def do_GET(self):
        if not self.is_known():
            return
        if self.path == "/v1/models":
            return self.answer({"object": "list", "data": [{"id": name, "object": "model", "owned_by": "vllm"} for name in ("base", "shouting", "other/lora-2")]})
        self.answer({"error": {"message": "Not Found"}}, 404)

    def do_POST(self):
        body = json.loads(self.read())
        self.upstream.asked.append(body)
        if not self.is_known() or self.fails():
            return
        if body["model"] == "broken" or self.upstream.mode == "no text":
            return self.answer({"id": "1", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": None}}]})
        if body.get("temperature", 0) > 2:
            return self.answer({"error": {"message": f"temperature must be at most 2 (key {self.KEY})"}}, 400)
        prompt = body["prompt"] if self.path == "/v1/completions" else body["messages"][-1]["content"]
        text = prompt.upper() if body["model"] == "shouting" else prompt
        choice = {"index": 0, "finish_reason": "stop"}
        choice |= {"text": text} if self.path == "/v1/completions" else {"message": {"role": "assistant", "content": text}}
        count = len(prompt.split())
        self.answer({"id": "1", "object": "chat.completion", "model": body["model"], "choices": [choice],
                     "usage": {"prompt_tokens": count, "completion_tokens": count, "total_tokens": 2 * count}})


class Doubling(Answering):
    """A model `double` of two versions, which doubles (1) or triples (2) the one number of a row, in batches of at most four rows."""

    def do_GET(self):
        path = self.path.rstrip("/")
        if path == "/v2":
            return self.answer({"name": "tiny", "version": "1", "extensions": []})
        if path in ("/v2/models/double", "/v2/models/double/versions/1", "/v2/models/double/versions/2"):
            return self.answer({"name": "double", "versions": ["1", "2"], "platform": "none",
                                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
                                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}, {"name": "note", "datatype": "BYTES", "shape": [-1]}]})
        if path.endswith("/config"):
            return self.answer({"name": "double", "max_batch_size": 4})
        self.answer({"error": "Request for unknown model"}, 404)

    def do_POST(self):
        body = json.loads(self.read())
        self.upstream.asked.append((self.path, body))
        if self.fails():
            return
        factor = 3 if "/versions/2/" in self.path else 2
        values = body["inputs"][0]["data"]
        if len(values) > 4:
            return self.answer({"error": "the batch is too large"}, 400)
        if 13 in values:
            return self.answer({"error": "13 is refused"}, 400)
        shape = [len(values), 1]
        outputs = [{"name": "y", "datatype": "FP32", "shape": shape, "data": [factor * v + self.upstream.offset for v in values]},
                   {"name": "note", "datatype": "BYTES", "shape": [len(values)], "data": ["fine"] * len(values)}]
        mode = self.upstream.mode
        if mode == "rows":
            outputs[0] |= {"shape": [1, 1], "data": [1.0]}
        elif mode == "shape":
            outputs[0] |= {"shape": [len(values), 2], "data": [1.0, 2.0] * len(values)}
        elif mode == "datatype":
            outputs[0] |= {"datatype": "INT64", "data": [1] * len(values)}
        elif mode == "values":
            outputs[0] |= {"data": ["a"] * len(values)}
        elif mode == "count":
            outputs[0] |= {"data": [1.0]}
        elif mode == "name":
            outputs[0] |= {"name": "z"}
        elif mode == "nan":
            outputs[0] |= {"data": [None] * len(values)}
        self.answer({"model_name": "double", "model_version": "1", "outputs": [o for o in outputs if o["name"] in [w["name"] for w in body["outputs"]] or mode == "name"]})


def chat():
    return Upstream(Chat).start()


def doubling():
    upstream = Upstream(Doubling)
    upstream.offset = 0
    return upstream.start()
