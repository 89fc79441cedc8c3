"""More than a server can do: `python -m bench.flood INTERFACE GROUP RATE SECONDS SERVER-DUID`.

Sends Solicits and Requests in turn, each of another client, without waiting for answers, and prints how many.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from tandem.wire.message import Message, MessageType
from tandem.wire.options import ClientId, IaNa, ServerId

PIECE_S = 0.005


def template(type_: MessageType, duid: bytes, *options: ServerId) -> tuple[bytes, bytes]:
    """Give a message's octets before and behind the client's DUID."""
    message = Message(type_, 1, (ClientId(duid), *options, IaNa(1))).write()
    before, _, behind = message.partition(duid)
    return before, behind


def main() -> None:
    """Keep the rate as well as this processor can."""
    interface, group, rate, seconds, server = sys.argv[1:]
    index = socket.if_nametoindex(interface)
    sending = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sending.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sending.bind(("::", 546, 0, index))
    marker, target, own = os.urandom(16), (group, 547, 0, index), os.urandom(6)
    kinds = [
        template(MessageType.SOLICIT, marker),
        template(MessageType.REQUEST, marker, ServerId(bytes.fromhex(server))),
    ]
    wanted, sent = int(rate) * 2, 0
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < int(seconds):
        while sent < wanted * elapsed:
            before, behind = kinds[sent % 2]
            duid = b"\0\4" + own + sent.to_bytes(8, "big")
            sending.sendto(before + duid + behind, target)
            sent += 1
        time.sleep(PIECE_S)
    print(sent // 2)


if __name__ == "__main__":
    main()
