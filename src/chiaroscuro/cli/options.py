"""Options from declarations: what ``core.plan`` declares once, as Typer wants it.

A command takes declared classes as parameters; :func:`command` shows their fields as options,
makes the classes from what is typed, and turns errors into exit statuses.
"""

import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import attrs
import typer

from chiaroscuro.cli.console import errors_as_exit_status, note, notes
from chiaroscuro.core.checks import anything
from chiaroscuro.core.declared import part, setting
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.plan import AUTO, DetectorChoice
from chiaroscuro.core.text import plural

if TYPE_CHECKING:
    from chiaroscuro.data.datasets import DataSet
    from chiaroscuro.detectors import Detector

PICTURES = Annotated[
    list[str],
    typer.Argument(
        metavar="PICTURE...",
        help="Pictures to read, by path or http:// or https:// address: any format, any mode.",
    ),
]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters of declared classes are options, field by field."""
    signature = inspect.signature(function)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if attrs.has(parameter.annotation):
            parameters += _options(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    parameters.sort(key=lambda one: one.default is not inspect.Parameter.empty)

    @functools.wraps(function)
    def run(**given: Any) -> None:
        with errors_as_exit_status():
            for name, parameter in signature.parameters.items():
                if attrs.has(parameter.annotation):
                    given[name] = _made(parameter.annotation, given)
            function(**{name: given[name] for name in signature.parameters})

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _options(kind: Any) -> Iterator[inspect.Parameter]:
    """The options of a declared class: fields that have a help, and those of its parts."""
    for field in attrs.fields(kind):
        if attrs.has(field.type):
            yield from _options(field.type)
        elif field.metadata.get("help"):
            yield inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=Annotated[_typed(field), _option(field)],
            )


def _option(field: Any) -> Any:
    about = field.metadata
    flags = about["flags"]
    if about["shown_default"] is False and not flags:
        flags = (f"--{field.name.replace('_', '-')}",)  # without a --no- that would do nothing
    return typer.Option(*flags, help=about["help"], metavar=about["metavar"])


def _default(field: Any) -> Any:
    default = field.metadata["shown_default"]
    if default is attrs.NOTHING:
        return inspect.Parameter.empty
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return None
    if field.metadata["typed"] is str and isinstance(default, tuple):
        return ",".join(map(str, default))
    return list(default) if isinstance(default, tuple) else default


def _typed(field: Any) -> Any:
    """The type that Typer parses: text for a number or ``auto``, a list for a tuple."""
    kind = field.metadata["typed"] or field.type
    if get_origin(kind) in (Union, types.UnionType):
        members = get_args(kind)
        if any(get_origin(one) is Literal for one in members):
            return str
        return kind
    if get_origin(kind) in (tuple, list):
        return list[get_args(kind)[0]] | None  # type: ignore[misc]
    return kind


def _made(kind: Any, given: Mapping[str, Any]) -> Any:
    """A declared class from the values of its options."""
    values = {}
    for field in attrs.fields(kind):
        if attrs.has(field.type):
            values[field.name] = _made(field.type, given)
        elif field.metadata.get("help"):
            values[field.name] = _parsed(field, given[field.name])
    try:
        return kind(**values)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error


def _parsed(field: Any, value: Any) -> Any:
    if value is None and field.default is not None:
        return field.default.factory() if hasattr(field.default, "factory") else field.default
    if isinstance(value, str) and value != AUTO and _typed(field) is str:
        as_number = field.metadata["typed"] is None and field.type is not str
        return int(value) if as_number and value.isdecimal() else value
    return value


@attrs.frozen(kw_only=True)
class LoadOptions:
    """How a detector is loaded, and where it runs."""

    detector_option: list[str] = setting(
        anything,
        attrs.Factory(list),
        flags=("--detector-option", "-O"),
        metavar="KEY=VALUE",
        help="An option of the detector, such as layout=yolov8 or form=torch; may be repeated.",
    )
    device: str = setting(anything, "auto", help="auto, cpu, cuda or cuda:1.")

    @property
    def keywords(self) -> dict[str, Any]:
        """The detector's options as keyword arguments; values are JSON where they can be."""
        return dict(map(_key_value, self.detector_option))

    def load(self, choice: DetectorChoice) -> "Detector":
        """A detector; stderr says so while it loads."""
        from chiaroscuro.detectors import load_detector

        with notes.status(f"loading {choice.detector}"):
            return load_detector(choice.detector, device=self.device, **choice.options)


@attrs.frozen(kw_only=True)
class DetectorOptions:
    """Which detector, and how it is loaded."""

    detector: str = setting(
        anything,
        "centerface",
        flags=("--detector", "-d"),
        help="A name ([bold]chiaroscuro detectors[/] lists them), an ONNX file, a checkpoint, or "
        "module:function.",
    )
    loading: LoadOptions = part(LoadOptions)

    @property
    def choice(self) -> DetectorChoice:
        """The detector's name and options, for the manifest."""
        return DetectorChoice(detector=self.detector, options=self.loading.keywords)

    def load(self) -> "Detector":
        """The detector; stderr says so while it loads."""
        return self.loading.load(self.choice)


@attrs.frozen(kw_only=True)
class DataOptions:
    """How a data set is read."""

    images: Path | None = setting(
        anything, None, help="Folder that the data set's file names are relative to."
    )
    class_map: list[str] = setting(
        anything,
        attrs.Factory(list),
        metavar="NAME=NAME",
        help="A class of the data set and the detector's class that it is, such as visage=face, "
        "where the two have different names; may be repeated.",
    )
    frame: str | None = setting(
        anything,
        None,
        metavar="upright|stored",
        help="Whether boxes are drawn on pictures as they are read, or as they are stored, before "
        "their EXIF orientation is applied. [dim]default: found out from the sizes[/]",
    )

    @property
    def classes(self) -> dict[str, str]:
        """The detector's class by the data set's."""
        return parse_class_map(self.class_map)

    @property
    def checked_frame(self) -> Any:
        """upright, stored, or None to find out."""
        if self.frame not in (None, "upright", "stored"):
            raise typer.BadParameter(
                f"wanted upright or stored, got {self.frame!r}", param_hint="--frame"
            )
        return self.frame

    def open(self, data: str) -> "DataSet":
        """The data set; a note says what is missing of it."""
        from chiaroscuro.data.datasets import open_data_set

        classes, frame = self.classes, self.checked_frame
        opened = open_data_set(data, self.images, class_map=classes, frame=frame)
        if opened.missing:
            note(f"{plural(len(opened.missing), 'picture')} missing, such as {opened.missing[0]}")
        return opened


def _key_value(text: str) -> tuple[str, Any]:
    import json

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"wanted KEY=VALUE, got {text!r}", param_hint="--detector-option")
    try:
        return key.replace("-", "_"), json.loads(value)
    except ValueError:
        return key.replace("-", "_"), value


def parse_class_map(texts: list[str] | None) -> dict[str, str]:
    """``NAME=NAME`` as the detector's class by the data set's."""
    mapped: dict[str, str] = {}
    for text in texts or ():
        mine, _, theirs = (name.strip() for name in text.rpartition("="))
        if not mine or not theirs:
            raise typer.BadParameter(
                f"wanted NAME=NAME, such as visage=face, got {text!r}", param_hint="--class-map"
            )
        if mapped.setdefault(mine, theirs) != theirs:
            raise typer.BadParameter(
                f"{mine} is to be {mapped[mine]} and {theirs}; wanted one of them",
                param_hint="--class-map",
            )
    return mapped
