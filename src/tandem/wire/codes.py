"""The codes of options that are looked for by hand, as plain numbers: compiled code has them at once."""

from __future__ import annotations

from typing import Final

from tandem.wire import failover_options as fo
from tandem.wire import options

CLIENT_ID: Final = options.ClientId.code
SERVER_ID: Final = options.ServerId.code
IA_NA: Final = options.IaNa.code
IA_PD: Final = options.IaPd.code
IA_TA: Final = 4
"""RFC 8415 21.5; RFC 9915 removed temporary addresses, so that no class stands for it."""
IA_ADDRESS: Final = options.IaAddress.code
IA_PREFIX: Final = options.IaPrefix.code
OPTION_REQUEST: Final = options.OptionRequest.code
RELAY_MESSAGE: Final = options.RelayMessage.code
STATUS: Final = options.Status.code

CLIENT_DATA: Final = fo.ClientData.code
CLT_TIME: Final = fo.CltTime.code
BASE_TIME: Final = fo.BaseTime.code
BINDING: Final = fo.Binding.code
EXPIRATION_TIME: Final = fo.ExpirationTime.code
PARTNER_LIFETIME: Final = fo.PartnerLifetime.code
PARTNER_LIFETIME_SENT: Final = fo.PartnerLifetimeSent.code
PARTNER_RAW_CLT_TIME: Final = fo.PartnerRawCltTime.code
START_TIME_OF_STATE: Final = fo.StartTimeOfState.code
STATE_EXPIRATION_TIME: Final = fo.StateExpirationTime.code
