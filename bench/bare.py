"""A server that does not think: `python -m bench.bare INTERFACE FILE`. The least that a thread of Python can do.

It takes and sends datagrams as Tandem does, syncs as many octets of a file before each Reply, and does nothing else: no
lease, no check, no count. What it costs is what sockets and disk cost.
"""

from __future__ import annotations

import os
import queue
import select
import socket
import sys
import threading
from collections.abc import Iterator

from tandem.runtime.doors import ANCILLARY_MAX, BATCH_MAX, SERVER_PORT, bind

SOLICIT, ADVERTISE, REPLY = 1, 2, 7
CLIENT_ID, IA_NA = b"\0\x01", b"\0\x03"
SERVER_ID = b"\0\x02\0\x12\0\x04" + bytes(16)
TIMERS = (1000).to_bytes(4, "big") + (2000).to_bytes(4, "big")
LIFETIMES = (3000).to_bytes(4, "big") + (4000).to_bytes(4, "big")
NETWORK = bytes.fromhex("20010db8000100000001") + bytes(2)
RECORD_OCTETS = 128

Answer = tuple[bytes, tuple[str, int, int, int]]


def options_of(message: bytes) -> Iterator[bytes]:
    """Give each option of a message, with its head."""
    at = 4
    while at < len(message):
        end = at + 4 + int.from_bytes(message[at + 2 : at + 4], "big")
        yield message[at:end]
        at = end


def answer(message: bytes, number: int) -> bytes:
    """Answer a Solicit with address `number`, a Request with what it asks for."""
    is_solicit = message[0] == SOLICIT
    parts = [bytes((ADVERTISE if is_solicit else REPLY,)), message[1:4], SERVER_ID]
    for option in options_of(message):
        if option[:2] == IA_NA and is_solicit:
            address = b"\0\x05\0\x18" + NETWORK + number.to_bytes(4, "big") + LIFETIMES
            parts += IA_NA, (40).to_bytes(2, "big"), option[4:8], TIMERS, address
        elif option[:2] in (CLIENT_ID, IA_NA):
            parts.append(option)
    return b"".join(parts)


def write(file: int, batches: queue.SimpleQueue[list[Answer]], door: socket.socket) -> None:
    """Sync for each batch of Replies, and send them."""
    while True:
        batch = batches.get()
        os.write(file, bytes(RECORD_OCTETS * len(batch)))
        os.fdatasync(file)
        for data, peer in batch:
            door.sendto(data, peer)


def serve(door: socket.socket, file: int) -> None:
    """Answer for ever."""
    batches: queue.SimpleQueue[list[Answer]] = queue.SimpleQueue()
    threading.Thread(target=write, args=(file, batches, door), daemon=True).start()
    number = 0
    while True:
        select.select([door], [], [])
        replies: list[Answer] = []
        try:
            for _ in range(BATCH_MAX):
                message, _, _, peer = door.recvmsg(2048, ANCILLARY_MAX)
                number += 1
                if message[0] == SOLICIT:
                    door.sendto(answer(message, number), peer)
                else:
                    replies.append((answer(message, number), peer))
        except BlockingIOError:
            pass
        if replies:
            batches.put(replies)


def main() -> None:
    """Serve an interface."""
    interface, path = sys.argv[1:]
    serve(bind("::", SERVER_PORT, interface), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))


if __name__ == "__main__":
    main()
