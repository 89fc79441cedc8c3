"""Where changes become durable. A store is a few verbs; all reading of leases is done from memory."""
