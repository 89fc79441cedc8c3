"""The engine for partners, pure: RFC 8156."""
