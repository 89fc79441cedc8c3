-- Teaches tshark the framing of DHCPv6 failover, which it does not know (RFC 8156 section 5): a size in front of each
-- message, and a sent-time behind the transaction-id. All else is left to its own DHCPv6 dissector.
local failover = Proto("dhcpv6_failover", "DHCPv6 Failover")
local message_type = ProtoField.uint8("dhcpv6_failover.type", "Message type")
local sent_time = ProtoField.uint32("dhcpv6_failover.sent_time", "Sent-time")
local misfit = ProtoField.bool("dhcpv6_failover.misfit", "The options do not fill the message")
failover.fields = { message_type, sent_time, misfit }
local dhcpv6 = Dissector.get("dhcpv6")

local function size_of(buffer, _, offset)
    return 2 + buffer(offset, 2):uint()
end

-- tshark's own dissector passes over an option that is longer than what is left.
local function fills(buffer, at)
    while at + 4 <= buffer:len() do
        at = at + 4 + buffer(at + 2, 2):uint()
    end
    return at == buffer:len()
end

local function dissect_message(buffer, packet, tree)
    local branch = tree:add(failover, buffer())
    branch:add(message_type, buffer(2, 1))
    branch:add(sent_time, buffer(6, 4))
    if not fills(buffer, 10) then
        branch:add(misfit, true)
    end
    local plain = buffer(2, 4):bytes()
    if buffer:len() > 10 then
        plain:append(buffer(10):bytes())
    end
    dhcpv6:call(plain:tvb("without sent-time"), packet, tree)
    return buffer:len()
end

function failover.dissector(buffer, packet, tree)
    dissect_tcp_pdus(buffer, tree, 2, size_of, dissect_message)
    return buffer:len()
end

DissectorTable.get("tcp.port"):set(647, failover)
