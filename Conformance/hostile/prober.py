"""Asks `/health` and a bare socket of its own again and again, in a process of its own, and prints the waits as JSON when its input closes.

The bare socket tells how long anything had to wait on this machine at that moment: a busy machine delays both, a blocked server only one.
"""
import http.client
import json
import selectors
import socket
import sys
import threading
import time

PAUSE = 0.005
PATIENCE = 60


def answer(listener):
    """Answers one byte with one byte, on every connection."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
            elif data := key.fileobj.recv(1):
                key.fileobj.sendall(data)


def bare(listener):
    """Milliseconds for one byte there and back on a new connection, as for `/health`."""
    start = time.monotonic()
    with socket.create_connection(listener.getsockname(), timeout=PATIENCE) as s:
        s.sendall(b"x")
        s.recv(1)
    return (time.monotonic() - start) * 1000


def health(port):
    start = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except OSError:
        status = 0
    finally:
        connection.close()
    return (time.monotonic() - start) * 1000, status


def main(port):
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=answer, args=(listener,), daemon=True).start()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    print("watching", flush=True)
    samples = []
    while not ended.is_set():
        before = bare(listener)
        waited, status = health(port)
        samples.append({"waited": waited, "status": status, "bare": max(before, bare(listener))})
        time.sleep(PAUSE)
    json.dump(samples, sys.stdout)


main(int(sys.argv[1]))
