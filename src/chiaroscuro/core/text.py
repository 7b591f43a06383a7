"""Words for numbers."""


def plural(n: int, one: str, many: str | None = None) -> str:
    """A count with its noun: ``"1 picture"``, ``"3 pictures"``.

    Args:
        n: the count.
        one: the noun for 1.
        many: the noun for any other count; ``one`` with an s when not given.
    """
    return f"{n} {one if n == 1 else many or f'{one}s'}"
