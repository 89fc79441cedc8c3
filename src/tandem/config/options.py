"""The `[options]` table: DHCP options by name, or any by its number, encoded as they will be sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import IPv6Address
from typing import Annotated, Any, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tandem.config.definitions import OptionDefinition
from tandem.config.table import Table, kebab
from tandem.config.values import Address, Domain, Duration, Hex, HexOrEmpty, read_address, read_domain
from tandem.effects.options import OptionSet
from tandem.wire.octets import write_option
from tandem.wire.option import write_options
from tandem.wire.options import (
    AftrName,
    BootFileParameters,
    BootFileUrl,
    CaptivePortal,
    DnsServers,
    DomainSearch,
    InfMaxRt,
    InformationRefreshTime,
    NtpServers,
    PosixTimezone,
    SipNames,
    SipServers,
    SntpServers,
    SolMaxRt,
    TzdbTimezone,
    VendorOptions,
)

NOT_TO_BE_CONFIGURED = frozenset((*range(1, 16), 18, 19, 20, 25, 26, 39, 66, 67, 79, 135))
"""Options with a meaning of their own in an exchange; the server sets them itself, or nobody does."""
NOT_TO_BE_SUPPLIED = NOT_TO_BE_CONFIGURED | {InformationRefreshTime.code, SolMaxRt.code, InfMaxRt.code}
"""And those whose bounds, or whose place, a relay does not keep (RFC 9915 21.23 to 21.25)."""
NTP_ADDRESS = 1  # RFC 5908 4.1
NTP_NAME = 3  # RFC 5908 4.3
MAX_RT = Field(ge=60, le=86400)  # RFC 9915 21.24, 21.25
EMPTY = "it is empty; give it a value, or take it out"


def _not_empty(value: Any) -> Any:
    if value in ([], ""):
        raise ValueError(EMPTY)
    return value


NOT_EMPTY = BeforeValidator(_not_empty)
OptionNames = list[str]
"""Names or numbers of options."""


class _Fault(NamedTuple):
    """What is wrong with one option, in the place of its value: the error is then that of its own line."""

    text: str


class NumberedOption(Table):
    """An option by its number: its content as octets, text or addresses. By a name that the file defines: its value."""

    hex: Hex | None = None
    string: str | None = None
    addresses: list[Address] | None = None
    value: Any = None

    @model_validator(mode="before")
    @classmethod
    def _without_fault(cls, value: Any) -> Any:
        if isinstance(value, _Fault):
            raise ValueError(value.text)
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> NumberedOption:
        if sum(each is not None for each in (self.hex, self.string, self.addresses, self.value)) != 1:
            raise ValueError("give exactly one of hex, string and addresses")
        if self.addresses == []:
            raise ValueError(EMPTY)
        return self

    def body(self, definition: OptionDefinition | None = None) -> bytes:
        """Give the option's content. ValueError if its value is not as it is defined."""
        if self.value is not None and definition is not None:
            return definition.encode(self.value)
        if self.addresses is not None:
            return b"".join(address.packed for address in self.addresses)
        return self.hex if self.hex is not None else (self.string or "").encode()


class VendorSpecific(Table):
    """A Vendor-specific Information option (RFC 9915 21.17): suboptions by number, in hexadecimal.

    Those of `always_send` go to each client of the vendor, asked for or not.
    """

    enterprise: int = Field(ge=0, le=0xFFFFFFFF)
    suboptions: dict[Annotated[int, Field(ge=0, le=0xFFFF)], HexOrEmpty]
    always_send: list[Annotated[int, Field(ge=0, le=0xFFFF)]] = []

    def encoded(self) -> Mapping[int, bytes]:
        """Give the suboptions with their headers, by code."""
        return {code: write_option(code, body) for code, body in self.suboptions.items()}


class Options(BaseModel):
    """What clients are told when they ask for it. The context of validation are the names that the file defines."""

    model_config = ConfigDict(extra="allow", alias_generator=kebab, frozen=True)
    __pydantic_extra__: dict[str, NumberedOption] = Field(init=False)

    dns_servers: Annotated[list[Address], NOT_EMPTY] | None = None
    domain_search: Annotated[list[Domain], NOT_EMPTY] | None = None
    ntp_servers: Annotated[list[str], NOT_EMPTY] | None = None
    sntp_servers: Annotated[list[Address], NOT_EMPTY] | None = None
    sip_servers: Annotated[list[Address], NOT_EMPTY] | None = None
    sip_domains: Annotated[list[Domain], NOT_EMPTY] | None = None
    posix_timezone: Annotated[str, NOT_EMPTY] | None = None
    tzdb_timezone: Annotated[str, NOT_EMPTY] | None = None
    information_refresh_time: Annotated[Duration, Field(ge=600)] | None = None
    bootfile_url: Annotated[str, NOT_EMPTY] | None = None
    bootfile_parameters: Annotated[list[str], NOT_EMPTY] | None = None
    aftr_name: Domain | None = None
    captive_portal: Annotated[str, NOT_EMPTY] | None = None
    sol_max_rt: Annotated[Duration, MAX_RT] | None = None
    inf_max_rt: Annotated[Duration, MAX_RT] | None = None
    vendor_options: Annotated[list[VendorSpecific], NOT_EMPTY] | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say that an option which the file defines has its plain value, too."""
        made = handler.resolve_ref_schema(handler(schema))
        plain = {"type": ["string", "integer", "boolean", "array"], "description": "the value of an option-definition"}
        made["additionalProperties"] = {"anyOf": [made["additionalProperties"], plain]}
        return made

    @field_validator("vendor_options")
    @classmethod
    def _each_vendor_once(cls, value: list[VendorSpecific] | None) -> list[VendorSpecific] | None:
        for vendor, times in Counter(each.enterprise for each in value or ()).items():
            if times > 1:
                raise ValueError(f"vendor {vendor} stands here twice; put its suboptions together")
        return value

    @model_validator(mode="before")
    @classmethod
    def _only_numbers_beside_names(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        names = {kebab(name) for name in cls.model_fields}
        defined: Collection[str] = info.context or ()
        for key in value.keys() - names - set(defined):
            if not key.isdecimal():
                known = ", ".join(sorted({*names, *defined}))
                raise ValueError(f"there is no option {key!r}; write its number, or one of {known}")
        return {key: each if key in names else _as_table(key, each) for key, each in value.items()}

    @model_validator(mode="after")
    def _fits(self) -> Options:
        self._encode_known()
        return self

    def numbered(self) -> Mapping[str, NumberedOption]:
        """Give the options that are written by their number."""
        return {number: each for number, each in self.__pydantic_extra__.items() if number.isdecimal()}

    def defined(self) -> Mapping[str, NumberedOption]:
        """Give the options that have a name which only the file can define."""
        return {name: each for name, each in self.__pydantic_extra__.items() if not name.isdecimal()}

    def encode(self, definitions: Mapping[str, OptionDefinition], always_send: Iterable[str] = ()) -> OptionSet:
        """Give the options with their headers, by code. ValueError if one is not as it is defined.

        `always_send` are names of options that each client is told, in this scope or in a wider one.
        """
        encoded = dict(self._encode_known())
        for name, option in self.defined().items():
            definition = definitions[name]
            encoded[definition.code] = write_option(definition.code, option.body(definition))
        always = (code_of(name, definitions) for name in always_send)
        return OptionSet(
            encoded,
            {each.enterprise: each.encoded() for each in self.vendor_options or ()},
            frozenset(code for code in always if code is not None),
            frozenset((each.enterprise, code) for each in self.vendor_options or () for code in each.always_send),
        )

    def _encode_known(self) -> Mapping[int, bytes]:
        encoded = {}
        for name, (option, made_of) in NAMED.items():
            value = getattr(self, name)
            if value is not None:
                encoded[option.code] = write_options((option(made_of(value)),))
        for vendor in self.vendor_options or ():
            write_option(VendorOptions.code, bytes(4) + b"".join(vendor.encoded().values()))
        for number, numbered in self.numbered().items():
            encoded[int(number)] = write_option(int(number), numbered.body())
        return encoded


def _as_table(key: str, value: Any) -> Any:
    """Give what an option has by its number, or by a name that the file defines, as a table; or what is wrong."""
    if not key.isdecimal():
        return value if isinstance(value, dict | NumberedOption) else {"value": value}
    if not 0 < int(key) <= 0xFFFF or int(key) in NOT_TO_BE_CONFIGURED:
        return _Fault(f"option {key} is not one to configure")
    if int(key) in NAMES:
        return _Fault(f"option {int(key)} has a name: {NAMES[int(key)]}")
    if isinstance(value, NumberedOption):
        return value
    if not isinstance(value, dict) or "value" in value:
        return _Fault(
            f"option {key} has no definition; write {{ hex = ... }}, {{ string = ... }} or {{ addresses = ... }}"
        )
    return value


def code_of(name: str, definitions: Mapping[str, OptionDefinition]) -> int | None:
    """Give the code of an option by its name or its number, None if there is no such option."""
    if name in definitions:
        return definitions[name].code
    by_name = {known: code for code, known in NAMES.items()}
    if name.isdecimal():
        return int(name) if 0 < int(name) <= 0xFFFF and int(name) not in NOT_TO_BE_CONFIGURED else None
    return by_name.get(name)


def _as_it_is(value: Any) -> Any:
    return value


def _packed(addresses: Iterable[IPv6Address]) -> tuple[bytes, ...]:
    return tuple(address.packed for address in addresses)


def _texts(texts: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(each.encode() for each in texts)


def _ntp_servers(servers: Iterable[str]) -> tuple[tuple[int, bytes], ...]:
    return tuple(_ntp_server(each) for each in servers)


def _ntp_server(server: str) -> tuple[int, bytes]:
    """Encode an NTP server, an address or a name (RFC 5908)."""
    try:
        return NTP_ADDRESS, read_address(server).packed
    except ValueError:
        return NTP_NAME, DomainSearch((read_domain(server),)).body()


NAMED: Mapping[str, tuple[type[Any], Callable[[Any], Any]]] = {
    "dns_servers": (DnsServers, _packed),
    "domain_search": (DomainSearch, tuple),
    "ntp_servers": (NtpServers, _ntp_servers),
    "sntp_servers": (SntpServers, _packed),
    "sip_servers": (SipServers, _packed),
    "sip_domains": (SipNames, tuple),
    "posix_timezone": (PosixTimezone, _as_it_is),
    "tzdb_timezone": (TzdbTimezone, _as_it_is),
    "information_refresh_time": (InformationRefreshTime, _as_it_is),
    "bootfile_url": (BootFileUrl, _as_it_is),
    "bootfile_parameters": (BootFileParameters, _texts),
    "aftr_name": (AftrName, _as_it_is),
    "captive_portal": (CaptivePortal, _as_it_is),
    "sol_max_rt": (SolMaxRt, _as_it_is),
    "inf_max_rt": (InfMaxRt, _as_it_is),
}
"""The options of one value, by the field that has it, and what they are made of."""
NAMES = {option.code: kebab(name) for name, (option, _) in NAMED.items()} | {VendorOptions.code: "vendor-options"}
"""The names of the options that have one, by code."""
