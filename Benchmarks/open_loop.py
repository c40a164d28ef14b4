"""Requests at a constant rate, whatever the server does: a request is sent when it is due, also while earlier ones are unanswered, and its latency counts
from when it was due. A client that waits for answers would send less while the server is slow, and so hide it.
"""
import asyncio
import gc
import time


class Connection(asyncio.Protocol):
    """One connection, one request at a time; answers have a Content-Length."""

    def __init__(self):
        self.answered = None
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.received[:end].lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(self.received) >= end + 4 + length:
            self.received = b""
            self.answered.set_result(int(head.split(b" ", 2)[1]))

    def connection_lost(self, error):
        if self.answered and not self.answered.done():
            self.answered.set_result(0)


async def _run(host, port, path, bodies, rate, seconds):
    loop, idle, latencies, errors = asyncio.get_running_loop(), [], [], 0
    requests = [f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
                for body in bodies]

    async def ask(number, due):
        nonlocal errors
        connection = None
        try:
            connection = idle.pop() if idle else (await loop.create_connection(Connection, host, port))[1]
            connection.answered = loop.create_future()
            connection.transport.write(requests[number % len(requests)])
            status = await asyncio.wait_for(connection.answered, 30)
        except (OSError, TimeoutError):
            status = 0
        latencies.append(time.perf_counter() - due)
        if status == 200:
            idle.append(connection)
            return
        errors += 1
        if connection:
            connection.transport.close()

    began, tasks = time.perf_counter() + 0.1, []
    for number in range(round(rate * seconds)):
        due = began + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(ask(number, due)))
    await asyncio.gather(*tasks)
    return latencies, errors


def load(host, port, path, bodies, rate, seconds):
    """(latencies in ms, ascending; requests that were not answered by 200)."""
    gc.disable()
    try:
        latencies, errors = asyncio.run(_run(host, port, path, bodies, rate, seconds))
    finally:
        gc.enable()
    return sorted(latency * 1000 for latency in latencies), errors
