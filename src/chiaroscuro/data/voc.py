"""Pascal VOC's XML files, one per picture."""

import codecs
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.annotations import AnnotatedBox, AnnotatedPicture, Annotations
from chiaroscuro.data.pictures import find_pictures
from chiaroscuro.data.reading import Box, check_pixels, parsing, read_bytes, stated_side

ROOT = "annotation"
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    file_name: str
    width: int
    height: int
    objects: tuple[tuple[str, AnnotatedBox], ...]  # class and box; labels follow from all files
    notes: tuple[str, ...]


def read_voc(folder: str | Path, images: str | Path | None = None) -> Annotations:
    """Read a folder of Pascal VOC's XML files, in ``Annotations/`` or anywhere in the folder.

    Pixels are counted from 1 there, and the last one belongs to the box: ``xmin ymin xmax ymax``
    becomes ``xmin - 1, ymin - 1, xmax, ymax``. A picture is found by ``filename``, with or without
    its suffix, else by the name of the XML file; beside it, in a folder of the same place, or
    anywhere in the data set.

    Args:
        folder: the data set.
        images: where the pictures are, if not in ``JPEGImages/`` or elsewhere in the folder.

    Raises:
        AnnotationError: if there are no such files, or one cannot be read.
    """
    folder = Path(folder)
    root = folder / "JPEGImages" if (folder / "JPEGImages").is_dir() else folder
    root = root if images is None else Path(images)
    files = [_parsed(path) for path in annotation_files(folder)]
    if not files:
        raise AnnotationError(f"{folder} has no Pascal VOC annotations: no .xml files")
    found = _Pictures(root)
    names = sorted({name for file in files for name, _ in file.objects})
    label_of = {name: label for label, name in enumerate(names)}
    check_pixels([box.box for file in files for _, box in file.objects], str(folder))
    notes = [note for file in files for note in file.notes]
    if notes and not names:
        raise AnnotationError(f"{folder}: no object has a box; {notes[0]}")
    pictures = [
        AnnotatedPicture(
            found.name_of(file, folder),
            file.width,
            file.height,
            tuple(replace(box, label=label_of[name]) for name, box in file.objects),
        )
        for file in files
    ]
    return Annotations(
        source=str(folder),
        class_names=tuple(names),
        class_ids=tuple(range(len(names))),
        pictures=tuple(pictures),
        folder=root,
        notes=tuple(notes),
    )


def annotation_files(folder: Path) -> list[Path]:
    """The XML files of a data set: those in ``Annotations/`` where it exists, else all within."""
    inner = folder / "Annotations"
    return sorted(
        path
        for path in (inner if inner.is_dir() else folder).rglob("*.xml")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.name.endswith(".aux.xml")
        and path.is_file()
    )


def is_voc(folder: Path) -> bool:
    """Whether a folder has Pascal VOC's layout, or an XML file of its kind."""
    return (folder / "Annotations").is_dir() or any(map(_is_annotation, annotation_files(folder)))


def _is_annotation(path: Path) -> bool:
    try:
        return _root(path).tag == ROOT
    except AnnotationError:
        return False


class _Pictures:
    """The pictures of a folder, by file name and by stem."""

    def __init__(self, root: Path) -> None:
        self._named: defaultdict[str, list[Path]] = defaultdict(list)
        self._stemmed: defaultdict[str, list[Path]] = defaultdict(list)
        for path in find_pictures(root) if root.is_dir() else ():
            relative = path.relative_to(root)
            self._named[path.name].append(relative)
            self._stemmed[path.stem].append(relative)

    def name_of(self, file: _File, folder: Path) -> str:
        """The picture of an XML file, relative to the root; as stated where it does not exist."""
        stated = Path(file.file_name.replace("\\", "/"))
        if len(stated.parts) > 1 and stated in self._named.get(stated.name, ()):
            return stated.as_posix()
        own = file.path.parent.relative_to(folder).parts
        for places, name in (
            (self._named, stated.name),
            (self._stemmed, stated.name),
            (self._stemmed, stated.stem),
            (self._stemmed, file.path.stem),
        ):
            there = places.get(name, []) if name else []
            near = [path for path in there if path.parent.parts in (own, own[1:])] or [
                path for path in there if path.parent.parts[1:] == own[1:] and own
            ]
            for fitting in (near, there):
                if len(fitting) == 1:
                    return fitting[0].as_posix()
        return file.file_name or file.path.with_suffix("").name


def _parsed(path: Path) -> _File:
    root = _root(path)
    if root.tag != ROOT:
        raise AnnotationError(
            f"{path} is not a Pascal VOC annotation: wanted <{ROOT}> as its root, got <{root.tag}>"
        )
    objects, notes = [], []
    for number, node in enumerate(root.iter("object"), start=1):
        where = f"{path}, object {number}"
        name = (node.findtext("name") or "").strip()
        box = _corners(node, where)
        if box is None or not name:
            lacks = "no bndbox" if box is None else "no name"
            notes.append(f"{where}{f' ({name})' * bool(name)}: {lacks}; it is left out")
            continue
        ignore = (node.findtext("difficult") or "").strip().lower() in ("1", "true", "yes")
        place = f"object {number} of {path.name}"
        objects.append((name, AnnotatedBox(box, -1, place, ignore=ignore)))
    width, height = (
        stated_side(root.findtext(f"size/{side}"), f"{path}, size/{side}")
        for side in ("width", "height")
    )
    file_name = (root.findtext("filename") or "").strip()
    return _File(path, file_name, width, height, tuple(objects), tuple(notes))


def _root(path: Path) -> ElementTree.Element:
    """The root of an XML file in the encoding that it declares."""
    data = read_bytes(path)
    with parsing(path, "a Pascal VOC annotation"):
        try:
            # no external entities are fetched, and expat limits the growth of internal ones
            return ElementTree.fromstring(data)  # noqa: S314
        except (ValueError, LookupError):  # an encoding of several bytes, which expat cannot read
            declared = _DECLARED.match(data)
            if declared is None:
                raise
            codec = codecs.lookup(declared[1].decode())
            return ElementTree.fromstring(data[declared.end() :].decode(codec.name))  # noqa: S314


def _corners(node: ElementTree.Element, where: str) -> Box | None:
    """The box of an object; None where it has none, or one of its sides is missing."""
    texts = [node.findtext(f"bndbox/{side}") for side in _SIDES]
    if not all(text and text.strip() for text in texts):
        return None
    try:
        x1, y1, x2, y2 = (float(text or "") for text in texts)
    except ValueError as error:
        raise AnnotationError(
            f"{where}: wanted numbers as {' '.join(_SIDES)}, got {texts}"
        ) from error
    return x1 - 1, y1 - 1, x2, y2
