"""Bytes to values and back: messages, options, names. Pure; knows no lease and no clock."""
