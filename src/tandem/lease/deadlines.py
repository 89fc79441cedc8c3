"""Which keys to look at, and when. A key stands in one second's list and is moved on only when that comes."""

from __future__ import annotations

from heapq import heappop, heappush


class Deadlines:
    """Keys by the UTC second at which they are to be looked at.

    A deadline that moves into the future is not moved here: whoever is handed a key too early puts it back.
    So extending a lease costs nothing, and a million leases cost a list entry each.
    """

    def __init__(self) -> None:
        self._keys: dict[int, list[int]] = {}
        self._seconds: list[int] = []

    def add(self, key: int, second: int) -> None:
        """Have the key handed out at `second`, or soon after."""
        keys = self._keys.get(second)
        if keys is None:
            self._keys[second] = [key]
            heappush(self._seconds, second)
        else:
            keys.append(key)

    def next_second(self) -> int | None:
        """Give the second of the earliest deadline, None if there is none."""
        return self._seconds[0] if self._seconds else None

    def take_due(self, now_s: int, limit: int) -> list[int]:
        """Take keys whose second has come, each once, at most about `limit` of them."""
        due: dict[int, None] = {}
        while self._seconds and self._seconds[0] <= now_s and len(due) < limit:
            keys = self._keys[self._seconds[0]]
            room = limit - len(due)
            due.update(dict.fromkeys(keys[-room:]))
            del keys[-room:]
            if not keys:
                del self._keys[heappop(self._seconds)]
        return list(due)
