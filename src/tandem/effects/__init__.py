"""The values that pass between the pure core and the world: events in, effects out, settings beside."""
