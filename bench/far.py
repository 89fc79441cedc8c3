"""Puts partners far apart: `python -m bench.far LISTEN TARGET SOURCE PORT DELAY-MS` has each octet arrive so late."""

from __future__ import annotations

import asyncio
import sys
from collections import deque


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay_s: float) -> None:
    """Carry octets one way, each of them `delay_s` late, however many come."""
    loop = asyncio.get_running_loop()
    waiting: deque[tuple[float, bytes]] = deque()

    def let_out() -> None:
        while waiting and waiting[0][0] <= loop.time():
            target.write(waiting.popleft()[1])
        if waiting:
            loop.call_at(waiting[0][0], let_out)

    while octets := await source.read(65_536):
        waiting.append((loop.time() + delay_s, octets))
        if len(waiting) == 1:
            loop.call_at(waiting[0][0], let_out)
    await asyncio.sleep(delay_s)
    target.close()


async def _main(listen: str, target: str, source: str, port: int, delay_s: float) -> None:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(target, port, local_addr=(source, 0))
        await asyncio.gather(_carry(reader, back, delay_s), _carry(there, writer, delay_s))

    server = await asyncio.start_server(accepted, listen, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]) / 1000))
