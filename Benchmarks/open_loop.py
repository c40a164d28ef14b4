"""Requests at a constant rate, whatever the server does: each is due at its time, also while earlier ones are unanswered, and its latency counts from
when it was due. A client that waits for answers would ask less while the server is slow, and so hide it.
"""
import asyncio
import collections
import gc
import time


class Connection(asyncio.Protocol):
    """One connection with one request at a time. `answered` is told the status, 0 when the connection ends instead; answers have a Content-Length."""

    def __init__(self):
        self.answered, self.received = None, b""

    def connection_made(self, transport):
        self.transport = transport

    def ask(self, request):
        self.answered = asyncio.get_running_loop().create_future()
        if self.transport.is_closing():
            self.answered.set_result(0)
        else:
            self.transport.write(request)
        return self.answered

    def data_received(self, data):
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.received[:end].lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(self.received) >= end + 4 + length:
            self.received = b""
            self.end(int(head.split(b" ", 2)[1]))

    def connection_lost(self, error):
        self.end(0)

    def end(self, status):
        if self.answered and not self.answered.done():
            self.answered.set_result(status)


async def _run(host, port, path, bodies, rate, seconds, connections, patience):
    loop, due, latencies, errors = asyncio.get_running_loop(), collections.deque(), [], collections.Counter()
    requests = [f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
                for body in bodies]
    free = [(await loop.create_connection(Connection, host, port))[1] for _ in range(connections)]
    unanswered, count = set(), round(rate * seconds)

    def send():
        while due and free:
            number, when = due.popleft()
            task = loop.create_task(ask(free.pop(), number, when))
            unanswered.add(task)
            task.add_done_callback(unanswered.discard)

    async def ask(connection, number, when):
        try:
            status = await asyncio.wait_for(connection.ask(requests[number % len(requests)]), patience)
        except TimeoutError:
            status = "no answer"
        latencies.append(time.perf_counter() - when)
        if status != 200:
            errors[status] += 1
            connection.transport.close()
            try:
                connection = (await loop.create_connection(Connection, host, port))[1]
            except OSError:
                return
        free.append(connection)
        send()

    began = time.perf_counter() + 0.1
    for number in range(count):
        when = began + number / rate
        if (wait := when - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        due.append((number, when))
        send()
    while unanswered:
        await asyncio.wait(unanswered, return_when=asyncio.FIRST_COMPLETED)
    errors["never sent"] += len(due)
    for connection in free:
        connection.transport.close()
    return latencies, +errors


def load(host, port, path, bodies, rate, seconds, connections=64, patience=30):
    """(latencies in ms, ascending; how often each other status than 200 came, 0 for a connection that ended)."""
    gc.disable()
    try:
        latencies, errors = asyncio.run(_run(host, port, path, bodies, rate, seconds, connections, patience))
    finally:
        gc.enable()
    return sorted(latency * 1000 for latency in latencies), errors
