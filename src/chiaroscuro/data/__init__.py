"""Pictures in, and the sample paintings."""
