"""Data sets: pictures, their annotations in several formats, and the sample paintings."""
