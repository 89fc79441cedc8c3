"""Which client messages a server must discard: RFC 9915 section 16, a row for each message type."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from tandem.wire.message import MessageType
from tandem.wire.received import ClientMessage


class Presence(Enum):
    """What a row says of an option."""

    REQUIRED = "required"
    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    OURS = "required, and ours"
    OURS_IF_ANY = "ours, if there is one"


class Row(NamedTuple):
    """What a message type says of the Client Identifier, the Server Identifier and identity associations."""

    client_id: Presence
    server_id: Presence
    ias: Presence = Presence.ALLOWED


ROWS: Final[dict[int, Row]] = {
    MessageType.SOLICIT: Row(Presence.REQUIRED, Presence.FORBIDDEN),  # 16.2
    MessageType.REQUEST: Row(Presence.REQUIRED, Presence.OURS),  # 16.4
    MessageType.CONFIRM: Row(Presence.REQUIRED, Presence.FORBIDDEN),  # 16.5
    MessageType.RENEW: Row(Presence.REQUIRED, Presence.OURS),  # 16.6
    MessageType.REBIND: Row(Presence.REQUIRED, Presence.FORBIDDEN),  # 16.7
    MessageType.DECLINE: Row(Presence.REQUIRED, Presence.OURS),  # 16.8
    MessageType.RELEASE: Row(Presence.REQUIRED, Presence.OURS),  # 16.9
    MessageType.INFORMATION_REQUEST: Row(  # 16.12
        Presence.ALLOWED, Presence.OURS_IF_ANY, Presence.FORBIDDEN
    ),
}
"""Every message type that a server answers. All others are discarded (16, 16.3, 16.10, 16.11, 16.14)."""


def reason_to_discard(message: ClientMessage, server_duid: bytes) -> str | None:
    """Name the rule that the message breaks, None if it breaks none."""
    row = ROWS.get(message.type)
    if row is None:
        return "message-type"
    if row.client_id is Presence.REQUIRED and not message.client_id:
        return "no-client-id"
    if message.server_id:
        if row.server_id is Presence.FORBIDDEN:
            return "server-id-present"
        if message.server_id != server_duid:
            return "other-server"
    elif row.server_id is Presence.OURS:
        return "no-server-id"
    if row.ias is Presence.FORBIDDEN and message.ias:
        return "ia-present"
    return None
