"""``chiaroscuro detectors``."""

from chiaroscuro.cli.console import print_json
from chiaroscuro.cli.options import AS_JSON, command


@command
def detectors(as_json: AS_JSON = False) -> None:
    """List the detectors that can be used now, and what would make the others usable."""
    from chiaroscuro.detectors.registry import describe_sources

    described = describe_sources()
    if as_json:
        print_json(
            [
                {
                    "name": source.name,
                    "summary": source.summary,
                    "examples": list(source.examples),
                    "usable": missing is None,
                    "missing": missing,
                }
                for source, missing in described
            ]
        )
        return
    wide = max(len(source.name) for source, _ in described)
    for source, missing in described:
        usable = "yes" if missing is None else "no"
        print(f"{usable:<4} {source.name:<{wide}} {source.summary}")
        if source.examples:
            print(f"{'':{5 + wide}} {', '.join(source.examples)}")
        if missing is not None:
            print(f"{'':{5 + wide}} not usable now: {missing}")
    print(f"{'yes':<4} {'function':<{wide}} a Python function: module:function, see the how-to")
