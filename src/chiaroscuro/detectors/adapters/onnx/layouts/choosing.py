"""The layout of a file, by what the file declares and what the user states."""

from collections.abc import Callable, Mapping, Sequence

from chiaroscuro.core.errors import InputError, UnknownNameError
from chiaroscuro.detectors.adapters.onnx.layouts import LAYOUTS
from chiaroscuro.detectors.adapters.onnx.layouts.file import File, Output, Roles
from chiaroscuro.detectors.adapters.onnx.layouts.layout import Layout
from chiaroscuro.detectors.adapters.onnx.layouts.stated import pick, stated_layout


def understood(
    file: File,
    measure: Callable[[File], File],
    name: str | None = None,
    stated: Mapping[str, str] | None = None,
) -> tuple[Layout, Roles]:
    """As ``choose``, by what the file declares, else by its outputs measured on a blank picture."""
    closed = all(o.shape and all(o.shape[1:]) for o in file.outputs)
    try:
        layout, roles = choose(file, name, stated)
        if closed or layout.columns is None or layout.columns(roles):
            return layout, roles
    except UnknownNameError:
        raise
    except InputError:
        if closed:
            raise
    return choose(measure(file), name, stated)


def fitting(file: File) -> list[str]:
    """Layouts that the names and shapes of a file's outputs indicate."""
    return [
        name
        for name, layout in LAYOUTS.items()
        if (roles := layout.roles(file)) and layout.knows(file, roles)
    ]


def recognise(file: File) -> str:
    """The one layout that the names and shapes of a file's outputs indicate."""
    fits = fitting(file)
    if len(fits) == 1:
        return fits[0]
    problem = f"these may be {' or '.join(fits)}" if fits else "these fit no layout"
    raise InputError(layouts_message(problem, file.outputs, fits))


def choose(
    file: File, name: str | None = None, stated: Mapping[str, str] | None = None
) -> tuple[Layout, Roles]:
    """The layout of a file, and its outputs by their part in it.

    The user may give the name of a layout, or state the names of outputs by role.
    """
    if name is None and stated is not None:
        layout = stated_layout(stated)
        return layout, layout.roles(file) or {}
    name = name or recognise(file)
    if name not in LAYOUTS:
        raise UnknownNameError("layout", name, list(LAYOUTS))
    layout = LAYOUTS[name]
    roles = layout.roles(file) or {}
    if not roles:
        raise InputError(layouts_message(f"these cannot be {name}", file.outputs))
    return layout, roles | (pick(stated, file.outputs, list(roles)) if stated else {})


def layouts_message(problem: str, outputs: Sequence[Output], names: Sequence[str] = ()) -> str:
    """A message that lists the file's outputs and the layouts to choose from."""
    listed = "\n".join(
        f"  {o.name}: {' x '.join(str(side or '?') for side in o.shape)}, {o.dtype}"
        for o in outputs
    )
    layouts = "\n".join(f"  {name}: {LAYOUTS[name].summary}" for name in names or LAYOUTS)
    return (
        f"ONNX detector: wanted outputs of a known layout, but {problem}. The file's outputs:\n"
        f"{listed}\nGive layout= one of\n{layouts}\nor say what each output is, as in "
        "outputs={'boxes': 'NAME', 'scores': 'NAME', 'labels': 'NAME'}, "
        "or write a function that returns boxes."
    )
