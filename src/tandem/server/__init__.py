"""The engine that serves clients. Pure; it never asks about failover, but is told by `Rules`."""
