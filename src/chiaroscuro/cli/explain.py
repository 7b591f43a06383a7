"""``chiaroscuro explain``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import typer

from chiaroscuro.cli.console import note, print_json, report
from chiaroscuro.cli.options import AS_JSON, PICTURES, DetectorOptions, command
from chiaroscuro.cli.progress import progress
from chiaroscuro.core.checks import anything
from chiaroscuro.core.declared import setting
from chiaroscuro.core.plan import FILLS, Plan, Reading, Selection
from chiaroscuro.core.text import plural

if TYPE_CHECKING:
    from chiaroscuro.core.records import Target
    from chiaroscuro.figures.look import Look
    from chiaroscuro.results.explaining import ExplainedPicture
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
    reading: Reading,
    look_options: LookOptions,
    as_json: AS_JSON = False,
) -> None:
    """Explain faces in paintings: found, false, or missed.

    Writes for every picture OUT/<name>/ with an overlay per target, a contact sheet, the raw
    maps (saliency.npz, closeup-01.npz and so on), the evidence (evidence.npz) and, last,
    manifest.json. Pictures of one name get the folders above them as part of it (a__x, b__x).

    Run it again with another --target: what was observed is used again as far as it serves that
    box (all of it with --no-windows --no-closeup). After Ctrl-C or SIGTERM, the same command
    resumes. Unreadable pictures are reported and skipped; the exit status is then 1.
    """
    from chiaroscuro.data.paths import folder_names
    from chiaroscuro.evidence.targets import class_label
    from chiaroscuro.methods import method_named

    method_named(plan.method)
    boxes, out = _boxes(options.target), options.out
    look, detector = look_options.look(), detector_options.load()
    if selection.target_class is not None:
        class_label(selection.target_class, detector.info.class_names)

    def explain_one(picture: "Picture") -> "ExplainedPicture":
        from chiaroscuro.results.explaining import explain_picture

        with progress(picture.name) as show:
            return explain_picture(
                picture,
                detector,
                _targets(options.target, boxes, picture, detector, selection),
                out,
                _with_fill(plan, options.fill, picture),
                selection=selection,
                choice=detector_options.choice,
                look=look,
                overwrite=options.overwrite,
                progress=show,
            )

    sources = _each_once(pictures)
    manifests, failed = [], False
    for source, name in zip(sources, folder_names(sources), strict=True):
        explained = _explained(source, name, reading, explain_one, out, alone=len(sources) == 1)
        if explained is None:
            failed = True
        else:
            manifests.append(_show(explained, quiet=as_json))
    if as_json:
        print_json(manifests)
    if failed:
        raise typer.Exit(1)


def _explained(
    source: str, name: str, reading: Reading, explain_one: Any, out: Path, *, alone: bool
) -> "ExplainedPicture | None":
    """One picture explained; None where it failed, which is reported."""
    from chiaroscuro.core.errors import ChiaroscuroError, ImageError, ObservationInterrupted
    from chiaroscuro.data.paths import as_source
    from chiaroscuro.results.picture import open_picture

    try:
        picture = open_picture(as_source(source), reading, name=name)
    except ImageError as error:
        report(error)
        return None
    if picture.scale < 1:
        height, width = picture.image.shape[1:]
        note(f"{source}: reduced to {width}x{height}; --max-side 0 keeps the full size")
    try:
        explained: ExplainedPicture = explain_one(picture)
        return explained
    except ObservationInterrupted as stopped:
        done = round(stopped.evidence.cost) if stopped.evidence else 0
        file = out / picture.name / "evidence.npz"
        note(f"stopped; {done} passes are kept in {file}. The same command resumes from there.")
        raise typer.Exit(1) from stopped
    except KeyboardInterrupt as stopped:  # after the masks
        note(f"stopped; what was finished before {source} is kept in {out}.")
        raise typer.Exit(1) from stopped
    except ChiaroscuroError as error:
        if alone:
            raise
        report(error)
        return None


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
        note(f"{picture.source}: {text}")
    files = [str(path) for path in explained.overlays]
    shown = plain(result.manifest(picture=picture.record()))
    for target, file in zip(shown["targets"], files, strict=True):
        target["box_in_file"] = [round(v / picture.scale, 3) for v in target["box"]]
        target["overlay"] = file
    if not quiet:
        n_targets, passes = plural(len(result), "target"), result.settings.passes_text
        print(f"{picture.source}  {n_targets}  {passes}  {explained.sheet}")
        for i, (one, file) in enumerate(zip(result.targets, files, strict=True)):
            box = ",".join(f"{v / picture.scale:z.0f}" for v in one.box.tolist())
            score = "-" if one.score is None else f"{one.score:z.2f}"
            trust = result.fidelity_text(i, 3)
            trust = f"{trust}  " if trust else ""
            closeup = result.closeup(i)
            if closeup is not None:
                of_closeup = closeup.alone(result).fidelity_text(0, 3)
                trust += f"close-up {of_closeup.removeprefix('fidelity ')}  "
            print(f"  {i + 1}  {one.origin}  score {score}  box {box}  {trust}{file}")
    return {**shown, "folder": str(explained.folder), "contact_sheet": str(explained.sheet)}


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


def _targets(
    texts: list[str] | None,
    boxes: list[list[float]],
    picture: "Picture",
    detector: Any,
    selection: Selection,
) -> "tuple[Target, ...] | None":
    """The boxes that were typed, in the picture's pixels; None for what is found alone."""
    from chiaroscuro.core.records import as_targets
    from chiaroscuro.evidence.targets import find

    if not boxes:
        return None
    typed = tuple(_in_pixels_of(picture, target) for target in as_targets(boxes))
    if "all" not in (texts or ()):
        return typed
    return as_targets(find(picture.image, detector, selection.min_score)) + typed


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
        height, width = picture.image.shape[1:]
        fill = read_image(to_pil(read_image(name)).resize((width, height)))
    return attrs.evolve(plan, design=attrs.evolve(plan.design, fill=fill))
