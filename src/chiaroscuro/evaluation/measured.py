"""What ``evaluate`` has measured, kept by picture: a later run adds to it and overwrites nothing.

A piece is what is measured at once: the figures of one map of a picture, of the baselines beside
it, its stability or its randomisation. It states with which settings it was made, so that figures
of other settings are never mixed in.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from chiaroscuro.core.errors import BundleError
from chiaroscuro.store import bundle, contents
from chiaroscuro.store.bundle import AnyPath

Measure = Literal["scores", "baselines", "stability", "randomisation"]
Piece = dict[str, Any]
ROWS = contents.EVALUATED_ROWS
MAP = "map"  # what the explanation's own map is called beside the baselines
_DIFFERENCES_TOLD = 3


class Measured:
    """The pieces in one folder of an evaluation.

    Attributes:
        pieces: by picture, then by map and measure.
        collection: the curves of the whole set, None where there are none.
    """

    def __init__(self, folder: AnyPath) -> None:
        self._pictures = folder / "pictures"
        self._collection = folder / "collection.json"
        self.pieces: dict[str, dict[tuple[str, str], Piece]] = {}
        for file in bundle.matching(self._pictures, "*.json"):
            kept = _read(file, contents.EVALUATED_PICTURE)
            if kept is not None:
                self.pieces[file.name.removesuffix(".json")] = {
                    (piece["map"], piece["measure"]): piece for piece in kept["pieces"]
                }
        self.collection = _read(self._collection, contents.EVALUATED_COLLECTION)

    def has(self, picture: str, what: str, measure: Measure) -> bool:
        """Whether that was measured; a piece without figures, such as a failure, is not."""
        piece = self.pieces.get(picture, {}).get((what, measure))
        return piece is not None and _figures(piece)

    def add(self, picture: str, piece: Piece) -> None:
        """Keep a piece."""
        self.pieces.setdefault(picture, {})[piece["map"], piece["measure"]] = piece
        self._write(picture)

    def add_collection(self, collection: Mapping[str, Any]) -> None:
        """Keep the curves of the whole set."""
        self.collection = dict(collection)
        _write(self._collection, self.collection)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All rows of one kind: by picture, the own map first, then the baselines, then others."""

        def place(key: tuple[str, str]) -> tuple[bool, str, bool]:
            what, measure = key
            return what != MAP, what, measure != "scores"

        return [
            row
            for picture in sorted(self.pieces)
            for key in sorted(self.pieces[picture], key=place)
            for row in self.pieces[picture][key][name]
        ]

    def settle(
        self,
        made: Mapping[str, Mapping[str, Any]],
        shared: Mapping[str, Any],
        passes: Mapping[str, Any],
        collection: Mapping[str, Any] | None,
        *,
        overwrite: bool,
    ) -> None:
        """Hold what is here to be of the settings that more is measured with.

        Args:
            made: by picture, what its pieces are made of.
            shared: what pieces of any picture are made with.
            passes: by map, how many are wanted of those that are measured.
            collection: what the curves of the whole set are made of, None if they are not wanted.
            overwrite: whether what is of other settings is removed, not refused.

        Raises:
            BundleError: naming what differs.
        """
        differing: list[str] = []
        for picture, pieces in list(self.pieces.items()):
            for name, piece in list(pieces.items()):
                wanted = {**shared, **made.get(picture, {})}
                if name[0] in passes and picture in made:
                    wanted["passes"] = passes[name[0]]
                why = _differences(piece["made"], wanted, picture, name[0])
                if why:
                    differing += why if _figures(piece) else []
                    del pieces[name]
        if self.collection is not None:
            why = _set_differences(self.collection["made"], shared, made, collection)
            differing += why
            self.collection = None if why else self.collection
        if not differing:
            return
        if not overwrite:
            told = "; ".join(list(dict.fromkeys(differing))[:_DIFFERENCES_TOLD])
            raise BundleError(
                f"{self._pictures.parent} holds figures of other settings ({told}); keep both with "
                "another --out, or replace those that differ with --overwrite"
            )
        for picture in self.pieces:
            self._write(picture)
        if self.collection is None:
            self._collection.unlink(missing_ok=True)

    def _write(self, picture: str) -> None:
        pieces = list(self.pieces[picture].values())
        _write(self._pictures / f"{picture}.json", {"pieces": pieces})


def _figures(piece: Piece) -> bool:
    return any(piece[name] for name in ("scores", "stability", "randomisation"))


def _differences(
    was: Mapping[str, Any], wanted: Mapping[str, Any], picture: str, what: str
) -> list[str]:
    """In words, what of the wanted settings a piece was not made with."""
    return list(_told(was, wanted, picture, what))


def _told(
    was: Mapping[str, Any], wanted: Mapping[str, Any], picture: str, what: str
) -> Iterator[str]:
    for key, now in wanted.items():
        then = was.get(key)
        if then == now:
            continue
        if key == "of":
            yield f"the maps of {picture} were made again since"
        elif key == "passes":
            yield f"passes of {what} were {then}, are {now}"
        elif key == "protocol":
            yield f"protocol was {(then or {}).get('name')}, is {now['name']}"
        else:
            yield f"{key} was {then}, is {now}"


def _set_differences(
    was: Mapping[str, Any],
    shared: Mapping[str, Any],
    made: Mapping[str, Mapping[str, Any]],
    wanted: Mapping[str, Any] | None,
) -> list[str]:
    """The same for the curves of the whole set."""
    found = _differences(was, shared, "", "")
    then = was.get("pictures") or {}
    found += [
        f"the maps of {picture} were made again since"
        for picture, now in made.items()
        if then.get(picture, now["of"]) != now["of"]
    ]
    if found or wanted is None or wanted == was:
        return found
    if then != wanted["pictures"]:
        return [f"the curves of the whole set are of {len(then)} pictures, not {len(made)}"]
    return ["the curves of the whole set are of other annotations"]


def _read(file: AnyPath, check: Any) -> dict[str, Any] | None:
    """What was written, None if it is absent, damaged or was changed since."""
    try:
        kept = bundle.read_json(file, check)
    except BundleError:
        return None
    digest = kept.pop("rows_sha256")
    return kept if digest == _sha256(kept) else None


def _write(file: AnyPath, value: Mapping[str, Any]) -> None:
    bundle.write_json(file, {**value, "rows_sha256": _sha256(value)})


def _sha256(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
