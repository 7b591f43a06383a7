"""What belongs to one visitor: paintings with their evidence; bounded, and dropped when idle."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_SESSIONS, MAX_PICTURES = 32, 3
IDLE_S = 3600.0


@dataclass(slots=True, eq=False)
class Session(Generic[T]):
    """A visitor's things.

    Attributes:
        id: unguessable; the cookie's value.
        desks: by number, the oldest first; at most three, the one unused for longest goes.
        seen: when the visitor last asked for something, in seconds of a steady clock.
    """

    id: str
    desks: "OrderedDict[str, T]" = field(default_factory=OrderedDict)
    seen: float = 0.0

    def add(self, desk: T) -> str:
        """Keep a desk, and return its number."""
        number = secrets.token_urlsafe(9)
        self.desks[number] = desk
        while len(self.desks) > MAX_PICTURES:
            self.desks.popitem(last=False)
        return number

    def desk(self, number: str) -> T | None:
        """The desk of that number, None if it is gone."""
        if number not in self.desks:
            return None
        self.desks.move_to_end(number)
        return self.desks[number]


class Sessions(Generic[T]):
    """All visitors.

    Args:
        ended: called with the number of a session that is dropped.
        clock: seconds of a steady clock.
    """

    def __init__(
        self, ended: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ended, self._clock = ended, clock
        self._sessions: OrderedDict[str, Session[T]] = OrderedDict()

    def of(self, number: str) -> Session[T]:
        """The session of that number; begun if there is none."""
        now = self._clock()
        for old in [n for n, s in self._sessions.items() if now - s.seen > IDLE_S and n != number]:
            self._drop(old)
        session = self._sessions.setdefault(number, Session(number))
        session.seen = now
        self._sessions.move_to_end(number)
        while len(self._sessions) > MAX_SESSIONS:
            self._drop(next(iter(self._sessions)))
        return session

    def _drop(self, number: str) -> None:
        del self._sessions[number]
        self._ended(number)
