"""One file per framework; only the registry knows them, by name."""
