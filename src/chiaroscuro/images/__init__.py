"""Pictures in: read, turned upright, resized, hashed."""
