"""Configurations and leases of other servers, read and written anew as ours, with a report of every setting."""
