"""The configuration file: read, checked whole, and turned into the settings that the engines use."""
