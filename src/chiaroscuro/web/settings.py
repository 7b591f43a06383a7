"""How the workbench is run."""

from dataclasses import dataclass

from chiaroscuro.core.limits import MAX_PIXELS, MAX_SIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkbenchSettings:
    """Settings of the workbench.

    Attributes:
        host: address to listen on.
        names: further host names under which the workbench is reached.
        password: required from every user; empty for none.
        detectors: names to choose from.
        runs: run folders of ``study`` to browse.
        device: where detectors run.
        max_upload_bytes: largest picture file, in bytes.
        max_pixels: pictures with more pixels are refused.
        max_side: longer side in pixels to which pictures are reduced.
    """

    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    password: str = ""
    detectors: tuple[str, ...] = ("centerface", "retinaface", "retinaface-paintings")
    runs: tuple[str, ...] = ()
    device: str = "auto"
    max_upload_bytes: int = 64 * 2**20
    max_pixels: int = MAX_PIXELS
    max_side: int = MAX_SIDE
