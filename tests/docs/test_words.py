"""Plain English: words that are not used in pages, help, templates and docstrings.

Each entry is a word or phrase to avoid and what to write instead. In pages, code and what stands in
double quotes is not searched: the names that the paper gives its models may be quoted.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTEAD = {
    r"go(es|ing)? on\b(?! (the|a|top))|gone on\b|went on\b": "resume, continue",
    r"mark(s|ed)?['’]? box(es)?": "annotated box, annotation",
    r"\bmarked (data|pictures|photographs|faces)": "annotated",
    r"\bmarks\b(?!\.json)": "annotations",
    r"\balarms?\b": "false positive",
    r"\bimagined\b": "false positive",
    r"\bmend(s|ed|ing)?\b": "fix, remedy",
    r"\banew\b": "again",
    r"by drawing \w+ (again|anew)|by drawing anew": "bootstrap interval (resampling pictures)",
    r"\bdesks?\b": "session, workspace",
    r"\bvisitors?\b": "user",
    r"\btak(e|es|en|ing) (it |them )?away\b": "export, download, remove",
    r"\bmodel ?[123]\b": "photo-trained, painting-trained detector",
    r"methods that (only )?(ask|look in)\w*": "black-box methods, white-box methods",
    r"writes and speaks": "writes files and logs",
    r"keeps what was known": "weight of the original model in the average",
    r"(unless|if) (told|asked) otherwise": "by default",
    r"(was|is|are|be) told\b(?! (from|apart))": "set, stated, reported",
    r"\b(what|who) (was|is) asked\b": "the request, the settings",
    r"that is drawn\b": "random, plotted or user-drawn",
    r"\bnames? the remedy\b|how to mend": "how to fix it",
    r"IoU from which": "minimum IoU",
    r"\b(pictures|passes|cells|crops|rows?|maps?|masks?|pass|row|file|page|folder|entry|box|line|column|"
    r"script|bar|weight|step|call|picture|circle|sheet|method) (a|an) (detector )?"
    r"(call|pass|step|side|picture|mask|target|file|method|metric|pixel|page|command|axis|pair|cell|box|"
    r"channel|row|map|query|process|module|figure)\b": "per",
}
OLD = {re.compile(pattern, re.IGNORECASE): better for pattern, better in INSTEAD.items()}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
CODE = re.compile(r"^```(?!text).*?^```|`[^`\n]*`|\"[^\"\n]*\"", re.MULTILINE | re.DOTALL)


def test_old_words_are_gone() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]!r}; write: {better}"
        for path, number, line in lines()
        for pattern, better in OLD.items()
        for match in pattern.finditer(line)
    ]
    assert not found, f"{len(found)} places\n" + "\n".join(sorted(set(found)))


def lines() -> Iterator[tuple[Path, int, str]]:
    """Every line that a person reads; help texts are strings and docstrings of ``cli``."""
    for path in [*PAGES, *sorted((ROOT / "docs").rglob("*.md"))]:
        yield from numbered(path, prose(path.read_text(encoding="utf-8")))
    package = ROOT / "src" / "chiaroscuro"
    for path in sorted([*package.rglob("*.html"), *package.rglob("*.js"), *package.rglob("*.md")]):
        yield from numbered(path, path.read_text(encoding="utf-8"))
    for path in sorted([*package.rglob("*.py"), *(ROOT / "docs").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for number, line in enumerate(node.value.splitlines(), node.lineno):
                    yield path, number, line


def numbered(path: Path, text: str) -> Iterator[tuple[Path, int, str]]:
    return ((path, number, line) for number, line in enumerate(text.splitlines(), 1))


def prose(page: str) -> str:
    """A page without its code, which keeps its line numbers."""
    return CODE.sub(lambda code: "\n" * code[0].count("\n"), page)


def test_the_list_catches_what_it_is_for() -> None:
    bad = [
        "an earlier run in it goes on.",
        "IoU from which a detection has a marked box",
        "the false alarm",
        "Pictures a detector call",
        "Asked of every visitor",
        "averaging keeps what was known",
        "The first process alone writes and speaks",
        "with its interval by drawing paintings anew",
        "Model3 misses it",
    ]
    good = [
        "It is placed on the desktop.",
        "The run is resumed.",
        "annotated box",
        "pictures per call",
        "hidden pixels stand out on a light ground",
    ]
    assert all(any(pattern.search(line) for pattern in OLD) for line in bad)
    assert not any(pattern.search(line) for pattern in OLD for line in good)
