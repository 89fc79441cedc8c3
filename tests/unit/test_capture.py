"""Captures are read as scapy reads them, in each format, and whatever is in them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    fragment6,
)
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.packet import Packet, Raw
from scapy.utils import PcapReader, wrpcap, wrpcapng

from tandem.admin.capture import Captured, read_capture
from tandem.admin.client import CommandFailed

ASKED = b"\x01\xab\xcd\xef" + bytes(range(40))
IP6 = IPv6(src="fe80::cd:1", dst="ff02::1:2")
TO_SERVERS = UDP(sport=546, dport=547) / Raw(ASKED)
OPTIONS = [PadN(optdata=b"\0" * 12)]
STACKS: dict[str, Packet] = {
    "ethernet": Ether() / IP6 / TO_SERVERS,
    "padded": Ether() / IP6 / UDP(dport=547) / Raw(b"\x01abc") / Raw(b""),
    "vlan": Ether() / Dot1Q(vlan=7) / IP6 / TO_SERVERS,
    "two vlans": Ether() / Dot1AD(vlan=7) / Dot1Q(vlan=8) / IP6 / TO_SERVERS,
    "pppoe": Ether() / PPPoE(sessionid=5) / PPP() / IP6 / TO_SERVERS,
    "cooked": CookedLinux(proto=0x86DD) / IP6 / TO_SERVERS,
    "cooked, second version": CookedLinuxV2(proto=0x86DD) / IP6 / TO_SERVERS,
    "ip alone": IP6 / TO_SERVERS,
    "hop by hop": Ether() / IP6 / IPv6ExtHdrHopByHop(options=OPTIONS) / TO_SERVERS,
    "routing": Ether() / IP6 / IPv6ExtHdrRouting(addresses=["::1"]) / TO_SERVERS,
    "options": Ether() / IP6 / IPv6ExtHdrDestOpt(options=OPTIONS) / TO_SERVERS,
    "several": Ether() / IP6 / IPv6ExtHdrHopByHop(options=OPTIONS) / IPv6ExtHdrDestOpt(options=OPTIONS) / TO_SERVERS,
    "a fragment that is all": Ether() / IP6 / IPv6ExtHdrFragment(id=7) / TO_SERVERS,
    "to clients": Ether() / IP6 / UDP(sport=547, dport=546) / Raw(ASKED),
    "tcp": Ether() / IP6 / TCP(dport=547) / Raw(ASKED),
    "ipv4": Ether() / IP(dst="192.0.2.1") / UDP(dport=547) / Raw(ASKED),
    "nothing": Ether(),
}
WRITERS: dict[str, Callable[[str, Sequence[Packet]], None]] = {"pcap": wrpcap, "pcapng": wrpcapng}


def by_scapy(path: Path) -> list[Captured]:
    with PcapReader(str(path)) as packets:
        return [
            Captured(number, packet[IPv6].src, packet[IPv6].dst, bytes(packet[UDP].payload)[: packet[UDP].len - 8])
            for number, packet in enumerate(packets, 1)
            if IPv6 in packet and UDP in packet and packet[UDP].dport == 547
        ]


def written(path: Path, frames: Sequence[Packet], writer: str = "pcap") -> Path:
    WRITERS[writer](str(path), frames)
    return path


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("stack", STACKS)
def test_each_link_and_header_is_read_as_scapy_reads_it(tmp_path: Path, stack: str, writer: str) -> None:
    frame = STACKS[stack]
    path = written(tmp_path / "asked", [frame, frame], writer)
    found = list(read_capture(path))
    assert found == by_scapy(path)
    is_to_servers = stack not in ("to clients", "tcp", "ipv4", "nothing")
    assert [each.number for each in found] == ([1, 2] if is_to_servers else [])


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34])
def test_the_classic_format_in_both_orders_and_its_variants(tmp_path: Path, magic: int, swapped: bool) -> None:
    order, frame = ">" if swapped else "<", bytes(STACKS["ethernet"])
    record = struct.pack(f"{order}IIII", 1, 2, len(frame), len(frame)) + bytes(8 if magic == 0xA1B2CD34 else 0)
    path = tmp_path / "asked.pcap"
    path.write_bytes(struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1) + (record + frame) * 2)
    assert [each.data for each in read_capture(path)] == [ASKED, ASKED]


def block(order: str, kind: int, body: bytes) -> bytes:
    padded = body + bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", 12 + len(padded))
    return struct.pack(f"{order}I", kind) + size + padded + size


@pytest.mark.parametrize("order", "<>")
def test_sections_of_pcapng_with_each_kind_of_packet(tmp_path: Path, order: str) -> None:
    frame = bytes(STACKS["ethernet"])
    section = block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(order, 1, struct.pack(f"{order}HHI", 1, 0, 65535))
    raw = block(order, 1, struct.pack(f"{order}HHI", 101, 0, 0))
    packet = block(order, 6, struct.pack(f"{order}IIIII", 0, 0, 0, len(frame), len(frame)) + frame)
    on_raw = block(order, 6, struct.pack(f"{order}IIIII", 1, 0, 0, len(frame) - 14, len(frame) - 14) + frame[14:])
    simple = block(order, 3, struct.pack(f"{order}I", len(frame)) + frame)
    old = block(order, 2, struct.pack(f"{order}HHIIII", 0, 0, 0, 0, len(frame), len(frame)) + frame)
    names = block(order, 4, b"whatever")
    whole = section + interface + names + raw + packet + on_raw + simple + old
    path = tmp_path / "asked.pcapng"
    path.write_bytes(whole + section + interface + packet)
    assert [(each.number, each.data) for each in read_capture(path)] == [(number, ASKED) for number in range(1, 6)]


def test_a_message_in_fragments_is_put_together(tmp_path: Path) -> None:
    long = UDP(sport=546, dport=547) / Raw(b"\x01" + bytes(4000))
    fragments = fragment6(IPv6(src="fe80::1", dst="ff02::1:2") / IPv6ExtHdrFragment(id=9) / long, 1280)
    assert len(fragments) > 3
    other = IPv6(src="fe80::2", dst="ff02::1:2") / IPv6ExtHdrFragment(id=9, m=1) / Raw(b"\0" * 8)
    shuffled = [Ether() / each for each in (*reversed(fragments), other)]
    (found,) = read_capture(written(tmp_path / "asked", shuffled))
    assert (found.number, found.peer, found.data) == (len(fragments), "fe80::1", b"\x01" + bytes(4000))


def read(path: Path) -> tuple[int, str]:
    """Give how many messages are read, and why no more are."""
    count = 0
    try:
        for _ in read_capture(path):
            count += 1
    except CommandFailed as error:
        return count, str(error)
    return count, ""


def test_a_file_that_ends_in_the_middle_gives_what_is_before(tmp_path: Path) -> None:
    for writer in WRITERS:
        path = written(tmp_path / "asked", [STACKS["ethernet"]] * 2, writer)
        path.write_bytes(path.read_bytes()[:-5])
        assert read(path) == (1, f"{path} is not a capture that can be read: it ends in the middle of a frame.")


def test_a_message_that_was_cut_off_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    frame = bytes(STACKS["ethernet"])
    path = tmp_path / "asked"
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, 1)
    path.write_bytes(head + struct.pack("<IIII", 0, 0, len(frame) - 4, len(frame)) + frame[:-4])
    count, why = read(path)
    assert (count, "packet 1 was cut off" in why) == (0, True)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no capture")
    assert "neither the format of pcap nor that of pcapng" in read(tmp_path / "text")[1]
    assert read(tmp_path / "gone")[1] == f"There is no file {tmp_path}/gone."
    assert "cannot be read: Is a directory" in read(tmp_path)[1]
    path = written(tmp_path / "wireless", [STACKS["ethernet"]])
    path.write_bytes(path.read_bytes()[:20] + struct.pack("<I", 127) + path.read_bytes()[24:])
    assert "frames of link type 127 are not understood" in read(path)[1]


@pytest.mark.parametrize("family", [b"\x1e\0\0\0", b"\0\0\0\x1e", b"\x18\0\0\0", b"\0\0\0\x1c"])
def test_loopback_of_the_bsds(tmp_path: Path, family: bytes) -> None:
    frame = family + bytes(IP6 / TO_SERVERS)
    path = tmp_path / "asked.pcap"
    record = struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 0) + record)
    assert [each.data for each in read_capture(path)] == [ASKED]


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_damage_ends_in_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    writer = data.draw(st.sampled_from(sorted(WRITERS)))
    frames = data.draw(
        st.lists(st.sampled_from(["ethernet", "several", "routing", "a fragment that is all"]), min_size=1)
    )
    whole = bytearray(written(path, [STACKS[each] for each in frames], writer).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    count, why = read(path)
    assert count <= len(frames)
    assert why == "" or why.endswith(".")
