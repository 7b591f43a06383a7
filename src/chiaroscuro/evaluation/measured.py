"""What ``evaluate`` measured, kept by picture: a later run adds to it and overwrites nothing."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import attrs

from chiaroscuro.core.declared import plain
from chiaroscuro.core.errors import BundleError
from chiaroscuro.evaluation.records import (
    MAP,
    Measure,
    MeasuredPicture,
    MeasuredSet,
    Piece,
    Row,
)
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath

_DIFFERENCES_SHOWN = 3
Kept = TypeVar("Kept", MeasuredPicture, MeasuredSet)


class Measured:
    """The pieces in one folder of an evaluation, and the curves of the whole set, if any."""

    def __init__(self, folder: AnyPath) -> None:
        self._pictures = folder / "pictures"
        self._collection = folder / "collection.json"
        self.pieces: dict[str, dict[tuple[str, str], Piece]] = {}
        for file in bundle.matching(self._pictures, "*.json"):
            kept = _read(file, MeasuredPicture)
            if kept is not None:
                self.pieces[file.name.removesuffix(".json")] = {
                    (piece.map, piece.measure): piece for piece in kept.pieces
                }
        self.collection = _read(self._collection, MeasuredSet)

    def has(self, picture: str, what: str, measure: Measure) -> bool:
        """Whether that was measured."""
        piece = self.pieces.get(picture, {}).get((what, measure))
        return piece is not None and piece.has_figures

    def add(self, picture: str, piece: Piece) -> None:
        """Keep a piece."""
        self.pieces.setdefault(picture, {})[piece.map, piece.measure] = piece
        self._write(picture)

    def add_collection(self, collection: MeasuredSet) -> None:
        """Keep the curves of the whole set."""
        self.collection = collection
        _write(self._collection, collection)

    def rows(self, table: str) -> list[Row]:
        """All rows of a table: by picture, the own map first, then the baselines, then others."""

        def place(key: tuple[str, str]) -> tuple[bool, str, bool]:
            what, measure = key
            return what != MAP, what, measure != "scores"

        return [
            row
            for picture in sorted(self.pieces)
            for key in sorted(self.pieces[picture], key=place)
            for row in getattr(self.pieces[picture][key], table)
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
            overwrite: whether what is of other settings is removed; else it is a BundleError.
        """
        differing: list[str] = []
        for picture, pieces in list(self.pieces.items()):
            for name, piece in list(pieces.items()):
                wanted = {**shared, **made.get(picture, {})}
                if name[0] in passes and picture in made:
                    wanted["n_passes"] = passes[name[0]]
                why = list(_differences(piece.made, wanted, picture, name[0]))
                if why:
                    differing += why if piece.has_figures else []
                    del pieces[name]
        if self.collection is not None:
            why = _set_differences(self.collection.made, shared, made, collection)
            differing += why
            self.collection = None if why else self.collection
        if not differing:
            return
        if not overwrite:
            shown = "; ".join(list(dict.fromkeys(differing))[:_DIFFERENCES_SHOWN])
            raise BundleError(
                f"{self._pictures.parent} holds figures of other settings ({shown}); keep both "
                "with another --out, or replace those that differ with --overwrite"
            )
        for picture in self.pieces:
            self._write(picture)
        if self.collection is None:
            self._collection.unlink(missing_ok=True)

    def _write(self, picture: str) -> None:
        pieces = tuple(self.pieces[picture].values())
        _write(self._pictures / f"{picture}.json", MeasuredPicture(pieces=pieces))


def _differences(
    was: Mapping[str, Any], wanted: Mapping[str, Any], picture: str, what: str
) -> Iterator[str]:
    """In words, what of the wanted settings a piece was not made with."""
    for key, now in wanted.items():
        then = was.get(key)
        if then == now:
            continue
        if key == "of":
            yield f"the maps of {picture} have changed since"
        elif key == "n_passes":
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
    found = list(_differences(was, shared, "", ""))
    then = was.get("pictures") or {}
    found += [
        f"the maps of {picture} have changed since"
        for picture, now in made.items()
        if then.get(picture, now["of"]) != now["of"]
    ]
    if found or wanted is None or wanted == was:
        return found
    if then != wanted["pictures"]:
        return [f"the curves of the whole set are of {len(then)} pictures, not {len(made)}"]
    return ["the curves of the whole set are of other annotations"]


def _read(file: AnyPath, kind: type[Kept]) -> Kept | None:
    """What was written, None if it is absent, damaged or was changed since."""
    try:
        kept = bundle.read_record(file, kind)
    except BundleError:
        return None
    return kept if kept.rows_sha256 == _sha256(kept) else None


def _write(file: AnyPath, value: MeasuredPicture | MeasuredSet) -> None:
    bundle.write_record(file, attrs.evolve(value, rows_sha256=_sha256(value)))


def _sha256(value: MeasuredPicture | MeasuredSet) -> str:
    rows = {name: one for name, one in plain(value).items() if name != "rows_sha256"}
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
