"""Whether the end of a journal is missing: what was read, compared with the high-water mark.

A power cut may leave the last frame torn. It was never acknowledged, so it is dropped, which is said. The same octets
could be a frame that was acknowledged and damaged since. The mark tells the two apart if it is exact: after a stop, and
after a crash of the process alone. After a power cut it may be older, and then nobody can tell.

    journal ends          mark                     finding
    before the mark       any                      acknowledged commits are missing
    at or behind it       exact, or nothing torn   nothing; or the torn frame, which was never acknowledged
    at or behind it       of before a power cut    a torn frame or a cut file: the last commits may be missing
    anywhere              missing or damaged       the last commits may be missing
    far behind it         exact                    the mark is an older copy, or the chain differs: as above
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from tandem.stores.journal import Journal
from tandem.stores.mark import Mark
from tandem.stores.store import Finding


def look_at_end(
    journal: Journal, mark: Mark | None, mark_name: str, store_id: bytes, merged_to: int
) -> Iterator[Finding]:
    """Give what is found at the end of a journal that was read to its end."""
    rest, newest = journal.rest, journal.newest
    if mark is None:
        yield _lost(f"{mark_name}, which says how many commits were acknowledged, is missing or damaged", newest)
    elif mark.store_id != store_id or mark.position in journal.strays or mark.position < merged_to:
        yield _lost(f"{mark_name} is of another time than the leases: an older copy was put back", newest)
    elif newest < mark.position:
        missing = mark.position - newest
        are = "commit is" if missing == 1 else "commits are"
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(mark.utc))
        yield Finding(
            f"{missing} acknowledged {are} missing at the end of {rest.name}: "
            f"the last one there is {newest}, but {mark.position} was acknowledged at {when}",
            missing,
            is_lost=True,
        )
    elif mark.is_exact() and newest > mark.position + (0 if mark.is_closed else 1):
        yield _lost(f"{mark_name} is older than {rest.name}: an older copy was put back", newest)
    elif not mark.is_exact() and (rest.is_torn or rest.is_cut):
        why = "was cut short" if rest.is_cut else "ends in something that cannot be read"
        yield _lost(f"{rest.name} {why}, and the power was cut since the last acknowledged commits were noted", newest)
    elif rest.is_torn:
        yield Finding(f"The last write to {rest.name} was cut short. It was never acknowledged, and is dropped", 0)
    elif rest.is_cut:
        yield Finding(f"{rest.name} was cut short, but no commit is missing", 0)


def _lost(why: str, newest: int) -> Finding:
    return Finding(f"{why}. Commits behind number {newest} may be missing", None, is_lost=True)
