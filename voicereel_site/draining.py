"""What a web process does between being asked to end and its end, so that no request meets a closed door.

A proxy keeps connections open and sends the next request on one of them whenever it likes: also in the
moment in which we close it. So it is the proxy that closes: each answer says ``Connection: close``, and
a connection that is not used any more ends by the proxy's own timeout. Last, no more connections are
taken: those that are complete are still served, and whoever then asks is refused and goes elsewhere.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
from types import FrameType
from typing import Any

# To each worker, by voicereel_site.web_server.
SAY_GOODBYE = signal.SIGUSR1
REFUSE_CONNECTIONS = signal.SIGUSR2

# linux/filter.h: BPF_RET | BPF_K, returning 0, which is to drop the packet.
_SO_ATTACH_FILTER = 26
_RETURN = 0x06


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


class _Drain:
    """Whether this process has been asked to end."""

    def __init__(self) -> None:
        self.has_begun = False

    def begin(self, number: int, frame: FrameType | None) -> None:
        self.has_begun = True

    def start_response_of(self, start_response: Any) -> Any:
        """A start_response that asks for the connection to be closed after the answer."""

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, ("Connection", "close")], *rest)

        return start


drain = _Drain()


def begin() -> None:
    """Listen for the server's signals. In the main thread."""
    signal.signal(SAY_GOODBYE, drain.begin)
    signal.signal(REFUSE_CONNECTIONS, _refuse_connections)


def _refuse_connections(number: int, frame: FrameType | None) -> None:
    """Let no listening socket of this process see another packet (Linux alone).

    Closing it would reset what was connected and not accepted yet. Without an answer the other side
    tries again after a second, and finds it closed.
    """
    if sys.platform != "linux":
        return
    drop = _Program(1, ctypes.pointer(_Instruction(_RETURN, 0, 0, 0)))
    for descriptor in os.listdir("/proc/self/fd"):
        # What is not a socket, and the folder that is being listed, fail.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(descriptor))) as each:
            if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(drop))
