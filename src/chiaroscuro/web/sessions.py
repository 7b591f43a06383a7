"""What belongs to one user: paintings with their evidence; bounded, and dropped when idle."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cachetools import LRUCache, TTLCache

from chiaroscuro.web.painting import Painting

MAX_SESSIONS, MAX_PAINTINGS = 32, 3
IDLE_S = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """The workspace of one user.

    Attributes:
        id: unguessable; the cookie's value.
        paintings: by number; at most three, the least recently used is dropped first.
    """

    id: str
    paintings: LRUCache[str, Painting] = field(default_factory=lambda: LRUCache(MAX_PAINTINGS))


class Sessions(TTLCache[str, Session]):
    """All sessions: the least recently used is dropped first, any after an idle hour.

    Args:
        ended: called with the id of every session that is dropped.
        timer: seconds of a steady clock.
    """

    def __init__(
        self, ended: Callable[[str], None], timer: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(MAX_SESSIONS, IDLE_S, timer=timer)
        self._ended = ended
        self.lock = threading.RLock()  # also guards the paintings of every session

    def of(self, number: str) -> Session:
        """The session with that id, kept for another hour; a new one if there is none."""
        with self.lock:
            session = self.get(number) or Session(number)
            self[number] = session
        return session

    def painting(self, number: str, picture: str) -> Painting | None:
        """A painting of a session; None if it is no longer kept."""
        with self.lock:
            return self.of(number).paintings.get(picture)

    def expire(self, time: float | None = None) -> list[tuple[str, Session]]:
        """Drop idle sessions."""
        expired = list(super().expire(time))
        for number, _ in expired:
            self._ended(number)
        return expired

    def popitem(self) -> tuple[str, Session]:
        """Drop the session that is unused for longest."""
        number, session = super().popitem()
        self._ended(number)
        return number, session
