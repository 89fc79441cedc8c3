"""The `[class.NAME]` tables: conditions as the file writes them, and as the server tests them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from tandem.config.lifetimes import Lifetimes
from tandem.config.options import OptionNames, Options
from tandem.config.table import Table
from tandem.config.values import Hex, Octets, OneOrMore, Prefix
from tandem.effects import conditions
from tandem.effects.conditions import Comparison, Condition, Subject, Where
from tandem.server.validate import ROWS
from tandem.wire.message import MessageType

MESSAGE_TYPES: Mapping[str, MessageType] = {
    each.name.lower().replace("_", "-"): each for each in map(MessageType, ROWS)
}
"""The messages of clients that a server answers, by the names that the file has for them."""
NEXT_TO_CLIENT = 1
"""Which relay is meant unless one is said."""


def _or_what_it_is(value: object) -> object:
    """Read `"text"`, or a list of texts, as `{ is = ... }`."""
    return value if isinstance(value, dict | Table) else {"is": value}


class Match(Table):
    """How octets are to be: one comparison of all or a part of them. Without one, they only have to be there."""

    is_: Annotated[list[Octets], OneOrMore] | None = Field(default=None, alias="is")
    starts_with: Annotated[list[Octets], OneOrMore] | None = None
    ends_with: Annotated[list[Octets], OneOrMore] | None = None
    contains: Annotated[list[Octets], OneOrMore] | None = None
    from_: int = Field(default=0, alias="from", ge=-65535, le=65535)
    length: int | None = Field(default=None, ge=1, le=65535)

    @model_validator(mode="after")
    def _one_comparison(self) -> Match:
        if sum(values is not None for values in self._comparisons().values()) > 1:
            raise ValueError("give one of is, starts-with, ends-with and contains")
        return self

    def _comparisons(self) -> Mapping[Comparison, list[bytes] | None]:
        return {
            Comparison.IS: self.is_,
            Comparison.STARTS_WITH: self.starts_with,
            Comparison.ENDS_WITH: self.ends_with,
            Comparison.CONTAINS: self.contains,
        }

    def condition(self, subject: Subject) -> Condition:
        """Give the condition that the subject is like this."""
        for comparison, values in self._comparisons().items():
            if values is not None:
                return conditions.Matches(subject, comparison, tuple(values), self.from_, self.length)
        return conditions.Exists(subject)


class IdentifierMatch(Match):
    """The same for what is no text: octets in hexadecimal."""

    is_: Annotated[list[Hex], OneOrMore] | None = Field(default=None, alias="is")
    starts_with: Annotated[list[Hex], OneOrMore] | None = None
    ends_with: Annotated[list[Hex], OneOrMore] | None = None
    contains: Annotated[list[Hex], OneOrMore] | None = None


class OptionMatch(Match):
    """An option of the client's message, by its code."""

    code: int = Field(ge=1, le=65535)


class RelayOptionMatch(OptionMatch):
    """An option of a relay: 1 is the relay next to the client, -1 the one next to the server."""

    relay: int = Field(default=NEXT_TO_CLIENT, ge=-32, le=32)


class VendorMatch(Match):
    """Class data of one vendor, or of any."""

    enterprise: int | None = Field(default=None, ge=0, le=0xFFFFFFFF)


class VendorOptionMatch(VendorMatch):
    """A suboption of a vendor; without a code, its whole option."""

    code: int | None = Field(default=None, ge=0, le=65535)


def _matcher(description: str) -> tuple[BeforeValidator, WithJsonSchema]:
    schema = {"type": ["string", "array", "object"], "description": description}
    return BeforeValidator(_or_what_it_is), WithJsonSchema(schema)


class When(Table):
    """A condition: all that is said here must hold; what is not said is not looked at."""

    every: list[When] | None = Field(default=None, alias="all")
    either: list[When] | None = Field(default=None, alias="any")
    negated: When | None = Field(default=None, alias="not")
    class_: str | None = Field(default=None, alias="class")
    reserved: bool | None = None
    duid: Annotated[IdentifierMatch, *_matcher("the DUID")] | None = None
    link_layer: Annotated[IdentifierMatch, *_matcher("the link-layer address")] | None = None
    user_class: Annotated[Match, *_matcher("one of the user classes")] | None = None
    vendor_class: Annotated[VendorMatch, *_matcher("one of the vendor classes")] | None = None
    vendor_option: VendorOptionMatch | None = None
    option: OptionMatch | None = None
    relay_option: RelayOptionMatch | None = None
    interface_id: Annotated[Match, *_matcher("what the relay next to the client calls its interface")] | None = None
    remote_id: Annotated[Match, *_matcher("the relay's remote-id, with its enterprise number")] | None = None
    subscriber_id: Annotated[Match, *_matcher("the relay's subscriber-id")] | None = None
    link_address: Annotated[list[Prefix], OneOrMore] | None = None
    peer_address: Annotated[list[Prefix], OneOrMore] | None = None
    relay: int = Field(default=NEXT_TO_CLIENT, ge=-32, le=32)
    message: Annotated[list[str], OneOrMore] | None = None
    interface: Annotated[list[str], OneOrMore] | None = None

    @field_validator("message")
    @classmethod
    def _message_types(cls, value: list[str] | None) -> list[str] | None:
        for each in value or ():
            if each not in MESSAGE_TYPES:
                raise ValueError(f"{each!r} is no message of clients; there are {', '.join(MESSAGE_TYPES)}")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> When:
        if not self.model_fields_set:
            raise ValueError("it is empty; say what is to hold, or all = [] for what always does")
        return self

    def condition(self, local_names: Mapping[str, str]) -> Condition:
        """Give the condition as the server tests it; `local_names` are those that this machine has for interfaces."""
        parts = tuple(self._parts(local_names))
        return parts[0] if len(parts) == 1 else conditions.Every(parts)

    def whole(self) -> Iterator[When]:
        """Give the condition, and all those inside of it."""
        yield self
        for each in (*(self.every or ()), *(self.either or ()), *((self.negated,) if self.negated else ())):
            yield from each.whole()

    def _parts(self, local_names: Mapping[str, str]) -> Iterator[Condition]:
        if self.every is not None:
            yield conditions.Every(tuple(each.condition(local_names) for each in self.every))
        if self.either is not None:
            yield conditions.Either(tuple(each.condition(local_names) for each in self.either))
        if self.negated is not None:
            yield conditions.Not(self.negated.condition(local_names))
        if self.interface is not None:
            yield conditions.HeardOn(frozenset(local_names.get(each, "") for each in self.interface))
        if self.class_ is not None:
            yield conditions.InClass(self.class_)
        if self.reserved is not None:
            yield conditions.IsReserved() if self.reserved else conditions.Not(conditions.IsReserved())
        for is_peer, prefixes in ((False, self.link_address), (True, self.peer_address)):
            if prefixes is not None:
                intervals = tuple((int(each[0]), int(each[-1])) for each in prefixes)
                yield conditions.AddressIn(is_peer, self.relay, intervals)
        if self.message is not None:
            yield conditions.MessageIs(frozenset(MESSAGE_TYPES[each] for each in self.message))
        yield from (match.condition(subject) for match, subject in self._matches() if match is not None)

    def _matches(self) -> Iterator[tuple[Match | None, Subject]]:
        yield self.duid, Subject(Where.DUID)
        yield self.link_layer, Subject(Where.LINK_LAYER)
        yield self.user_class, Subject(Where.USER_CLASS)
        for code, match in RELAY_IDS.items():
            yield getattr(self, match), Subject(Where.RELAY_OPTION, code, relay=self.relay)
        if self.vendor_class is not None:
            yield self.vendor_class, Subject(Where.VENDOR_CLASS, enterprise=self.vendor_class.enterprise)
        if self.vendor_option is not None:
            of_vendor = Subject(Where.VENDOR_OPTION, self.vendor_option.code, self.vendor_option.enterprise)
            yield self.vendor_option, of_vendor
        if self.option is not None:
            yield self.option, Subject(Where.OPTION, self.option.code)
        if self.relay_option is not None:
            of_relay = Subject(Where.RELAY_OPTION, self.relay_option.code, relay=self.relay_option.relay)
            yield self.relay_option, of_relay


RELAY_IDS = {18: "interface_id", 37: "remote_id", 38: "subscriber_id"}
"""The options by which relays tell clients apart (RFC 9915 21.18, RFC 4649, RFC 4580), and the keys they have."""


class ClientClass(Table):
    """Clients that have something in common."""

    when: When | None = None
    options: Options = Options()
    always_send: OptionNames = []
    lifetimes: Lifetimes = Lifetimes()
    drop: bool = False
