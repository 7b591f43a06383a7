"""How faithful saved maps are, measured."""
