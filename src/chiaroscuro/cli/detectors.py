"""``chiaroscuro detectors``."""

from chiaroscuro.cli.console import AS_JSON, errors_as_exit_status, print_json


def detectors(as_json: AS_JSON = False) -> None:
    """List the detectors that can be used now, and what would make the others usable."""
    with errors_as_exit_status():
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
        for source, missing in described:
            print(f"{'yes' if missing is None else 'no ':<4} {source.name:<13} {source.summary}")
            if source.examples:
                print(f"{'':18} {', '.join(source.examples)}")
            if missing is not None:
                print(f"{'':18} not usable now: {missing}")
        print(f"{'yes':<4} {'function':<13} a Python function: module:function, see the how-to")
