"""Where pictures come from and what is printed: addresses, odd names, signals, a full stdout."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner, Result
from waiting import wait_for

from chiaroscuro.cli import app
from chiaroscuro.studies.run import Run

DETECTOR = """
import os, sys, time

def find(images):
    return [[[20, 10, 44, 30, float(p[:, 10:30, 20:44].mean())]] for p in images]

def fails(images):
    raise RuntimeError("the cable is loose")

def fails_on_dark(images):
    if float(images[0].max()) < 0.5:
        raise RuntimeError("too dark")
    return find(images)

def held(images):
    if len(os.listdir("run/pictures")) > 1:
        print("held", file=sys.stderr, flush=True)
        time.sleep(3600)
    return find(images)
"""
FIND = ("-d", "seen:find", "--n-passes", "12")


def paint(path: Path | str, brightness: int = 220) -> None:
    """A dark picture, 64 wide and 40 high, with one bright patch."""
    pixels = np.full((40, 64, 3), 12, dtype=np.uint8)
    pixels[10:30, 20:44] = brightness
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "png")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "seen.py").write_text(DETECTOR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("seen", None)
    yield tmp_path
    sys.modules.pop("seen", None)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a server of the folder ``web``."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    paint("web/La Tour.png")
    paint("web/two/b.png", 180)
    handler = partial(Quiet, directory="web")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run(*words: str, expect: int = 0) -> Result:
    """A command; without close-ups, which take time, unless they are in its words."""
    plain = words[:1] in (("explain",), ("study",)) and not {"--closeup", "--help"} & {*words}
    result = CliRunner().invoke(app, [*words, *["--no-closeup"] * plain])
    assert result.exit_code == expect, result.output
    return result


def process(*words: str, **how: object) -> "subprocess.Popen[str]":
    plain = words[0] in ("explain", "study")
    command = [sys.executable, "-m", "chiaroscuro", *words, *["--no-closeup"] * plain]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    return subprocess.Popen(command, env=environment, text=True, **how)  # type: ignore[call-overload]


def ended(*words: str, **how: object) -> tuple[int, str]:
    """Exit status and what was said on stderr."""
    running = process(*words, stderr=subprocess.PIPE, **how)
    said = running.communicate()[1]
    return running.returncode, said


def test_addresses_stand_wherever_a_picture_does(folder: Path, address: str) -> None:
    first, second = f"{address}/La%20Tour.png?size=full", f"{address}/two/b.png"
    found = run("detect", first, second, "-d", "seen:find").stdout
    assert f"{first}  face  0.863  20.0,10.0,44.0,30.0" in found
    run("explain", first, second, *FIND, "-o", "out", "--fill", second)
    assert sorted(p.name for p in Path("out").iterdir()) == ["La Tour", "b"]
    manifest = json.loads(Path("out/La Tour/manifest.json").read_text())
    assert manifest["picture"]["source"] == first
    content = {
        "images": [{"id": 1, "file_name": "La Tour.png", "width": 64, "height": 40}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 10, 24, 20]}],
        "categories": [{"id": 1, "name": "face"}],
    }
    Path("annotations.json").write_text(json.dumps(content))
    evaluated = run("evaluate", "out", "--no-baselines", "-a", "annotations.json")
    assert "whole set, insertion" in evaluated.stdout
    assert "b.png" in evaluated.stderr


def test_a_study_of_addresses(folder: Path, address: str) -> None:
    assert "1 found" in run("study", f"{address}/two/b.png", *FIND, "-o", "one").stdout
    paint("local.png")
    Path("list.txt").write_text(
        f"# a list\n{address}/La%20Tour.png\n\nlocal.png\n{address}/absent.png\nnowhere.png\n"
    )
    result = run("study", "list.txt", *FIND, "-o", "run", "--fiftyone", expect=1)
    assert "2 pictures" in result.stdout
    assert "absent: " in result.stderr
    assert "answered 404" in result.stderr
    assert "nowhere: there is no file" in result.stderr
    paint("web/absent.png")
    assert "3 pictures" in run("study", "list.txt", *FIND, "-o", "run", expect=1).stdout
    paint("web/La Tour.png", 219)
    changed = run("study", "list.txt", *FIND, "-o", "run", expect=1)
    assert "1 picture changed, or its annotations have (La Tour)" in changed.stderr


def test_an_address_that_is_none_says_so(folder: Path) -> None:
    refused = run("detect", "ftp://h/a.png", "-d", "seen:find", expect=1)
    assert "http:// or https://" in refused.stderr
    run("study", "http://127.0.0.1:1/a.png", *FIND, "-o", "run", expect=1)


def test_pictures_of_one_name_get_different_folders(folder: Path) -> None:
    for i, name in enumerate(("a/x.png", "b/x.png", "c.png")):
        paint(name, 200 + i)
    words = ("explain", "a/x.png", "b/x.png", "c.png", "./c.png", *FIND, "-o", "out")
    run(*words)
    assert sorted(p.name for p in Path("out").iterdir()) == ["a__x.png", "b__x.png", "c"]
    for name in ("a", "b"):
        manifest = json.loads(Path(f"out/{name}__x.png/manifest.json").read_text())
        assert manifest["picture"]["source"] == f"{name}/x.png"
    before = Path("out/a__x.png/evidence.npz").stat().st_mtime_ns
    run(*words)
    assert Path("out/a__x.png/evidence.npz").stat().st_mtime_ns == before
    run("explain", "a/x.png", *FIND, "-o", "out")
    refused = run("explain", "b/x.png", *FIND, "-o", "out", expect=1)
    assert "holds the results of a/x.png" in refused.stderr
    run("explain", "b/x.png", *FIND, "-o", "out", "--overwrite")


def test_names_do_not_lead_out_of_the_output(folder: Path) -> None:
    for name in ("...png", "....png", "a?b.png"):
        paint(name)
    run("explain", "...png", "....png", "a?b.png", *FIND, "-o", "deep/out")
    assert not list(Path("deep").glob("*.*"))
    assert len(list(Path("deep/out").glob("*/manifest.json"))) == 3


def test_a_study_whose_names_collide(folder: Path) -> None:
    names = [
        "a/b.png",
        "a__b.png",
        "c.jpg",
        "c.png",
        "._c.png",
        "D.png",
        "d.png",
        f"{'x' * 240}.png",
    ]
    for i, name in enumerate(names):
        paint(f"set/{name}", 180 + i)
    result = run("study", "set", *FIND, "-o", "run")
    assert "7 pictures" in result.stdout
    assert len(list(Path("run/pictures").glob("*/manifest.json"))) == 7
    assert "7 pictures" in run("study", "set", *FIND, "-o", "run").stdout


def test_names_that_are_no_utf8_stop_nothing(folder: Path) -> None:
    name = os.fsdecode(b"set/caf\xe9.png")
    try:
        paint(name)
    except OSError:
        pytest.skip("this disk allows no such name")
    paint("set/plain.png")
    assert r"caf\udce9.png" in run("detect", name, "-d", "seen:find").stdout
    assert json.loads(run("detect", name, "-d", "seen:find", "--json").stdout)[0]["picture"] == name
    run("explain", name, "set/plain.png", *FIND, "-o", "out")
    assert json.loads(Path("out/caf_/manifest.json").read_text())["picture"]["source"] == name
    result = run("study", "set", *FIND, "-o", "run", "--fiftyone")
    assert "2 pictures" in result.stdout
    rows = pq.read_table("run/pictures.parquet").to_pylist()
    assert rows[0]["source"] == r"set/caf\udce9.png"
    assert "caf" in Path("run/report.html").read_text(encoding="utf-8")
    status, said = ended("detect", name, "absent\udce9.png", "-d", "seen:find")
    assert (status, "Traceback" in said) == (1, False)


def test_a_formula_in_a_name_is_a_name(folder: Path) -> None:
    paint(r"a$\frac$_{.png")
    run("explain", r"a$\frac$_{.png", *FIND, "-o", "out")


def test_unreadable_pictures_are_reported_and_skipped_by_every_command(folder: Path) -> None:
    for i, name in enumerate(("good.png", "set/good.png")):
        paint(name, 200 + i)
    for name in ("broken.jpg", "set/broken.jpg", "set/empty.png"):
        Path(name).write_bytes(b"\xff\xd8\xff"[: 3 * ("empty" not in name)])
    result = run("detect", "broken.jpg", "absent.png", "good.png", "-d", "seen:find", expect=1)
    assert "broken.jpg" in result.stderr
    assert "absent.png" in result.stderr
    assert "good.png  face" in result.stdout
    result = run("study", "set", *FIND, "-o", "run", expect=1)
    assert "broken: set/broken.jpg" in result.stderr
    assert "empty: set/empty.png is empty" in result.stderr
    assert "1 picture," in result.stdout


def test_a_detector_that_fails_on_one_picture_of_many(folder: Path) -> None:
    paint("dark.png", 30)
    paint("good.png")
    result = run("detect", "dark.png", "good.png", "-d", "seen:fails_on_dark", expect=1)
    assert "too dark" in result.stderr
    assert "good.png  face" in result.stdout


def test_where_every_picture_fails_the_reason_is_printed(folder: Path) -> None:
    paint("set/a.png")
    paint("set/b.png", 200)
    result = run("study", "set", "-d", "seen:fails", "--n-passes", "9", "-o", "run", expect=1)
    assert "a: detector seen:fails failed on the whole picture" in result.stderr
    assert result.stderr.count("the cable is loose") == 2
    assert "all 2 that were tried failed" in result.stderr


def test_a_picture_of_the_same_size_in_bytes_is_noticed(folder: Path) -> None:
    for i, name in enumerate(("a", "b")):
        Image.new("L", (64, 40), 90 + i).save(f"{name}.bmp")
    assert Path("a.bmp").stat().st_size == Path("b.bmp").stat().st_size
    Path("set").mkdir()
    Path("set/x.bmp").write_bytes(Path("a.bmp").read_bytes())
    run("study", "set", *FIND, "-o", "run")
    Path("set/x.bmp").write_bytes(Path("b.bmp").read_bytes())
    assert "1 picture changed" in run("study", "set", *FIND, "-o", "run", expect=1).stderr
    Path("set/x.bmp").write_bytes(Path("a.bmp").read_bytes())
    run("study", "set", *FIND, "-o", "run")


def test_sigterm_keeps_what_is_done_of_a_study(folder: Path) -> None:
    for i in range(3):
        paint(f"set/{i}.png", 200 + i)
    running = process(
        *("study", "set", "-d", "seen:held", "--n-passes", "9", "-o", "run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(running, "held")
    running.terminate()
    printed, said = running.communicate()
    assert running.returncode == 1
    assert "The same command resumes from there" in said
    assert "Traceback" not in said
    assert Run.load("run").done("0")
    assert printed == ""


def test_targets_have_title_detector_and_image_id(folder: Path) -> None:
    paint("one.png")
    paint("two.png", 200)
    for ids in ([7, 9], ["seven", 9]):
        images = [
            {"id": i, "file_name": f"{name}.png", "width": 64, "height": 40, "title": f"The {name}"}
            for i, name in zip(ids, ("one", "two"), strict=True)
        ]
        content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "face"}]}
        Path("annotations.json").write_text(json.dumps(content))
        run("study", "annotations.json", *FIND, "-o", f"run-{ids[0]}")
        rows = pq.read_table(f"run-{ids[0]}/targets.parquet").to_pylist()
        assert [row["title"] for row in rows] == ["The one", "The two"]
        assert {row["detector"] for row in rows} == {"seen:find"}
        assert [row["image_id"] for row in rows] == (ids if ids[0] == 7 else ["seven", "9"])


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"


def test_a_hostile_run_folder_runs_nothing_in_its_report(folder: Path) -> None:
    paint("set/one.png")
    run("study", "set", *FIND, "-o", "run")
    evaluation = Path("run/evaluation-chiaroscuro")
    evaluation.mkdir()
    svg = "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(3)'><script>x</script></svg>"
    (evaluation / "collection.svg").write_text(svg)
    record = json.loads(Path("run/run.json").read_text())
    record["data"] |= {"source": HOSTILE, "notes": [HOSTILE], "missing": [HOSTILE]}
    Path("run/run.json").write_text(json.dumps(record))
    file = Path("run/pictures/one/manifest.json")
    manifest = json.loads(file.read_text())
    manifest["study"]["about"] = {"title": HOSTILE}
    manifest["study"]["targets"][0]["match"] = HOSTILE
    manifest["notes"] = [{"kind": "one colour", "target": None, "values": {}, "text": HOSTILE}]
    file.write_text(json.dumps(manifest))
    run("study", "set", *FIND, "-o", "run")
    run("compare", "run", "run", "-o", "both")
    for page in ("run/report.html", "both/report.html"):
        text = Path(page).read_text().lower()
        assert "&lt;script&gt;" in text
        for harm in ("<script", "<img src=x", "onload=", "javascript:"):
            assert harm not in text


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@FULL
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_stdout_ends_with_a_sentence(
    folder: Path, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    paint("a.png")
    for words in (("detect", "a.png", "-d", "seen:find"), ("--help",)):
        with Path("/dev/full").open("w") as full:
            status, said = ended(*words, stdout=full)
        assert status == 1
        assert said.count("\n") == 1
        assert said.startswith("error stdout cannot be written (No space left on device); files")


def test_a_closed_stdout_ends_with_a_sentence_and_a_gone_reader_without(folder: Path) -> None:
    paint("a.png")
    words = ("explain", "a.png", *FIND, "-o", "out")
    status, said = ended(*words, preexec_fn=lambda: os.close(1))
    assert status == 1
    assert "error stdout cannot be written (it is closed)" in said
    assert "Traceback" not in said
    assert Path("out/a/manifest.json").is_file()
    reader, writer = os.pipe()
    os.close(reader)
    status, said = ended("detect", "a.png", "-d", "seen:find", stdout=writer)
    os.close(writer)
    assert (status, said) == (1, "")


@FULL
def test_a_full_stderr_stops_nothing(folder: Path) -> None:
    paint("a.png")
    with Path("/dev/full").open("w") as full:
        running = process(
            "explain", "a.png", *FIND, "-o", "out", stdout=subprocess.PIPE, stderr=full
        )
        printed, _ = running.communicate()
    assert running.returncode == 0
    assert "a.png  1 target" in printed
