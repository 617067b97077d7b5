"""kombu's transports, mended where they would end a worker.

Both faults end the whole process, with every job in it, for the sake of messages that are only
nudges.
"""

import contextlib
import os
import time
import uuid
from pathlib import Path
from typing import Any

import structlog
from kombu.exceptions import ChannelError
from kombu.transport import filesystem, redis
from kombu.utils.json import dumps

log = structlog.get_logger(__name__)


class _WholeMessages(filesystem.Channel):
    """Messages appear whole or not at all.

    kombu opens a message's file under its final name and then writes it. A consumer that looks in
    between, or a disk that is full, leaves half a message, and reading one ends the worker.
    """

    def _put(self, queue: str, message: Any, **_: Any) -> None:  # type: ignore[override]
        # The name is kombu's: it sorts by time, and ends in the queue's.
        name = f"{time.monotonic_ns() // 1_000_000}_{uuid.uuid4()}.{queue}.msg"
        target = Path(self.data_folder_out) / name
        unfinished = target.with_suffix(".part")
        try:
            unfinished.write_text(dumps(message))
            os.replace(unfinished, target)
        except OSError as exc:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise ChannelError(f"Cannot add a message to {self.data_folder_out}: {exc}") from exc


class FileTransport(filesystem.Transport):
    Channel = _WholeMessages


class _ForgivingQoS(redis.QoS):
    """Lets go of messages whose connection is gone.

    When Redis goes away, kombu 5.7 closes the connection, and then gives the messages in hand back,
    and later acknowledges them, over one that it can no longer make: an AttributeError, and the
    worker ends. They come back by themselves after the visibility timeout, to a worker that finds
    their work done; where it is not, sweeps do not wait for that.
    """

    def restore_unacked_once(self, stderr: Any = None) -> None:
        try:
            super().restore_unacked_once(stderr)
        except Exception as exc:
            log.warning("broker.messages_not_given_back", error=type(exc).__name__)

    def ack(self, delivery_tag: str) -> None:
        if self.channel.connection is not None:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if self.channel.connection is not None:
            super().reject(delivery_tag, requeue)


class _RedisChannel(redis.Channel):
    QoS = _ForgivingQoS


class RedisTransport(redis.Transport):
    Channel = _RedisChannel
