"""How large is the package, and how long does it take to import? Counts for one or more sources.

    python benchmarks/structure.py [SRC ...]

A SRC is a folder that holds ``chiaroscuro``, such as ``src`` or that of another checkout, so that
two states are measured side by side. Import times are the medians of several runs of
each, in turn.
"""

import ast
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 7
IMPORTS = ("chiaroscuro", "chiaroscuro.cli")


def counts(src: Path) -> dict[str, float]:
    """Lines by kind, files and functions."""
    lines = code = documented = imported = blank = untyped = 0
    files, functions = [], []
    for path in sorted(src.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        rows = text.splitlines()
        files.append(len(rows))
        blank += sum(not row.strip() for row in rows)
        untyped += text.count("dict[str, Any]")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported += node.end_lineno - node.lineno + 1
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append(node.end_lineno - node.lineno + 1)
            if isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module
            ) and ast.get_docstring(node):
                documented += node.body[0].end_lineno - node.body[0].lineno + 1
    lines = sum(files)
    code = lines - blank - documented - imported
    return {
        "lines": lines,
        "of code": code,
        "of docstrings": documented,
        "of imports": imported,
        "blank": blank,
        "files": len(files),
        "lines of the median file": statistics.median(files),
        "lines of the longest file": max(files),
        "functions over 60 lines": sum(n > 60 for n in functions),
        "lines of the longest function": max(functions),
        "dict[str, Any]": untyped,
    }


def import_ms(src: Path, name: str) -> float:
    """Time of a fresh Python that imports it, less that of one that imports nothing."""
    environment = {**os.environ, "PYTHONPATH": str(src)}
    spent = []
    for code in ("", f"import {name}"):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        spent.append(time.perf_counter() - began)
    return 1000 * (spent[1] - spent[0])


def main() -> None:
    sources = [Path(word) for word in sys.argv[1:]] or [Path(__file__).parents[1] / "src"]
    tables = [counts(src) for src in sources]
    for key in tables[0]:
        print(f"{key}: " + ", ".join(f"{table[key]:g}" for table in tables))
    for name in IMPORTS:
        times = [[import_ms(src, name) for src in sources] for _ in range(RUNS)]
        medians = [statistics.median(column) for column in zip(*times, strict=True)]
        print(f"import {name}, ms: " + ", ".join(f"{value:.0f}" for value in medians))


if __name__ == "__main__":
    main()
