"""The load on an API: a process of its own, so that what is measured does not wait for who measures.

    python -m benchmarks.load ORDER.json

The order: ``port``, ``requests`` (a list of [kind, bytes in base64], sent in turn from a random place
on), ``seconds``, ``connections``, and ``rate`` (requests a second; null: each connection sends the next
as soon as it has an answer). It prints one JSON object.

With a rate the loop is open: requests fall due at random (Poisson), whether the ones before have been
answered or not, and a latency counts from when the request was due. A closed loop would wait politely
while the server stalls, and measure nothing of it (Tene's "coordinated omission").
"""

import asyncio
import base64
import json
import random
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any, cast

import uvloop

_DRAIN_S = 10.0  # for what is still under way at the end


class _Connection(asyncio.Protocol):
    """Keep-alive HTTP/1.1: one request at a time, answers by Content-Length."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._buffer = b""
        self._current: tuple[str, float] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's own class
        self._load.is_free(self)

    def send(self, kind: str, request: bytes, due: float) -> None:
        assert self._transport is not None
        self._current, self._buffer = (kind, due), b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length or self._current is None:
            return
        kind, due = self._current
        self._current = None
        self._load.answered(kind, due, int(head[9:12]))
        if b"\r\nconnection: close" in head:
            assert self._transport is not None
            self._transport.close()  # as the server does; another one takes its place
        else:
            self._load.is_free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(self, self._current is not None)


class Load:
    """Requests under way, and what became of them."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._port: int = order["port"]
        self._rate: float | None = order["rate"]
        self._seconds: float = order["seconds"]
        self._connections: int = order["connections"]
        self._requests = [(kind, base64.b64decode(raw)) for kind, raw in order["requests"]]
        self._random = random.Random(order.get("seed", 1))
        self._next = self._random.randrange(len(self._requests))
        self._free: list[_Connection] = []
        self._due: deque[tuple[str, bytes, float]] = deque()
        self._latencies: list[tuple[str, float]] = []
        self._statuses: Counter[str] = Counter()
        self._open = 0
        self._connecting: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._sent = 0
        self._until = float("inf")

    def _take(self) -> tuple[str, bytes]:
        self._next = (self._next + 1) % len(self._requests)
        return self._requests[self._next]

    def is_free(self, connection: _Connection) -> None:
        """Give a connection what is due, or the next in a closed loop."""
        if self._due:
            kind, request, due = self._due.popleft()
        elif self._rate is None and time.perf_counter() < self._until:
            (kind, request), due = self._take(), time.perf_counter()
            self._sent += 1
        else:
            self._free.append(connection)
            return
        self._under_way += 1
        connection.send(kind, request, due)

    def _any_free(self) -> _Connection:
        """Each is another customer's. Of those that wait, the last to be answered would bring its next request
        to a process that is busy already, while the other one idles.
        """
        at = self._random.randrange(len(self._free))
        self._free[at], self._free[-1] = self._free[-1], self._free[at]
        return self._free.pop()

    def answered(self, kind: str, due: float, status: int) -> None:
        self._under_way -= 1
        self._latencies.append((kind, time.perf_counter() - due))
        self._statuses[str(status)] += 1

    def lost(self, connection: _Connection, in_use: bool) -> None:
        self._open -= 1
        if connection in self._free:
            self._free.remove(connection)
        if in_use:
            self._under_way -= 1
            self._statuses["lost"] += 1
        task = asyncio.ensure_future(self._connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._open += 1
        for _ in range(100):
            try:
                await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
                return
            except OSError:
                await asyncio.sleep(0.05)
        self._open -= 1
        self._statuses["no connection"] += 1

    async def run(self) -> dict[str, Any]:
        """Returns how many were sent, the statuses, and the latencies in ms by kind."""
        await asyncio.gather(*(self._connect() for _ in range(self._connections)))
        started = time.perf_counter()
        self._until = started + self._seconds
        if self._rate is None:
            for connection in list(self._free):
                self._free.remove(connection)
                self.is_free(connection)
            await asyncio.sleep(self._seconds)
        else:
            await self._offer(self._rate)
        elapsed = time.perf_counter() - started
        deadline = time.perf_counter() + _DRAIN_S
        while (self._under_way or self._due) and time.perf_counter() < deadline:
            await asyncio.sleep(0.02)
        return {
            "sent": self._sent,
            "elapsed_s": elapsed,
            "statuses": dict(self._statuses),
            "unanswered": self._under_way + len(self._due),
            "latencies_ms": [[kind, round(s * 1000, 3)] for kind, s in self._latencies],
            "cpu_s": time.process_time(),
        }

    async def _offer(self, rate: float) -> None:
        due = time.perf_counter()
        while due < self._until:
            if (wait_s := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            kind, request = self._take()
            self._sent += 1
            if self._free:
                self._under_way += 1
                self._any_free().send(kind, request, due)
            else:
                self._due.append((kind, request, due))
            due += self._random.expovariate(rate)


def main() -> None:
    order = json.loads(Path(sys.argv[1]).read_text())
    json.dump(uvloop.run(Load(order).run()), sys.stdout)


if __name__ == "__main__":
    main()
