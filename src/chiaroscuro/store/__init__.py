"""Files that others can open, whole or absent, and what stands in them."""
