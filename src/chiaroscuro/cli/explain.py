"""``chiaroscuro explain``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiaroscuro.cli.console import (
    AS_JSON,
    DETECTOR,
    DETECTOR_OPTIONS,
    DEVICE,
    MAX_PIXELS,
    MAX_SIDE,
    MIN_SCORE,
    PICTURES,
    errors_as_exit_status,
    mask_progress,
    n_masks_or_auto,
    note,
    open_detector,
    parse_options,
    print_json,
    report,
)

if TYPE_CHECKING:
    from torch import Tensor

    from chiaroscuro.core.records import Target
    from chiaroscuro.evidence.explanation import Explanation
    from chiaroscuro.results.explaining import ExplainedPicture, Picture

FILLS = ("black", "mean", "blur")


def explain(
    pictures: PICTURES,
    detector: DETECTOR = "centerface",
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            metavar="all|X1,Y1,X2,Y2",
            help="What to explain: all that is found, or a box, also where nothing was found; "
            "may be repeated. [dim]default: all[/]",
        ),
    ] = None,
    target_class: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of a detector with several classes: explain boxes as this class, and of what is "
            "found this class alone. A box over a found object takes its class by itself.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder that gets a folder for every picture.")
    ] = Path("explanations"),
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="drise, or another to set beside it: search, rise, occlusion, lime, kernelshap "
            "(any detector); saliency, gradient-x-input, smoothgrad, integrated-gradients, "
            "guided-backprop, excitation-backprop, cam, gradcam, gradcam++, smooth-gradcam++ "
            "(torch networks, such as -d retinaface or retinaface-paintings); "
            "attention (DETR).",
        ),
    ] = "drise",
    n_masks: Annotated[
        str,
        typer.Option(
            "--n-masks",
            "--passes",
            metavar="N|auto",
            help="Detector passes; auto goes on until every target has the wanted fidelity, and "
            "with another method than drise is what the method usually takes.",
        ),
    ] = "auto",
    fidelity: Annotated[
        float,
        typer.Option(help="Correlation with the map of infinitely many masks that auto waits for."),
    ] = 0.9,
    min_score: MIN_SCORE = 0.3,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same maps.")] = 0,
    estimator: Annotated[
        str,
        typer.Option(
            help="surrogate (fewest masks), centred (covariance of weight and mask) or paper "
            "(published sum)."
        ),
    ] = "surrogate",
    fill: Annotated[
        str,
        typer.Option(help="What stands where the picture is hidden: black, mean, blur, a picture."),
    ] = "black",
    grid_size: Annotated[int, typer.Option(min=1, help="Mask cells a side.")] = 16,
    keep_probability: Annotated[
        float, typer.Option(help="Share of the picture that a mask shows.")
    ] = 0.5,
    colours: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Colours of the maps: signed (vermilion where showing a part raises the answer, "
            "blue where it lowers it, clear where nothing is known), paper (blue to red, as in "
            "the seed paper), viridis, coolwarm, or another colour map of matplotlib.",
        ),
    ] = "signed",
    ground: Annotated[
        str,
        typer.Option(metavar="dark|light", help="Background of figures: dark, or light for print."),
    ] = "dark",
    contours: Annotated[
        bool,
        typer.Option(
            "--contours",
            help="Draw lines in place of colours, for print: solid where showing a part raises "
            "the answer, dashed where it lowers it.",
        ),
    ] = False,
    detector_option: DETECTOR_OPTIONS = None,
    device: DEVICE = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures a detector call; chosen when not given.")
    ] = None,
    max_side: MAX_SIDE = 1280,
    max_pixels: MAX_PIXELS = 100_000_000,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace evidence of other settings in the folder.")
    ] = False,
    as_json: AS_JSON = False,
) -> None:
    """Explain faces in paintings: found, false, or missed.

    Writes for every picture OUT/<name>/ with an overlay for every target, a contact sheet, the raw
    maps (saliency.npz), the evidence (evidence.npz) and, last, manifest.json. Pictures of one name
    get the folders above them as part of it (a__x, b__x).

    Run it again with another --target: the evidence is used again, with no detector pass. After
    Ctrl-C or SIGTERM, the same command goes on where it stopped. Pictures that cannot be read are
    reported and skipped; the exit status is then 1.
    """
    with errors_as_exit_status():
        from chiaroscuro.core.errors import ChiaroscuroError, ImageError, ObservationInterrupted
        from chiaroscuro.core.masks import MaskDesign
        from chiaroscuro.data.paths import as_source, folder_names
        from chiaroscuro.evidence.target_classes import class_label
        from chiaroscuro.figures.look import Look
        from chiaroscuro.methods import method_named
        from chiaroscuro.results.explaining import Settings, explain_picture, open_picture

        look = Look(colours=colours, ground=ground, contours=contours)
        method_named(method)
        boxes = _boxes(target)
        model = open_detector(detector, parse_options(detector_option), device)
        if target_class is not None:
            class_label(target_class, model.info.class_names)
        manifests, failed = [], False
        sources = _each_once(pictures)
        for path, name in zip(sources, folder_names(sources), strict=True):
            try:
                picture = open_picture(
                    as_source(path), max_side=max_side or None, max_pixels=max_pixels, name=name
                )
            except ImageError as error:
                report(error)
                failed = True
                continue
            if picture.scale < 1:
                height, width = picture.image.shape[1:]
                note(f"{path}: reduced to {width}x{height}; --max-side 0 keeps the full size")
            settings = Settings(
                detector=detector,
                detector_options=parse_options(detector_option),
                min_score=min_score,
                target_class=target_class,
                n_masks=n_masks_or_auto(n_masks),
                fidelity=fidelity,
                seed=seed,
                design=MaskDesign(
                    grid_size=grid_size,
                    keep_probability=keep_probability,
                    fill=_fill(fill, picture),
                ),
                method=method,
                estimator=estimator,
                batch_size=batch_size,
                look=look,
                overwrite=overwrite,
            )
            try:
                wanted = _targets(target, boxes, picture, model, min_score)
                with mask_progress(picture.name) as progress:
                    explained = explain_picture(
                        picture, model, wanted, out, settings, progress=progress
                    )
            except KeyboardInterrupt as stopped:
                if not isinstance(stopped, ObservationInterrupted):  # after the masks
                    note(f"stopped; what was finished before {path} is kept in {out}.")
                    raise typer.Exit(1) from stopped
                done = stopped.evidence.n_masks if stopped.evidence else 0
                note(
                    f"stopped; {done} masks are kept in {out / picture.name / 'evidence.npz'}. "
                    "The same command goes on from there."
                )
                raise typer.Exit(1) from stopped
            except ChiaroscuroError as error:
                if len(sources) == 1:
                    raise
                report(error)
                failed = True
                continue
            manifests.append(_show(explained, quiet=as_json))
        if as_json:
            print_json(manifests)
        if failed:
            raise typer.Exit(1)


def _each_once(pictures: list[str]) -> list[str]:
    """The pictures, without those that were named before in another spelling."""
    from chiaroscuro.images.read import is_address

    places: dict[str, str] = {}
    for text in pictures:
        places.setdefault(text if is_address(text) else str(Path(text).absolute()), text)
    return list(places.values())


def _show(explained: "ExplainedPicture", *, quiet: bool) -> dict[str, Any]:
    """Print one picture's results; return them as JSON values."""
    result, picture = explained.result, explained.picture
    for text in result.notes:
        note(f"{picture.source}: {text}")
    files = [str(path) for path in explained.overlays]
    if not quiet:
        passes = result.settings.get("passes", result.settings.get("n_masks"))
        print(f"{picture.source}  {len(result)} targets  {passes} passes  {explained.sheet}")
        for i, target in enumerate(result.targets):
            box = ",".join(f"{v / picture.scale:z.0f}" for v in target.box.tolist())
            score = "-" if target.score is None else f"{target.score:z.2f}"
            print(
                f"  {i + 1}  {target.origin}  score {score}  box {box}  "
                f"{_fidelity(result, i)}{files[i]}"
            )
    described = result.describe()
    for target, file in zip(described["targets"], files, strict=True):
        target["box_in_file"] = [round(v / picture.scale, 3) for v in target["box"]]
        target["overlay"] = file
    return {
        "picture": picture.describe(),
        "folder": str(explained.folder),
        "contact_sheet": str(explained.sheet),
        **described,
    }


def _fidelity(result: "Explanation", index: int) -> str:
    """In words; nothing for a method that estimates none."""
    text = result.fidelity_text(index, 3)
    return f"{text}  " if text else ""


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
    model: Any,
    min_score: float,
) -> "tuple[Target, ...] | None":
    from chiaroscuro.core.records import as_targets
    from chiaroscuro.results.explaining import detect_picture

    if not boxes:
        return None
    drawn = tuple(_in_pixels_of(picture, target) for target in as_targets(boxes))
    if "all" not in (texts or ()):
        return drawn
    return as_targets(detect_picture(picture, model, min_score)) + drawn


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


def _fill(name: str, picture: "Picture") -> "str | Tensor":
    if name in FILLS:
        return name
    from chiaroscuro.images.read import is_address, read_image, to_pil

    if not is_address(name) and not Path(name).is_file():
        raise typer.BadParameter(
            f"wanted {', '.join(FILLS)} or the path or address of a picture, got {name!r}",
            param_hint="--fill",
        )

    height, width = picture.image.shape[1:]
    return read_image(to_pil(read_image(name)).resize((width, height)))
