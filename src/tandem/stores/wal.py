"""Looks for commits that SQLite would pass over in a write-ahead log that is damaged.

SQLite takes the first frame that is wrong for the end that a power cut left. But each commit is synced before the
next one begins, so a power cut spoils only the last: two commits behind the frame where reading ended mean damage.
The format of log and index is SQLite's, and documented by it as stable.
"""

from __future__ import annotations

import sys
from pathlib import Path
from struct import Struct

LOG_HEADER = Struct("!IIII8sII")
"""Magic, format, page size, checkpoint number, the two salts as octets, and the two halves of a checksum."""
FRAME_HEADER = Struct("!II8s8s")
"""Page number, size of the file if this frame ends a commit (else 0), the salts, a checksum."""
MAGICS = (0x377F0682, 0x377F0683)
INDEX_LAST_FRAME_AT = 16


def passed_over(database: Path) -> int:
    """Give how many commits lie behind the last frame that SQLite reads; call it while a reader has the file open.

    One may be what a power cut left. 0 if there is no log.
    """
    try:
        log = database.with_name(database.name + "-wal").read_bytes()
        index = database.with_name(database.name + "-shm").read_bytes()
    except FileNotFoundError:
        return 0
    if len(log) < LOG_HEADER.size or len(index) < INDEX_LAST_FRAME_AT + 4:
        return 0
    magic, _, page_size, _, salts, _, _ = LOG_HEADER.unpack_from(log)
    if magic not in MAGICS or not 512 <= page_size <= 65536:
        return 2 if len(log) > LOG_HEADER.size else 0
    read = int.from_bytes(index[INDEX_LAST_FRAME_AT : INDEX_LAST_FRAME_AT + 4], sys.byteorder)
    step = FRAME_HEADER.size + page_size
    commits = 0
    for at in range(LOG_HEADER.size + read * step, len(log) - step + 1, step):
        _, file_size, frame_salts, _ = FRAME_HEADER.unpack_from(log, at)
        commits += file_size != 0 and frame_salts == salts
    return commits
