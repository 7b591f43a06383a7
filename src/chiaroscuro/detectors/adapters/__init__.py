"""One package or module per framework; only the registry knows them, by name."""
