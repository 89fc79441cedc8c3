"""Makes datagrams that nobody would send out of some that somebody might. One seed, one sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from tandem.wire.message import MessageType
from tandem.wire.octets import index_options, write_option
from tandem.wire.options import ServerId
from tandem.wire.reader import WireError

DATAGRAM_MAX = 65_535
SMALL_MAX = 2_000
LARGE_SHARE = 0.02
"""How often a long datagram is taken: they cost as much as hundreds of short ones."""
REMEMBERED_ANSWERS = 64
CUT_MAX = 64
HEADER_OCTETS = 4
INTERESTING = (0, 1, 2, 3, 4, 5, 8, 12, 16, 24, 25, 63, 64, 127, 128, 129, 255, 256, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
NEXT_MESSAGES = (
    MessageType.REQUEST,
    MessageType.REQUEST,
    MessageType.CONFIRM,
    MessageType.RENEW,
    MessageType.REBIND,
    MessageType.RELEASE,
    MessageType.DECLINE,
)
NAMES_THE_SERVER = (MessageType.REQUEST, MessageType.RENEW, MessageType.RELEASE, MessageType.DECLINE)


class Mutator:
    """Gives datagrams from a corpus, mutated none, one or several times, and from the answers it is shown."""

    def __init__(self, random: Random, corpus: Mapping[str, bytes]) -> None:
        self._random = random
        self._small = [data for data in corpus.values() if len(data) <= SMALL_MAX]
        self._large = [data for data in corpus.values() if len(data) > SMALL_MAX]
        self._answers: list[bytes] = []
        self._mutations: tuple[Callable[[bytes], bytes], ...] = (
            self._flip,
            self._flip,
            self._number,
            self._number,
            self._type,
            self._cut,
            self._truncate,
            self._repeat,
            self._insert,
            self._splice,
            self._drop_option,
            self._repeat_option,
            self._take_option,
            self._client,
            self._wrap,
        )

    def datagram(self) -> bytes:
        """Give the next datagram."""
        random = self._random
        chance = random.random()
        if chance < 0.02:
            return random.randbytes(random.randrange(300))
        if chance < 0.35 and self._answers:
            data = self._follow_up(random.choice(self._answers))
        else:
            data = random.choice(self._large if random.random() < LARGE_SHARE else self._small)
        for _ in range(random.choice((0, 0, 1, 1, 1, 2, 3, 8))):
            data = random.choice(self._mutations)(data)
        return data[:DATAGRAM_MAX]

    def learn(self, answer: bytes) -> None:
        """Remember an answer: what a client says next names the leases in it."""
        if answer[0] in (MessageType.ADVERTISE, MessageType.REPLY) and len(answer) <= SMALL_MAX:
            self._answers.append(answer)
            if len(self._answers) > REMEMBERED_ANSWERS:
                del self._answers[self._random.randrange(REMEMBERED_ANSWERS)]

    def _follow_up(self, answer: bytes) -> bytes:
        """Say what a client might say after this answer: its identifiers and leases stand in it already."""
        type_ = self._random.choice(NEXT_MESSAGES)
        message = bytes((type_,)) + answer[1:]
        if type_ in NAMES_THE_SERVER:
            return message
        kept = [option for option in _options(message) if option[:2] != ServerId.code.to_bytes(2, "big")]
        return message[:HEADER_OCTETS] + b"".join(kept)

    # -- octets

    def _place(self, data: bytes) -> int:
        return self._random.randrange(len(data) + 1)

    def _piece(self, data: bytes) -> tuple[int, int]:
        start = self._place(data)
        return start, min(len(data), start + self._random.randrange(CUT_MAX))

    def _flip(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + bytes(octet ^ 1 << self._random.randrange(8) for octet in data[at : at + 1]) + data[at + 1 :]

    def _number(self, data: bytes) -> bytes:
        """Put a number that is the end of some range where another may stand, such as a length or a code."""
        at, size = self._place(data), self._random.choice((1, 2, 2, 4))
        number = self._random.choice(INTERESTING) & (1 << 8 * size) - 1
        return data[:at] + number.to_bytes(size, "big") + data[at + size :]

    def _type(self, data: bytes) -> bytes:
        return bytes((self._random.randrange(1, 15),)) + data[1:]

    def _cut(self, data: bytes) -> bytes:
        start, end = self._piece(data)
        return data[:start] + data[end:]

    def _truncate(self, data: bytes) -> bytes:
        return data[: self._place(data)]

    def _repeat(self, data: bytes) -> bytes:
        start, end = self._piece(data)
        return data[:end] + data[start:end] * self._random.choice((1, 2, 40)) + data[end:]

    def _insert(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + self._random.randbytes(self._random.randrange(1, 9)) + data[at:]

    def _splice(self, data: bytes) -> bytes:
        other = self._random.choice(self._small)
        return data[: self._place(data)] + other[self._place(other) :]

    # -- options

    def _drop_option(self, data: bytes) -> bytes:
        options = _options(data)
        if options:
            del options[self._random.randrange(len(options))]
        return data[:HEADER_OCTETS] + b"".join(options) if options else data

    def _repeat_option(self, data: bytes) -> bytes:
        options = _options(data)
        return data + self._random.choice(options) if options else data

    def _take_option(self, data: bytes) -> bytes:
        options = _options(self._random.choice(self._small))
        return data + self._random.choice(options) if options else data

    def _client(self, data: bytes) -> bytes:
        """Let another client say it: one of a few, so that they meet again and quarrel."""
        if data[HEADER_OCTETS : HEADER_OCTETS + 4] != b"\0\1\0\x0a":
            return data
        at = HEADER_OCTETS + 4 + 9
        return data[:at] + bytes((self._random.randrange(40),)) + data[at + 1 :]

    def _wrap(self, data: bytes) -> bytes:
        """Put a relay around it, of which the corpus has the header."""
        relays = [each for each in self._small if each[:1] == b"\x0c" and len(each) >= 34]
        inside = write_option(9, data[: DATAGRAM_MAX - 38])
        return self._random.choice(relays)[:34] + inside


def _options(data: bytes) -> list[bytes]:
    """Give a message's options with their headers; none if they cannot be told apart."""
    try:
        return [data[start - 4 : end] for _, start, end in index_options(data, HEADER_OCTETS, len(data))]
    except WireError:
        return []
