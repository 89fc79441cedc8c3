"""The shape of the configuration file. The JSON Schema that `tandem schema` prints is made from it."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Annotated, Any, NamedTuple

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from tandem.config.classes import ClientClass
from tandem.config.definitions import OptionDefinition
from tandem.config.lifetimes import Lifetimes
from tandem.config.options import NOT_TO_BE_SUPPLIED, OptionNames, Options
from tandem.config.table import Table
from tandem.config.values import (
    Address,
    AddressRange,
    CertificateId,
    Duid,
    Duration,
    Hex,
    Hostname,
    Octets,
    OneOrMore,
    PartnerAddress,
    Prefix,
    read_address,
)
from tandem.lease.lease import key_of
from tandem.wire.received import IAS_MAX

DAY_S = 86400
SERVER_PORT = 547
Classes = Annotated[list[str], OneOrMore]
"""Names of classes, of which one is enough."""


class Server(Table):
    """One of the servers that run this file."""

    interfaces: list[str] | dict[str, str] = []
    listen: list[str] = []
    address: PartnerAddress | None = None
    state_dir: str = "/var/lib/tandem"
    control: str | None = None
    duid: Duid | None = None
    store: str = "sqlite"
    preference: int = Field(default=0, ge=0, le=255)

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: list[str]) -> list[str]:
        for each in value:
            read_endpoint(each)
        return value

    @field_validator("store")
    @classmethod
    def _store(cls, value: str) -> str:
        if value != "sqlite":
            raise ValueError(f'there is no store {value!r}; there is "sqlite"')
        return value


class Tls(Table):
    """What proves to the partner who this server is. `{state-dir}` and `{server}` stand for each server's own."""

    ca: str = "{state-dir}/ca.crt"
    certificate: str = "{state-dir}/{server}.crt"
    key: str = "{state-dir}/{server}.key"
    revoked: list[CertificateId] = []


class Failover(Table):
    """A failover relationship (RFC 8156)."""

    primary: str
    secondary: str
    mclt: Annotated[Duration, Field(ge=30)] = 3600
    keepalive: Annotated[Duration, Field(ge=1)] = 10
    port: int = Field(default=647, ge=1, le=65535)
    auto_partner_down: Duration | None = None
    startup: Duration = 5
    start_alone: bool = False
    secondary_share: int = Field(default=50, ge=0, le=100)
    tls: Tls | None = None
    security: str = Field(default="tls", pattern="^(tls|insecure)$")


class Pool(Table):
    """A pool of addresses with options of its own."""

    range: AddressRange
    classes: Classes = []
    options: Options = Options()
    always_send: OptionNames = []

    @model_validator(mode="before")
    @classmethod
    def _range_alone(cls, value: Any) -> Any:
        return {"range": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say that a text, the range alone, does as well."""
        return {"anyOf": [{"type": "string", "description": "a prefix, or first-last"}, handler(schema)]}


class PdPool(Table):
    """A prefix that prefixes are delegated from. `exclude` is relative to each of them (RFC 6603)."""

    prefix: Prefix
    delegated_length: int = Field(ge=1, le=127)
    exclude: Prefix | None = None
    classes: Classes = []
    options: Options = Options()
    always_send: OptionNames = []

    @model_validator(mode="after")
    def _lengths(self) -> PdPool:
        if self.delegated_length < self.prefix.prefixlen:
            raise ValueError(f"a prefix of length {self.delegated_length} does not fit into {self.prefix}")
        if self.exclude and self.exclude.prefixlen <= self.delegated_length:
            raise ValueError(f"exclude must be longer than the delegated length {self.delegated_length}")
        return self


class Reservation(Table):
    """Leases and options for one client, named by its DUID or its link-layer address."""

    duid: Duid | None = None
    link_layer: Hex | None = None
    address: Annotated[list[Address], OneOrMore] = []
    prefix: Annotated[list[Prefix], OneOrMore] = []
    exclude: Prefix | None = None
    hostname: Hostname | None = None
    classes: Classes = []
    options: Options = Options()
    always_send: OptionNames = []

    @model_validator(mode="after")
    def _one_name(self) -> Reservation:
        if (self.duid is None) == (self.link_layer is None):
            raise ValueError("give either duid or link-layer")
        return self

    def row(self) -> ReservationRow:
        """Give the same as a tuple."""
        return ReservationRow(
            duid=self.duid,
            link_layer=self.link_layer,
            addresses=tuple(map(int, self.address)),
            prefixes=tuple(key_of(int(prefix[0]), prefix.prefixlen) for prefix in self.prefix),
            hostname=self.hostname,
            exclude=self.exclude,
            classes=tuple(self.classes),
            options=self.options if "options" in self.model_fields_set else None,
            always_send=tuple(self.always_send),
        )


class ReservationRow(NamedTuple):
    """A reservation that was read. A file may have a million of them, and most have an address only."""

    duid: bytes | None
    link_layer: bytes | None
    addresses: tuple[int, ...]
    prefixes: tuple[int, ...]
    """As keys of leases."""
    hostname: str | None = None
    exclude: IPv6Network | None = None
    classes: tuple[str, ...] = ()
    options: Options | None = None
    always_send: tuple[str, ...] = ()

    @property
    def client(self) -> tuple[bytes | None, bytes | None]:
        """What names the client."""
        return self.duid, self.link_layer

    @property
    def keys(self) -> tuple[int, ...]:
        """The keys of the leases that are reserved."""
        if not self.prefixes and len(self.addresses) == 1:  # most of them, of which there may be a million
            return (key_of(self.addresses[0]),)
        return (*map(key_of, self.addresses), *self.prefixes)


class Reservations(list[ReservationRow | None]):
    """The reservations of a subnet; None stands for one that cannot be read."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take reservations that were read before, or read them as the tables that they are."""
        return core_schema.no_info_wrap_validator_function(cls._take, handler.generate_schema(list[Reservation]))

    @classmethod
    def _take(cls, value: object, read: Callable[[object], list[Reservation]]) -> Reservations:
        return value if isinstance(value, cls) else cls(each.row() for each in read(value))


Count = Annotated[int, Field(ge=0)]


class Limits(Table):
    """How much clients of a link may take; 0 is no limit. What a subnet does not say is as it is for the whole file."""

    leases_per_client: Annotated[int, Field(ge=1, le=IAS_MAX)] | None = None
    leases_per_link: Count | None = None
    leases_per_relay: Count | None = None
    leases_per_remote_id: Count | None = None
    offers_per_relay: Count | None = None
    offers_per_remote_id: Count | None = None
    declines_per_client: Count | None = None
    declines_per_link: Count | None = None
    declines_per_relay: Count | None = None
    declines_per_remote_id: Count | None = None
    messages_per_client: Count | None = None
    messages_per_remote_id: Count | None = None
    messages_per_relay: Count | None = None


class Subnet(Table):
    """A subnet: who is on it, and what there is for them."""

    prefix: Prefix
    interface: str | None = None
    relay: Annotated[list[Address], OneOrMore] = []
    interface_id: Annotated[list[Octets], OneOrMore] = []
    relays: Annotated[list[Prefix], OneOrMore] = []
    shared_network: str | None = None
    failover: str | None = None
    server: str | None = None
    rapid_commit: bool | None = None
    classes: Classes = []
    lifetimes: Lifetimes = Lifetimes()
    limits: Limits = Limits()
    options: Options = Options()
    always_send: OptionNames = []
    pools: list[Pool] = []
    pd_pools: list[PdPool] = []
    reservation: Reservations = Reservations()


class Log(Table):
    """What is logged, and how: text on a terminal and JSON elsewhere, unless `format` says."""

    level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    format: str | None = Field(default=None, pattern="^(text|json)$")


def read_web_endpoint(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """Read `[::1]:8547` or `127.0.0.1:8547`."""
    host, colon, port = text.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
        number = int(port)
    except ValueError:
        raise ValueError(f"{text!r} is not an address with a port, such as [::1]:8547") from None
    if not colon or not 0 < number < 65536:
        raise ValueError(f"{text!r} has a port that does not exist")
    return address, number


class Web(Table):
    """`tandem web`: the page, the HTTP API and the metrics."""

    listen: str = "[::1]:8547"
    names: list[str] = []
    tokens: str = "/etc/tandem/tokens"
    certificate: str | None = None
    key: str | None = None
    client_ca: str | None = None
    operators: list[str] = []
    revoked: list[CertificateId] = []

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        read_web_endpoint(value)
        return value

    @model_validator(mode="after")
    def _never_plain_outside(self) -> Web:
        host, _ = read_web_endpoint(self.listen)
        if (self.certificate is None) != (self.key is None):
            raise ValueError("give both certificate and key, or neither")
        if self.certificate is None and not host.is_loopback:
            raise ValueError(f"{host} is not loopback: give certificate and key, so that nobody listens in")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client-ca is of use only with certificate and key")
        if (self.operators or self.revoked) and self.client_ca is None:
            raise ValueError("operators and revoked are about clients' certificates: give client-ca, or remove them")
        return self

    @property
    def endpoint(self) -> tuple[str, int, bool]:
        """Give the address and port to listen on, and whether only this machine reaches it."""
        host, port = read_web_endpoint(self.listen)
        return str(host), port, host.is_loopback


class File(Table):
    """The whole file."""

    server: dict[str, Server] = Field(min_length=1)
    lifetimes: Lifetimes = Lifetimes()
    limits: Limits = Limits()
    options: Options = Options()
    always_send: OptionNames = []
    option_definition: dict[str, OptionDefinition] = {}
    class_: dict[str, ClientClass] = Field(default={}, alias="class")
    failover: dict[str, Failover] = {}
    subnet: list[Subnet] = []
    log: Log = Log()
    web: Web = Web()
    rapid_commit: bool = False
    decline_time: Duration = DAY_S
    reuse_grace: Duration = 10
    relay_supplied_options: list[int] = [65]
    link_layer_from_duid: bool = False
    ip_reservations_unique: bool = True

    @field_validator("relay_supplied_options")
    @classmethod
    def _relay_supplied_options(cls, value: list[int]) -> list[int]:
        for code in value:
            if not 0 < code <= 0xFFFF or code in NOT_TO_BE_SUPPLIED:
                raise ValueError(f"option {code} is not one for relays to supply; take it out")
        return value


def read_endpoint(text: str) -> tuple[str, int]:
    """Read `[::1]:10547`, or an address alone for port 547."""
    host, bracket, rest = text.removeprefix("[").partition("]")
    if not text.startswith("["):
        return str(read_address(text)), SERVER_PORT
    if not bracket or (rest and not rest[1:].isdecimal()) or (rest and rest[0] != ":"):
        raise ValueError(f"{text!r} is not an address with a port, such as [::1]:10547")
    port = int(rest[1:]) if rest else SERVER_PORT
    if not 0 < port < 65536:
        raise ValueError(f"{text!r} has a port that does not exist")
    return str(read_address(host)), port
