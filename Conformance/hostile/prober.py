"""Asks `/health` and a bare socket of its own again and again, in a process of its own, and prints the waits as JSON when its input closes.

The bare socket tells how long anything had to wait on this machine at that moment: a busy machine delays both, a blocked server only one. It is asked
by a thread of its own all the while, so a machine that stands still for a second does it to both, whichever was asked just then.

    prober.py PORT PAUSE        PAUSE: seconds between two questions
"""
import http.client
import json
import pathlib
import selectors
import socket
import sys
import threading
import time

BEAT = 0.02
PATIENCE = 60
# Only of waits as long as this is it told what else went on.
LONG = 0.1


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


def beat(listener, beats):
    """Sends one byte there and back on a new connection, as for `/health`, and notes when that began and how much longer than BEAT it took."""
    while True:
        start = time.monotonic()
        time.sleep(BEAT)
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE) as s:
            s.sendall(b"x")
            s.recv(1)
        beats.append((start, time.monotonic() - start - BEAT))


def health(port):
    """The status (0: none), and the seconds until connected and until answered."""
    start = time.monotonic()
    connected = None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.connect()
        connected = time.monotonic() - start
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except OSError:
        status = 0
    finally:
        connection.close()
    answered = time.monotonic() - start
    return status, answered if connected is None else connected, answered


def overflows():
    """How many connections the system has turned away because the queue of some listener was full."""
    names, values = pathlib.Path("/proc/net/netstat").read_text().splitlines()[:2]
    return dict(zip(names.split(), values.split())).get("ListenOverflows", "unknown")


def overlap(began, took, start, until):
    """How much of a wait that began then and took so long lies between `start` and `until`, in seconds."""
    return max(0, min(began + took, until) - max(began, start))


def main(port, pause):
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    threading.Thread(target=answer, args=(listener,), daemon=True).start()
    beats = []
    threading.Thread(target=beat, args=(listener, beats), daemon=True).start()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    print("watching", flush=True)
    samples = []
    while not ended.is_set():
        start = time.monotonic()
        turned_away = overflows()
        status, connected, answered = health(port)
        sample = {"status": status, "start": start, "connected": connected * 1000, "waited": answered * 1000, "bare": 0}
        if answered > LONG:
            sample["overflows"] = [turned_away, overflows()]
        samples.append(sample)
        ended.wait(pause)
    time.sleep(BEAT * 2)
    for sample in (s for s in samples if s["waited"] / 1000 > LONG):
        until = sample["start"] + sample["waited"] / 1000
        sample["bare"] = 1000 * max((overlap(began + BEAT, took, sample["start"], until) for began, took in beats), default=0)
    json.dump(samples, sys.stdout)


main(int(sys.argv[1]), float(sys.argv[2]))
