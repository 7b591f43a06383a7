"""Where a map becomes colours: colour scales, overlays, plots."""
