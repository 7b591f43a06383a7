"""What a detector reports under random masks, and the maps that follow from it."""
