"""What RFC 8156 demands of every message that the conversations of `tests/pair` show, and what none of them shows."""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pair.conversation import HERE, Conversation, Server
from pair.test_conversations import SCRIPTS
from scripts.runner import run
from tandem.admin.pki import write_certificates
from tandem.config.load import load, parse
from tandem.config.model import Failover
from tandem.config.partners import Tls
from tandem.config.problems import ConfigError
from tandem.effects.effects import Effects, Note, Out, ToPartner
from tandem.effects.now import Moment
from tandem.failover.bindings import accepted, client_update, lease_update
from tandem.failover.handshake import Introduction, Refuse, read_terms, write_terms
from tandem.failover.history import split_position
from tandem.failover.record import FACT_PREFIX, HEARTBEAT_FACT, read_record
from tandem.failover.session import Session
from tandem.failover.states import State
from tandem.lease.lease import TIMED, BindingStatus, Lease, key_of
from tandem.lease.share import Share
from tandem.lease.space import Role, address_owner
from tandem.lease.table import LeaseTable
from tandem.runtime.certificates import tls_context
from tandem.wire import failover_options as fo
from tandem.wire.binding import LeaseUpdate, LeaseVerdict, Update, read_reply, read_update, write_reply, write_update
from tandem.wire.failover import SIZE, FailoverMessage, FailoverType, find, message, read_failover_message
from tandem.wire.failover_options import ClientData, FailoverStatus
from tandem.wire.octets import write_option
from tandem.wire.option import Option, Unknown, read_options, write_options
from tandem.wire.options import Authentication, ClientFqdn, ClientId, IaAddress, IaNa, IaPrefix, Status
from tandem.wire.reader import Reader
from tandem.wire.times import from_wire, to_wire

T = FailoverType
S = FailoverStatus
NOW = 1_800_000_000
ANSWERS = (T.BNDREPLY, T.POOLRESP, T.UPDDONE, T.CONNECTREPLY)
PROMISES_NOTHING = {T.CONNECT, T.CONNECTREPLY, T.CONTACT, T.DISCONNECT}
LONG_ONES = ("8.9.2-auto-partner-down", "8.9.2-auto-after-restart", "stepping-aside-twice")
"""Conversations in which much time passes, and nothing is said that others do not say."""
VSS = 68
VPN = Unknown(VSS, b"\0blue")
"""RFC 6607 3.4: another VPN than the global one."""
CAMPUS = HERE / "campus.toml"
ADDRESS = key_of(int(IPv6Address("2001:db8:1::1")))
PREFIX = key_of(int(IPv6Address("2001:db9::")), 56)


class Said(NamedTuple):
    """A message that a server sent, and where; `waited` says whether it waited for the disk."""

    place: tuple[str, int, int]
    peer: tuple[str, int, int]
    message: FailoverMessage
    waited: bool


class Witness(Conversation):
    """A conversation that keeps all that its servers say, with a number for each of their lives."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Said] = []
        self.notes: list[Note] = []
        self._lives: dict[str, int] = defaultdict(int)

    def answer_to(self, update: bytes) -> tuple[Option, ...]:
        """Give what is answered to a BNDUPD with these options; the partner is one that the script speaks for."""
        before = len(self.said)
        self._puppet_sends(self._servers[self._puppeteer], FailoverMessage(T.BNDUPD, 9, update))
        (reply,) = (each.message for each in self.said[before:] if each.message.type is T.BNDREPLY)
        assert reply.transaction_id == 9
        return split_position(reply)[1].read_options()

    def _do_start(self, name: str) -> None:
        self._lives[name] += 1
        super()._do_start(name)

    def _show(self, server: Server, effects: Effects) -> Iterator[str]:
        self.notes += effects.notes
        self.said += self._sent(server, effects.at_once, waited=False)
        self.said += self._sent(server, effects.then, waited=True)
        yield from super()._show(server, effects)

    def _sent(self, server: Server, out: Out, waited: bool) -> Iterator[Said]:
        for each in out:
            if isinstance(each, ToPartner) and (end := server.ends.get(each.connection)):
                place = (server.name, self._lives[server.name], each.connection)
                peer = (end.name, self._lives[end.name], end.connection)
                yield Said(place, peer, read_failover_message(each.data[SIZE.size :]), waited)


@cache
def witnesses() -> tuple[Witness, ...]:
    """Play the conversations."""
    found = []
    for path in SCRIPTS:
        if path.stem in LONG_ONES:
            continue
        found.append(Witness())
        run(path, found[-1].obey)
    return tuple(found)


def said(*types: FailoverType) -> list[Said]:
    """Give all messages of these types, at least one."""
    found = [each for witness in witnesses() for each in witness.said if each.message.type in (types or T)]
    assert found
    return found


def codes(options: Iterable[Option]) -> Iterator[int]:
    """Give the codes of options, and of those inside them."""
    for each in options:
        yield each.code
        yield from codes(getattr(each, "options", ()))


# -- every message


def test_what_promises_something_waits_for_the_disk() -> None:
    """4.4.1, 6.3, 7.5.2, 8.1: a BNDREPLY and a STATE come behind the commit that they speak of."""
    assert {each.message.type for each in said() if not each.waited} == PROMISES_NOTHING
    # A CONTACT that tells how far the sender's disk is waits too.
    assert {each.message.type for each in said() if each.waited} - {T.CONTACT} == {*T} - PROMISES_NOTHING


def test_each_exchange_has_a_number_of_its_own() -> None:
    """5.4."""
    for witness in witnesses():
        begun = [each for each in witness.said if each.message.type not in ANSWERS]
        numbers = [(each.place, each.message.transaction_id) for each in begun]
        assert len(set(numbers)) == len(numbers)
        assert all(number for _, number in numbers)


def test_a_number_in_use_is_left_out() -> None:
    """5.4: an UPDREQ may be unanswered for so long that the numbers begin anew."""
    now = Moment(0.0, NOW, NOW)
    session = Session(1, "peer", now)
    out: Out = []
    session.request_updates(False, out, now)
    asked = session._last_id
    session._last_id = 0xFFFFFE
    assert [session.send(T.CONTACT, b"", out, now) for _ in range(3)] == [0xFFFFFF, asked + 1, asked + 2]
    session.forget_request()
    session._last_id = 0xFFFFFF
    assert session.send(T.CONTACT, b"", out, now) == asked


def test_neither_authentication_nor_another_vpn_is_spoken_of() -> None:
    """10, 7.4."""
    found = {code for each in said() for code in codes(each.message.read_options())}
    assert not found & {Authentication.code, VSS}
    assert fo.Binding.code in found  # it looks inside


# -- connections


def test_a_connect_says_all() -> None:
    """6.1.1, 6.1.2, 6.6; the name as it is, with no octet behind it (5.5.14)."""
    wanted = {fo.ProtocolVersion, fo.Mclt, fo.KeepaliveTime, fo.MaxUnackedBndupd, fo.Connect}
    for each in said(T.CONNECT):
        options = each.message.read_options()
        assert {type(option) for option in options} >= {*wanted, fo.RelationshipName}
        name = find(options, fo.RelationshipName)
        assert name is not None
        assert write_option(fo.RelationshipName.code, name.name.encode()) in each.message.options
        assert name.name in ("campus", "north", "south")
    for each in said(T.CONNECTREPLY):
        options = each.message.read_options()
        assert {type(option) for option in options} >= wanted or find(options, Status)


@pytest.mark.parametrize("type_", [T.CONNECT, T.CONNECTREPLY])
@pytest.mark.parametrize("flags", [0, 1, 2, 3, None])
def test_prefixes_of_several_lengths_are_refused(type_: FailoverType, flags: int | None) -> None:
    """6.1.2, 6.1.3, 5.5.2: they could not be taken over; without prefixes it makes no difference."""
    (with_prefixes,) = load(CAMPUS, "a").settings.relationships
    without = replace(with_prefixes, pools=tuple(pool for pool in with_prefixes.pools if pool.length == 128))
    terms = read_options(Reader(write_terms(with_prefixes, type_, 3600, Introduction(b"", b"", None))))
    others = [each for each in terms if not isinstance(each, fo.Connect)]
    told = message(type_, 1, [*others, fo.Connect(flags)] if flags is not None else others)
    read_terms(told, without, b"")
    if flags is not None and flags & 1:
        read_terms(told, with_prefixes, b"")
        return
    with pytest.raises(Refuse, match="several lengths") as refused:
        read_terms(told, with_prefixes, b"")
    assert refused.value.code is FailoverStatus.NOT_SUPPORTED


def test_a_state_says_all() -> None:
    """6.3, and 5.5.9: when it went into PARTNER-DOWN only while it is there."""
    for each in said(T.STATE):
        options = each.message.read_options()
        state, start = find(options, fo.ServerState), find(options, fo.StartTimeOfState)
        assert state is not None
        assert find(options, fo.ServerFlagsOption) is not None
        assert start is not None
        assert abs(from_wire(start.time) - NOW) < 30 * 86400
        down = find(options, fo.PartnerDownTime)
        assert (down is not None) is (state.state == State.PARTNER_DOWN)
        assert down is None or abs(from_wire(down.time) - NOW) < 30 * 86400


def test_a_disconnect_says_why() -> None:
    """5.3.10."""
    for each in said(T.DISCONNECT):
        status = find(each.message.read_options(), Status)
        assert status is not None
        assert status.status in (
            S.SERVER_SHUTTING_DOWN,
            S.EXCESSIVE_TIME_SKEW,
            S.NOT_SUPPORTED,
            S.CONFIGURATION_CONFLICT,
        )
        assert len(status.message) > 10


def test_a_relationship_has_a_name_and_space_of_its_own() -> None:
    """6.2."""
    campus = '[server.a]\ninterfaces = ["x"]\naddress = "::1"\n[server.b]\ninterfaces = ["x"]\naddress = "::2"\n'
    campus += '[failover.campus]\nprimary = "a"\nsecondary = "b"\n'
    with pytest.raises(ConfigError, match="not TOML"):
        parse(campus + '[failover.campus]\nprimary = "b"\nsecondary = "a"\n')
    subnet = '[[subnet]]\nprefix = "2001:db8:{}::/64"\nshared-network = "{}"\nfailover = "{}"\n'
    subnet += 'pd-pools = [{{ prefix = "2001:db9::/{}", delegated-length = 56 }}]\n'
    other = '[failover.other]\nprimary = "a"\nsecondary = "b"\n'
    with pytest.raises(ConfigError, match="it overlaps"):
        parse(campus + other + subnet.format(1, "one", "campus", 40) + subnet.format(2, "two", "other", 48))


def test_startup_is_short_but_long_enough_for_a_connection() -> None:
    """8.3.2, step 3: if the file says nothing."""
    assert 5 <= Failover(primary="a", secondary="b").startup <= 10


@pytest.mark.parametrize("server_side", [True, False])
def test_tls_is_of_the_newest_version(tmp_path: Path, server_side: bool) -> None:
    """10, RFC 7525 3.1.1, and both sides are verified."""
    write_certificates(tmp_path, ["a"])
    tls = Tls(str(tmp_path / "ca.crt"), str(tmp_path / "a.crt"), str(tmp_path / "a.key"))
    context = tls_context(tls, server_side)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_losing_the_partner_is_an_alarm() -> None:
    """8.9, 8.11."""
    moves = [note for witness in witnesses() for note in witness.notes if note.event == "failover-state"]
    alarms = [each for each in moves if each.values["was"] == "NORMAL" or each.values["state"].startswith("RESOLUTION")]
    assert {each.level for each in alarms} == {"warning"}
    assert {each.values["state"] for each in alarms} >= {"COMMUNICATIONS-INTERRUPTED", "RESOLUTION-INTERRUPTED"}
    skews = [note for witness in witnesses() for note in witness.notes if note.event == "time-skew"]
    assert {each.level for each in skews} == {"error"}  # 7.5.1


# -- updates


def outer(message: FailoverMessage) -> list[int]:
    """Give the codes of the outermost options that hold leases."""
    return [each.code for each in message.read_options() if isinstance(each, ClientData | IaPrefix)]


def test_each_answer_is_to_an_update_and_of_its_form() -> None:
    """7.4, 7.5.3, 7.6: the same number, and the same one option around it."""
    for witness in witnesses():
        open_: dict[tuple[tuple[str, int, int], int], list[int]] = {}
        for each in witness.said:
            number = each.message.transaction_id
            if each.message.type is T.BNDUPD:
                open_[each.place, number] = outer(each.message)
                assert len(outer(each.message)) == 1
            elif each.message.type is T.BNDREPLY and each.peer[2]:
                assert outer(each.message) == open_.pop((each.peer, number))


def test_an_update_says_what_its_status_asks_for() -> None:
    """7.2: whose it is or was; 7.4: times of an end only where the status has one."""
    seen = set()
    for each in said(T.BNDUPD):
        update = read_update(each.message.options)
        for lease in update.leases:
            status = BindingStatus(lease.status)
            seen.add(status)
            told = (lease.state_expiration_time, lease.partner_lifetime, lease.expiration_time)
            assert all(told[:2]) if status in TIMED else not any(told)
            assert update.duid or status in (BindingStatus.FREE, BindingStatus.FREE_BACKUP)
    assert seen >= {BindingStatus.ACTIVE, BindingStatus.EXPIRED, BindingStatus.RELEASED, BindingStatus.FREE_BACKUP}


def test_an_answer_gives_back_the_time_of_the_end() -> None:
    """7.6: beside status and partner-lifetime."""
    for duid, key in ((b"\0\3\0\1\2\0\0\0\0\7", ADDRESS), (b"", PREFIX)):
        lease = LeaseUpdate(key, 1, 2, 3, 4, 5, BindingStatus.ACTIVE, NOW, NOW + 60, 0, NOW + 90)
        (held,) = read_options(Reader(write_reply(Update(duid, b"", (lease,)), (LeaseVerdict(key),))))
        if isinstance(held, ClientData):
            (ia,) = (each for each in held.options if isinstance(each, IaNa))
            (held,) = ia.options
        assert isinstance(held, IaAddress | IaPrefix)
        assert find(held.options, fo.StateExpirationTime) == fo.StateExpirationTime(to_wire(NOW + 60))
        assert find(held.options, fo.PartnerLifetimeSent) == fo.PartnerLifetimeSent(to_wire(NOW + 90))


def since_2000(utc_s: int) -> bytes:
    """Return the octets of a time by what RFC 8156 5.5 says, and not by what the product makes of it."""
    return int(utc_s - datetime(2000, 1, 1, tzinfo=UTC).timestamp()).to_bytes(4, "big")


TIMES_OF_A_LEASE = {
    fo.ExpirationTime: "expiration_time",  # 5.5.4
    fo.PartnerLifetime: "partner_lifetime",  # 5.5.7
    fo.PartnerRawCltTime: "partner_raw_clt_time",  # 5.5.10
    fo.StartTimeOfState: "start_time_of_state",  # 5.5.17
    fo.StateExpirationTime: "state_expiration_time",  # 5.5.18
}


def test_times_are_seconds_since_2000() -> None:
    """5.5.4 to 5.5.18, and the base time of RFC 7653 6.3.1; read, they are the same times again."""
    names = TIMES_OF_A_LEASE.values()
    lease = LeaseUpdate(ADDRESS, 1, 2, 3, 4, 5, BindingStatus.ACTIVE, NOW)
    times: dict[str, Any] = {name: NOW + 100 * number for number, name in enumerate(names, 1)}
    lease = lease._replace(**times)
    data = write_update(Update(b"client", b"", (lease,)), NOW)
    assert write_option(fo.BaseTime.code, since_2000(NOW)) in data
    for kind, name in TIMES_OF_A_LEASE.items():
        assert write_option(kind.code, since_2000(getattr(lease, name))) in data
    assert read_update(data).leases == (lease,)
    reply = write_reply(Update(b"client", b"", (lease,)), [LeaseVerdict(ADDRESS)])
    assert write_option(fo.PartnerLifetimeSent.code, since_2000(lease.partner_lifetime)) in reply  # 5.5.8
    assert read_reply(reply).verdicts[0].partner_lifetime_sent == lease.partner_lifetime
    for each in said(T.STATE):
        for option in each.message.read_options():
            if isinstance(option, fo.StartTimeOfState | fo.PartnerDownTime):  # 5.5.17, 5.5.9
                assert abs(option.time - int.from_bytes(since_2000(NOW), "big")) < 30 * 86400


def test_reconfigure_data_comes_back_as_it_was_told() -> None:
    """5.5.13: this server makes none, and what it is told keeps its time."""
    of_lease = write_options((fo.ReconfigureData(int.from_bytes(since_2000(NOW), "big"), b"key"),))
    theirs = LeaseUpdate(ADDRESS, 1, 2, 3, 4, 5, BindingStatus.ACTIVE, NOW, NOW + 60, details=of_lease)
    lease = accepted(None, theirs, Update(b"client", b"", (theirs,)), NOW, True)
    assert of_lease in write_update(client_update([lease]), NOW)


def in_step() -> Witness:
    """Give a primary in NORMAL with a partner that the script speaks for."""
    witness = Witness()
    for command in ("given a NORMAL", "says NORMAL"):
        witness.obey(command)
    return witness


TOLD = LeaseUpdate(ADDRESS, 1, 2, 3, 4, 5, BindingStatus.ACTIVE, NOW, NOW + 60, NOW, NOW + 90)
GIVEN = TOLD._replace(key=PREFIX, status=BindingStatus.FREE_BACKUP, client_last_transaction_time=0)
OF_VPN = write_options((VPN,))
NO_VPN = Status(
    FailoverStatus.CONFIGURATION_CONFLICT, "this server serves no VPN but the global one, without OPTION_VSS"
)


def test_an_update_of_another_vpn_is_rejected_as_a_whole() -> None:
    """7.4, 7.6: where it stood, the option is given back; nothing of it is kept."""
    witness = in_step()
    commits = len(witness._servers["a"].leases)
    of_client = write_update(Update(b"client", OF_VPN, (TOLD, TOLD._replace(key=ADDRESS + (2 << 8)))), NOW)
    assert witness.answer_to(of_client) == (ClientData((ClientId(b"client"), VPN, NO_VPN)),)
    of_lease = write_update(Update(b"client", b"", (TOLD._replace(details=OF_VPN),)), NOW)
    assert witness.answer_to(of_lease) == (ClientData((ClientId(b"client"), NO_VPN)),)
    (prefix,) = witness.answer_to(write_update(Update(b"", b"", (GIVEN._replace(details=OF_VPN),)), NOW))
    assert isinstance(prefix, IaPrefix)
    assert (prefix.prefix, prefix.length) == (IPv6Address("2001:db9::").packed, 56)
    assert set(prefix.options) == {
        *(VPN, NO_VPN, fo.Binding(BindingStatus.FREE_BACKUP)),
        fo.StateExpirationTime(to_wire(NOW + 60)),
        fo.PartnerLifetimeSent(to_wire(NOW + 90)),
    }
    assert len(witness._servers["a"].leases) == commits


@pytest.mark.parametrize("status", [each for each in BindingStatus if each is not BindingStatus.PENDING_FREE])
def test_an_active_prefix_that_is_nobodys_is_rejected(status: BindingStatus) -> None:
    """7.2: client identification MUST appear; of other statuses it need not."""
    witness = in_step()
    (prefix,) = witness.answer_to(write_update(Update(b"", b"", (GIVEN._replace(status=status),)), NOW))
    assert isinstance(prefix, IaPrefix)
    found = find(prefix.options, Status)
    assert (found.status if found else 0) == (S.MISSING_BINDING_INFORMATION if status == BindingStatus.ACTIVE else 0)
    assert (PREFIX in witness._servers["a"].leases) is (status is not BindingStatus.ACTIVE)


@pytest.mark.parametrize("ahead_s", [-4, 0, 4, 4000])
def test_when_the_partner_heard_the_client_is_kept_as_it_was_told(ahead_s: int) -> None:
    """7.3, however wrong its clock is."""
    theirs = LeaseUpdate(ADDRESS, 1, 2, 3, 4, 5, BindingStatus.ACTIVE, NOW, NOW + 60, NOW + ahead_s, NOW + 90)
    after = accepted(None, theirs, Update(b"client", b"", (theirs,)), NOW, True)
    assert after.partner_raw_clt_time == NOW + ahead_s
    assert lease_update(after).partner_raw_clt_time == NOW + ahead_s


def updates_of(witness: Witness) -> list[FailoverMessage]:
    """Return the BNDUPDs that were sent."""
    return [each.message for each in witness.said if each.message.type is T.BNDUPD]


@pytest.mark.parametrize("more_s", [-600, 0, 1, 86_400])
def test_no_more_is_acknowledged_than_was_sent(more_s: int) -> None:
    """4.4: whatever the partner gives back, a lease may not be promised beyond what it was told."""
    witness = in_step()
    witness.obey("c1 request na=1 server=a")
    (told,) = updates_of(witness)
    (sent,) = read_update(told.options).leases
    given_back = Update(b"c1", b"", (sent._replace(partner_lifetime=sent.partner_lifetime + more_s),))
    witness._puppet_answers(told, write_reply(given_back, [LeaseVerdict(sent.key)]))
    table = witness._servers["a"].table
    assert table is not None
    lease = table.get(sent.key)
    assert lease is not None
    assert lease.acked_partner_lifetime == sent.partner_lifetime + min(more_s, 0)


@pytest.mark.parametrize("command", ["release na=1 server=a", "decline na=1 server=a", "renew na=1 server=a"])
def test_the_last_transaction_is_when_the_client_was_heard(command: str) -> None:
    """7.4, whatever it said."""
    witness = in_step()
    witness.obey("c1 request na=1 server=a")
    witness.obey("accepts")
    witness.obey("tick 5s")
    witness.obey(f"c1 {command}")
    first, second = (read_update(each.options).leases[0] for each in updates_of(witness))
    assert second.client_last_transaction_time == first.client_last_transaction_time + 5


def test_the_clients_name_is_told() -> None:
    """9.5."""
    witness = Witness()
    for command in ("given a NORMAL", "says NORMAL", "c1 request na=1 server=a fqdn=laptop.example.net."):
        witness.obey(command)
    (update,) = updates_of(witness)
    assert write_options((ClientFqdn(1, "laptop.example.net."),)) in update.options


@pytest.mark.parametrize(
    ("since_s", "is_acknowledged"), [(-50, False), (50, False), (50, True)], ids=["older", "newer", "acknowledged"]
)
def test_free_is_rejected_for_what_the_secondary_has_given_to_a_client(since_s: int, is_acknowledged: bool) -> None:
    """4.2.2, whether the primary decided to take it back before the client was given something in it, or after."""
    witness = Witness()
    for command in ("given b NORMAL", "says NORMAL"):
        witness.obey(command)
    large = key_of(int(IPv6Address("2001:db9:8000::")), 33)
    given = LeaseUpdate(large, 0, 0, 0, 0, 0, BindingStatus.FREE_BACKUP, NOW - 100)
    witness.answer_to(write_update(Update(b"", b"", (given,)), NOW))
    witness.obey("c1 request pd=1 server=b")
    (lease,) = read_update(updates_of(witness)[0].options).leases
    assert large >> 8 <= lease.key >> 8
    if is_acknowledged:
        witness.obey("accepts")
    taken_back = given._replace(status=BindingStatus.FREE, start_time_of_state=lease.start_time_of_state + since_s)
    (prefix,) = witness.answer_to(write_update(Update(b"", b"", (taken_back,)), NOW))
    assert isinstance(prefix, IaPrefix)
    status = find(prefix.options, Status)
    assert status is not None
    assert status.status == S.OUTDATED_BINDING_INFORMATION


# -- recovering


@pytest.mark.parametrize("last_heard_utc", [NOW - 200, 0], ids=["known", "unknown"])
def test_recover_wait_lasts_for_the_mclt(last_heard_utc: int) -> None:
    """8.6.2: from when this server last served, or from now on if that is not known."""
    witness = Witness()
    witness.obey("given a RECOVER")
    server = witness._servers["a"]
    server.facts[HEARTBEAT_FACT] = b"%d" % last_heard_utc
    witness.obey("start a")
    witness.obey("tick 6s")
    for command in ("connect", "says NORMAL communicated", "says UPDDONE"):
        witness.obey(command)
    record = read_record(server.facts[FACT_PREFIX + "campus"])
    assert record.state is State.RECOVER_WAIT
    assert record.wait_until == (last_heard_utc or record.start_time_of_state) + record.mclt_s
    left_s = record.wait_until - witness._now(server).utc
    witness.obey(f"tick {left_s - 1}s")
    assert witness.obey("states").startswith("a: RECOVER-WAIT")
    witness.obey("tick 2s")
    assert not witness.obey("states").startswith("a: RECOVER-WAIT")


# -- alone


@pytest.mark.parametrize("status", [BindingStatus.EXPIRED, BindingStatus.RELEASED, BindingStatus.RESET])
@pytest.mark.parametrize("unsent_since", [None, NOW - 1, NOW, NOW + 1])
@pytest.mark.parametrize("alone_since", [None, NOW])
def test_an_address_of_the_partner_that_is_over_is_for_its_last_client_only(
    status: BindingStatus, unsent_since: int | None, alone_since: int | None
) -> None:
    """4.2.1, 8.8.1: and for that one as long as the partner cannot have heard of the end."""
    lease = Lease(ADDRESS, status, b"one", 1, NOW, NOW - 900, NOW, 3, 4, 1, 2, b"")
    later = NOW + 10 * 86_400
    share = Share(address_owner(ADDRESS).partner, LeaseTable(), 3600, unsent_since, alone_since)
    assert not share.may_give(ADDRESS, lease, False, later)
    is_untold = unsent_since is not None and unsent_since < NOW
    assert share.may_give(ADDRESS, lease, True, later) is is_untold


TIMES = ("state_expiration_time", "partner_lifetime", "acked_partner_lifetime", "expiration_time")


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("later_s", [-500, 0, 500])
def test_another_client_waits_for_the_mclt_after_all_that_was_promised(name: str, later_s: int) -> None:
    """8.4.1, 4.2.2.1: and after PARTNER-DOWN began."""
    share = Share(Role.PRIMARY, LeaseTable(), 3600, NOW - 10, NOW)
    for status in (BindingStatus.EXPIRED, BindingStatus.RELEASED, BindingStatus.RESET):
        lease = Lease(PREFIX, status, b"one", 1, NOW - 900, NOW - 900, NOW - 900, 3, 4, 1, 2, b"")
        lease = Lease(**{**lease._asdict(), name: NOW + later_s})
        allowed = max(NOW, NOW + later_s) + 3600
        assert not share.may_give(PREFIX, lease, False, allowed - 1)
        assert share.may_give(PREFIX, lease, False, allowed)
