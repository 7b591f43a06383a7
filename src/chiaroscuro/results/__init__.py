"""Result folders: a picture explained into one, and read back."""
