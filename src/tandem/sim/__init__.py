"""The simulated world: clients and relays made of the product's own parts."""
