"""The real world around a node: sockets, clocks, one writing thread, signals, logs. Boring on purpose."""
