"""``chiaroscuro explain``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import typer

from chiaroscuro.cli.console import note, notes, print_json, report
from chiaroscuro.cli.options import AS_JSON, PICTURES, DetectorOptions, command
from chiaroscuro.cli.progress import progress
from chiaroscuro.core.checks import anything
from chiaroscuro.core.declared import setting
from chiaroscuro.core.plan import (
    FILLS,
    TILES,
    DetectorChoice,
    Plan,
    Selection,
    TiledReading,
)
from chiaroscuro.core.text import plural

if TYPE_CHECKING:
    from torch import Tensor

    from chiaroscuro.core.records import Target
    from chiaroscuro.detectors import Detector
    from chiaroscuro.figures.look import Look
    from chiaroscuro.results.explaining import ExplainedPicture
    from chiaroscuro.results.parts import Part
    from chiaroscuro.results.picture import Picture


@attrs.frozen(kw_only=True)
class LookOptions:
    """How figures look."""

    colours: str = setting(
        anything,
        "signed",
        metavar="NAME",
        help="Colours of the maps: signed (vermilion where showing a part raises the answer, blue "
        "where it lowers it, clear where nothing is known), paper (blue to red, as in the seed "
        "paper), viridis, coolwarm, or another colour map of matplotlib.",
    )
    ground: str = setting(
        anything,
        "dark",
        metavar="dark|light",
        help="Background of figures: dark, or light for print.",
    )
    contours: bool = setting(
        anything,
        False,
        flags=("--contours",),
        help="Draw lines in place of colours, for print: solid where showing a part raises the "
        "answer, dashed where it lowers it.",
    )

    def look(self) -> "Look":
        """As figures take it."""
        from chiaroscuro.figures.look import Look

        return Look(**attrs.asdict(self))


@attrs.frozen(kw_only=True)
class ExplainOptions:
    """What is explained, and where the results go."""

    target: list[str] = setting(
        anything,
        attrs.Factory(list),
        flags=("--target", "-t"),
        metavar="all|X1,Y1,X2,Y2",
        help="What to explain: all that is found, or a box, also where nothing was found; may be "
        "repeated. [dim]default: all[/]",
    )
    out: Path = setting(
        anything, Path("explanations"), flags=("--out", "-o"), help="Gets a folder per picture."
    )
    fill: str = setting(
        anything,
        "black",
        help="What stands where the picture is hidden: black, mean, blur, or the path or address "
        "of a picture.",
    )
    overwrite: bool = setting(
        anything,
        False,
        flags=("--overwrite",),
        help="Replace evidence of other settings in the folder.",
    )


@command
def explain(
    pictures: PICTURES,
    *,
    options: ExplainOptions,
    detector_options: DetectorOptions,
    plan: Plan,
    selection: Selection,
    reading: TiledReading,
    look_options: LookOptions,
    as_json: AS_JSON = False,
) -> None:
    """Explain faces in paintings: found, false, or missed.

    Writes for every picture OUT/<name>/ with an overlay per target, a contact sheet, the raw
    maps (saliency.npz, closeup-01.npz and so on), the evidence (evidence.npz) and, last,
    manifest.json. Pictures of one name get the folders above them as part of it (a__x, b__x). Of a
    large picture every tile with something to explain is a picture of its own, with its place in
    the name (scan__0-960-1280-2240, in pixels of the file).

    Run it again with another --target: what was observed is used again as far as it serves that
    box (all of it with --no-windows --no-closeup). After Ctrl-C or SIGTERM, the same command
    resumes. Unreadable pictures are reported and skipped; the exit status is then 1.
    """
    from chiaroscuro.core.errors import ChiaroscuroError, ImageError
    from chiaroscuro.data.paths import folder_names
    from chiaroscuro.evidence.targets import class_label
    from chiaroscuro.methods import method_named

    method_named(plan.method)
    boxes, look = _boxes(options.target), look_options.look()
    detector = detector_options.load()
    if selection.target_class is not None:
        class_label(selection.target_class, detector.info.class_names)
    job = _Job(options, boxes, detector, detector_options.choice, plan, selection, reading, look)
    sources = _each_once(pictures)
    manifests: list[dict[str, Any]] = []
    failed = False
    for source, name in zip(sources, folder_names(sources), strict=True):
        try:
            manifests.extend(_show(one, quiet=as_json) for one in job.explain(source, name))
        except ChiaroscuroError as error:
            if len(sources) == 1 and not isinstance(error, ImageError):
                raise
            report(error)
            failed = True
    if as_json:
        print_json(manifests)
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is done with every picture."""

    options: ExplainOptions
    boxes: list[list[float]]
    detector: "Detector"
    choice: DetectorChoice
    plan: Plan
    selection: Selection
    reading: TiledReading
    look: "Look"

    def explain(self, source: str, name: str) -> "Iterator[ExplainedPicture]":
        """Explain a picture, or one by one the parts of a large one."""
        from chiaroscuro.data.paths import as_source
        from chiaroscuro.results.parts import needs_parts
        from chiaroscuro.results.picture import open_picture

        picture = open_picture(as_source(source), self.reading, name=name)
        if self.reading.max_side == TILES and needs_parts(picture.image):
            for part in self._parts(picture):
                yield self._explained(part.picture, part.targets or None)  # None: says what to do
            return
        if picture.scale < 1:
            height, width = picture.image.shape[1:]
            note(f"{source}: reduced to {width}x{height}")
        yield self._explained(picture, self._targets(picture))

    def _parts(self, picture: "Picture") -> "list[Part]":
        """The tiles of a large picture that hold targets; a note says how many."""
        from chiaroscuro.results.parts import parts_of, search

        found = None
        if self._all_found:
            with notes.status(f"searching {picture.name} in tiles"):
                found = search(picture.image, self.detector, self.selection)
        drawn = tuple(_in_pixels_of(picture, target) for target in self._typed())
        parts = parts_of(picture, found, drawn)
        height, width = picture.image.shape[1:]
        n_targets = plural(sum(len(part.targets) for part in parts), "target")
        note(
            f"{picture.source}: of {width}x{height} pixels, so explained in tiles: {n_targets} in "
            f"{plural(len(parts), 'tile')}"
        )
        return parts

    @property
    def _all_found(self) -> bool:
        return not self.boxes or "all" in self.options.target

    def _typed(self) -> "tuple[Target, ...]":
        """The boxes that were typed, in the file's pixels."""
        from chiaroscuro.core.records import as_targets

        return as_targets(self.boxes) if self.boxes else ()

    def _targets(self, picture: "Picture") -> "tuple[Target, ...] | None":
        """The boxes that were typed, in the picture's pixels; None for what is found alone."""
        from chiaroscuro.core.records import as_targets
        from chiaroscuro.evidence.targets import find

        if not self.boxes:
            return None
        typed = tuple(_in_pixels_of(picture, target) for target in self._typed())
        if not self._all_found:
            return typed
        return as_targets(find(picture.image, self.detector, self.selection.min_score)) + typed

    def _explained(
        self, picture: "Picture", targets: "tuple[Target, ...] | None"
    ) -> "ExplainedPicture":
        """One picture explained; when it is stopped, a note says what is kept."""
        from chiaroscuro.core.errors import ObservationInterrupted
        from chiaroscuro.results.explaining import explain_picture

        out = self.options.out
        try:
            with progress(picture.name) as show:
                return explain_picture(
                    picture,
                    self.detector,
                    targets,
                    out,
                    _with_fill(self.plan, self.options.fill, picture),
                    selection=self.selection,
                    choice=self.choice,
                    look=self.look,
                    overwrite=self.options.overwrite,
                    progress=show,
                )
        except ObservationInterrupted as stopped:
            done = round(stopped.evidence.cost) if stopped.evidence else 0
            file = out / picture.name / "evidence.npz"
            note(f"stopped; {done} passes are kept in {file}. The same command resumes from there.")
            raise typer.Exit(1) from stopped
        except KeyboardInterrupt as stopped:  # after the masks
            note(f"stopped; what was finished before {picture.source} is kept in {out}.")
            raise typer.Exit(1) from stopped


def _each_once(pictures: list[str]) -> list[str]:
    """The pictures, without those that were named before in another spelling."""
    from chiaroscuro.images.sources import is_address

    places: dict[str, str] = {}
    for text in pictures:
        places.setdefault(text if is_address(text) else str(Path(text).absolute()), text)
    return list(places.values())


def _show(explained: "ExplainedPicture", *, quiet: bool) -> dict[str, Any]:
    """Print one picture's results; return them as JSON values."""
    from chiaroscuro.core.declared import plain

    result, picture = explained.result, explained.picture
    for text in result.notes:
        note(f"{picture.shown_source}: {text}")
    files = [str(path) for path in explained.overlays]
    shown = plain(result.manifest(picture=picture.record()))
    for target, box, file in zip(
        shown["targets"], (one.box for one in result.targets), files, strict=True
    ):
        target["box_in_file"] = _rounded(picture.in_file(box))
        target["overlay"] = file
    if not quiet:
        n_targets, passes = plural(len(result), "target"), result.settings.passes_text
        print(f"{picture.shown_source}  {n_targets}  {passes}  {explained.sheet}")
        for i, (one, file) in enumerate(zip(result.targets, files, strict=True)):
            place = ",".join(f"{v:z.0f}" for v in picture.in_file(one.box).tolist())
            score = "-" if one.score is None else f"{one.score:z.2f}"
            trust = result.fidelity_text(i, 3)
            trust = f"{trust}  " if trust else ""
            closeup = result.closeup(i)
            if closeup is not None:
                of_closeup = closeup.alone(result).fidelity_text(0, 3)
                trust += f"close-up {of_closeup.removeprefix('fidelity ')}  "
            print(f"  {i + 1}  {one.origin}  score {score}  box {place}  {trust}{file}")
    return {**shown, "folder": str(explained.folder), "contact_sheet": str(explained.sheet)}


def _rounded(box: "Tensor") -> list[float]:
    return [round(value, 3) for value in box.tolist()]


def _boxes(texts: list[str] | None) -> list[list[float]]:
    boxes = []
    for text in texts or ():
        if text == "all":
            continue
        try:
            box = [float(part) for part in text.split(",")]
        except ValueError:
            box = []
        if len(box) != 4:
            raise typer.BadParameter(
                f"wanted all, or four numbers x1,y1,x2,y2 in pixels, got {text!r}",
                param_hint="--target",
            )
        boxes.append(box)
    return boxes


def _in_pixels_of(picture: "Picture", target: "Target") -> "Target":
    """A box in the file's pixels, as it lies in the picture that is explained.

    Raises:
        TargetError: if it lies outside, in the words of the file's pixels.
    """
    from chiaroscuro.core.errors import TargetError

    inside = target.inside(*picture.file_size)
    height, width = picture.image.shape[1:]
    try:
        return inside.scaled(picture.scale).inside(height, width)
    except TargetError as error:
        box = ",".join(f"{v:zg}" for v in target.box.tolist())
        across, down = picture.file_size[1], picture.file_size[0]
        raise TargetError(
            f"target {box}, in pixels of the file ({across}x{down}), has no area left in the "
            f"picture reduced to {width}x{height}; --max-side 0 keeps the full size"
        ) from error


def _with_fill(plan: Plan, name: str, picture: "Picture") -> Plan:
    """The plan with its fill, which may be a picture of its own."""
    fill: Any = name
    if name not in FILLS:
        from chiaroscuro.images.arrays import to_pil
        from chiaroscuro.images.read import read_image
        from chiaroscuro.images.sources import is_address

        if not is_address(name) and not Path(name).is_file():
            raise typer.BadParameter(
                f"wanted {', '.join(FILLS)} or the path or address of a picture, got {name!r}",
                param_hint="--fill",
            )
        tile = picture.tile
        height, width = picture.image.shape[1:] if tile is None else tile.size
        fill = read_image(to_pil(read_image(name)).resize((width, height)))
        if tile is not None:
            fill = tile.window.of(fill).contiguous()
    return attrs.evolve(plan, design=attrs.evolve(plan.design, fill=fill))
