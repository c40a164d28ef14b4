"""Receives webhooks, over TLS when it has a certificate; and what became of them on Keel's side."""
import http.server
import json
import ssl
import threading
import time

import requests

LAPTOP = {"KEEL_WEBHOOKS_SCHEMES": "http,https", "KEEL_WEBHOOKS_INTERNAL": "true"}


class Receiver:
    """Keeps what it is sent; answers with the statuses it was given, then with 200."""

    def __init__(self, statuses=(), certificate=None, address="127.0.0.1"):
        self.seen, self.statuses, self.headers = [], list(statuses), {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.seen.append((dict(self.headers), body, self.path))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 200)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"thanks")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self.port = self.server.server_port
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if certificate else ''}://{address}:{self.port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count):
        for _ in range(600):
            if len(self.seen) >= count:
                return [json.loads(body) for _, body, _ in self.seen]
            time.sleep(0.05)
        raise AssertionError(f"{len(self.seen)} of {count} deliveries came: {self.seen}")

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def deliveries(server, webhook):
    return requests.get(f"{server.url}/api/v1/webhooks/{webhook.webhook_id}/deliveries").json()["deliveries"]


def wait_for_state(server, webhook, state):
    for _ in range(600):
        found = deliveries(server, webhook)
        if found and all(d["state"] == state for d in found):
            return found
        time.sleep(0.05)
    raise AssertionError(found)
