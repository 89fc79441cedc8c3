"""A datagram that stopped the server is known again, also when its client sends it once more, later."""

from __future__ import annotations

from pathlib import Path

from tandem.effects.events import Datagram
from tandem.runtime.poison import REMEMBERED_MAX, Poison
from tandem.wire.message import Message, MessageType, Relayed
from tandem.wire.options import ClientId, ElapsedTime

HERE = bytes(16)


def solicit(transaction_id: int, hundredths: int, *, relayed: bool) -> Datagram:
    options = (ClientId(b"\0\3\0\1client"), ElapsedTime(hundredths))
    message: Message | Relayed = Message(MessageType.SOLICIT, transaction_id, options)
    if relayed:
        message = Relayed(MessageType.RELAY_FORW, 0, HERE, HERE, (), message)
    return Datagram(message.write(), "fe80::1", 546, 1, 1, HERE)


def test_retransmissions_are_known_and_others_are_not(tmp_path: Path) -> None:
    for relayed in (False, True):
        poison = Poison(tmp_path / f"poison{relayed}")
        assert not poison
        poison.record(solicit(7, 0, relayed=relayed).data)
        after_restart = Poison(tmp_path / f"poison{relayed}")
        assert after_restart
        later, other = solicit(7, 300, relayed=relayed), solicit(8, 0, relayed=relayed)
        assert after_restart.without([later, other]) == [other]


def test_what_is_no_message_is_known_by_its_octets(tmp_path: Path) -> None:
    Poison(tmp_path / "poison").record(b"\x0c\x00")
    assert Poison(tmp_path / "poison").without([Datagram(b"\x0c\x00", "::1", 1, 1, 1, HERE)]) == []
    assert (tmp_path / "poison.last").read_bytes() == b"\x0c\x00"


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    for number in range(REMEMBERED_MAX + 5):
        Poison(tmp_path / "poison").record(number.to_bytes(2, "big"))
    assert len((tmp_path / "poison").read_text().split()) <= REMEMBERED_MAX


def test_a_damaged_file_keeps_no_server_from_starting(tmp_path: Path) -> None:
    """What is intact in it is known all the same."""
    asked = solicit(7, 0, relayed=False)
    Poison(tmp_path / "poison").record(asked.data)
    whole = (tmp_path / "poison").read_bytes()
    (tmp_path / "poison").write_bytes(b"\xff\xfe\x00\x80\n" + whole + b"\x81")
    poison = Poison(tmp_path / "poison")
    assert poison.without([asked]) == []
    poison.record(b"another")
    assert Poison(tmp_path / "poison").without([asked]) == []
