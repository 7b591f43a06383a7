"""Text for readers: counts with their nouns, and names that can be printed."""


def plural(n: int, one: str, many: str | None = None) -> str:
    """A count with its noun: ``"1 picture"``, ``"3 pictures"``.

    Args:
        n: the count.
        one: the noun for 1.
        many: the noun for any other count; ``one`` with an s when not given.
    """
    return f"{n} {one if n == 1 else many or f'{one}s'}"


def printable(text: str) -> str:
    r"""The text with ``\udce9`` spelt out for what UTF-8 cannot say.

    Such parts come from file names of Linux that are no UTF-8. In JSON the spelling means the same.
    """
    return text.encode(errors="backslashreplace").decode()
