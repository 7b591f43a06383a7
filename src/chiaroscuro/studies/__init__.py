"""A whole collection: match, explain, average, compare, in a run folder that loses nothing."""
