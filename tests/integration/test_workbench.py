"""The workbench over HTTP: who may come in, jobs, errors as sentences, many visitors at once."""

import io
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner
from waiting import PATIENCE_S
from workbench import BOX, DETECTORS, Visitor, painting_file, running

from chiaroscuro.cli import app
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.observe import observe
from chiaroscuro.testing import PlantedDetector
from chiaroscuro.web import jobs
from chiaroscuro.web.app import STATIC
from chiaroscuro.web.desk import Maps
from chiaroscuro.web.guard import is_loopback
from chiaroscuro.web.sessions import MAX_PICTURES, MAX_SESSIONS, Sessions

FOUND = {"box": list(BOX), "label": 0, "score": 0.9, "origin": "found"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("workbench")
    sys.path.insert(0, str(folder))
    try:
        with running(folder, max_upload_bytes=200_000, max_pixels=1_000_000) as where:
            yield where
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("workbench_faces", None)


@pytest.fixture
def visitor(address: str) -> Visitor:
    return Visitor(address)


def faces() -> object:
    return sys.modules["workbench_faces"]


def test_the_page_comes_before_torch_is_needed(address: str) -> None:
    page = httpx.get(address)
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text
    for name in (
        "main.js",
        "stage.js",
        "api.js",
        "believe.js",
        "figures.js",
        "study.js",
        "workbench.css",
    ):
        assert httpx.get(f"{address}/static/{name}").status_code == 200


def test_strangers_are_refused(address: str, visitor: Visitor) -> None:
    assert httpx.get(f"{address}/api/start").status_code == 401
    assert visitor.http.get("/", headers={"host": "evil.example"}).status_code == 403
    foreign = {"origin": "http://evil.example"}
    refused = visitor.http.post("/api/pictures", content=painting_file(), headers=foreign)
    assert refused.status_code == 403
    cross = {"sec-fetch-site": "cross-site"}
    assert visitor.http.post("/api/pictures", content=b"x", headers=cross).status_code == 403
    port = address.rsplit(":", 1)[1]
    named = {"origin": f"http://localhost:{port}", "host": f"localhost:{port}"}
    assert visitor.http.post("/api/pictures", content=b"x", headers=named).status_code == 400


def test_a_password_is_asked_where_there_is_one(tmp_path: Path) -> None:
    with running(tmp_path, password="chiaro e scuro") as address:
        http = Visitor(address).http
        http.follow_redirects = True
        assert "password" in http.get("/").text
        assert http.get("/api/start").status_code == 401
        wrong = http.post("/enter", data={"password": "guess"})
        assert wrong.status_code == 403
        assert http.get("/api/start").status_code == 401
        assert http.post("/enter", data={"password": "chiaro e scuro"}).status_code == 200
        assert http.get("/api/start").status_code == 200


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x.org", False)],
)
def test_which_addresses_need_none(host: str, *, alone: bool) -> None:
    assert is_loopback(host) == alone


def test_a_painting_is_explained(visitor: Visitor) -> None:
    picture = visitor.open()
    found = visitor.post(f"/api/pictures/{picture}/faces", detector=DETECTORS[0]).json()["faces"]
    assert [face["box"] for face in found] == [list(BOX)]
    begun = visitor.begin(picture, n_passes=80)
    assert begun.status_code == 202
    states = list(visitor.states(begun.json()["job"]))
    versions = [version for version, _ in states]
    assert versions == sorted(set(versions))
    last = states[-1][1]
    assert last["state"] == "done"
    assert last["done"] == 80
    (answer,) = last["answers"][DETECTORS[0]]
    assert answer["n_passes"] == 80
    assert answer["fidelity"] is None or answer["fidelity"] > 0.8
    assert answer["trust"]
    assert answer["shares"]["box"] > 0.5
    assert answer["reported"] == pytest.approx(250 / 255, abs=0.01)


def test_another_box_costs_no_pass(visitor: Visitor) -> None:
    picture = visitor.open()
    assert visitor.last(visitor.begin(picture).json()["job"])["state"] == "done"
    before = len(faces().CALLS)
    drawn = {"box": [35.5, 25, 58, 70], "label": None, "score": None, "origin": "drawn"}
    answer = visitor.post(
        f"/api/pictures/{picture}/explain", detectors=[DETECTORS[0]], targets=[drawn]
    ).json()["answers"][DETECTORS[0]][0]
    assert answer["n_passes"] == 60
    shown = visitor.http.get(
        f"/api/pictures/{picture}/map.png",
        params={"detector": DETECTORS[0], "box": "35.5,25,58,70", "sign": "positive"},
    )
    layer = np.asarray(Image.open(io.BytesIO(shown.content)))
    assert layer.shape == (90, 120, 4)
    assert layer[45, 45, 3] > layer[5, 110, 3]
    told = visitor.http.get(
        f"/api/pictures/{picture}/map.json",
        params={
            "detector": DETECTORS[0],
            "box": "35.5,25,58,70",
            "sign": "positive",
            "threshold": "0.25",
        },
    ).json()
    assert told["low"] == 0
    assert told["threshold"] == pytest.approx(told["high"] / 4)
    assert told["high_text"].startswith("+")
    assert "lowers" not in told["words"]
    assert told["unit"]
    unknown = {"detector": DETECTORS[0], "box": "35.5,25,58,70", "colours": "rainbowish"}
    for kind in ("png", "json"):
        refused = visitor.http.get(f"/api/pictures/{picture}/map.{kind}", params=unknown)
        assert refused.status_code == 400
        assert "rainbowish" in refused.json()["error"]
    passes = faces().CALLS[before:]
    assert sum(passes) <= 1  # the whole painting, to say whether the box is reported


def test_compared_under_the_same_masks(visitor: Visitor) -> None:
    picture = visitor.open()
    last = visitor.last(visitor.begin(picture, detectors=list(DETECTORS[:2])).json()["job"])
    assert set(last["answers"]) == set(DETECTORS[:2])
    where = {"box": ",".join(map(str, BOX)), "label": 0}
    names = ",".join(DETECTORS[:2])
    address = f"/api/pictures/{picture}/difference.png"
    assert visitor.http.get(address, params={**where, "detectors": names}).status_code == 200
    told = visitor.http.get(
        f"/api/pictures/{picture}/difference.json", params={**where, "detectors": names}
    ).json()
    assert told["unit"] == "standard errors of the difference"
    layer = Image.open(
        io.BytesIO(visitor.http.get(address, params={**where, "detectors": names}).content)
    )
    assert told["blank"] == (not np.asarray(layer)[..., 3].any())
    assert ("Nothing differs beyond chance" in told["words"]) == told["blank"]
    alone = visitor.http.get(address, params={**where, "detectors": DETECTORS[0]})
    assert alone.status_code == 400


def test_stopping_keeps_what_there_is(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = visitor.open()
    visitor.post(f"/api/pictures/{picture}/faces", detector=DETECTORS[0])
    monkeypatch.setattr(faces(), "PACE", 0.004)
    job = visitor.begin(picture, n_passes=5000).json()["job"]
    again = visitor.begin(picture)
    assert again.status_code == 409
    assert "running already" in again.json()["error"]
    last = {}
    for _, state in visitor.states(job):
        last = state
        if state.get("answers") and state["done"] < 5000:
            assert visitor.post(f"/api/jobs/{job}/stop").status_code == 200
    assert last["state"] == "stopped"
    assert 0 < last["done"] < 5000
    kept = visitor.post(
        f"/api/pictures/{picture}/explain", detectors=[DETECTORS[0]], targets=[FOUND]
    ).json()["answers"][DETECTORS[0]][0]
    assert kept["n_passes"] == last["done"]


def test_a_lost_connection_goes_on_with_the_present(visitor: Visitor) -> None:
    job = visitor.begin(visitor.open(), n_passes=200).json()["job"]
    states = visitor.states(job)
    seen, _ = next(states)
    states.close()
    rest = list(visitor.states(job, seen))
    assert all(version > seen for version, _ in rest)
    assert rest[-1][1]["state"] == "done"


def test_a_job_that_nobody_hears_ends(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "GRACE_S", 0.2)
    picture = visitor.open()
    visitor.post(f"/api/pictures/{picture}/faces", detector=DETECTORS[0])
    monkeypatch.setattr(faces(), "PACE", 0.01)
    job = visitor.begin(picture, n_passes=5000).json()["job"]
    states = visitor.states(job)
    next(states)
    states.close()
    deadline = time.monotonic() + PATIENCE_S
    while visitor.begin(picture, n_passes=10).status_code == 409:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert visitor.last(job)["state"] == "stopped"


def test_the_painting_changes_and_the_detector_answers(visitor: Visitor) -> None:
    picture = visitor.open()
    visitor.last(visitor.begin(picture).json()["job"])
    told = {"detector": DETECTORS[0], "target": FOUND, "direction": "deletion"}
    live = f"/api/pictures/{picture}/live"
    whole = visitor.post(live, **told, share=0).json()
    hidden = visitor.post(live, **told, share=0.5).json()
    assert whole["score"] > 0.9 > hidden["score"]
    curves = visitor.last(
        visitor.post(
            f"/api/pictures/{picture}/jobs", kind="curves", detector=DETECTORS[0], target=FOUND
        ).json()["job"]
    )["curves"]
    assert curves["insertion"]["area"] > curves["deletion"]["area"]
    changed = visitor.http.get(
        f"/api/pictures/{picture}/changed.jpg",
        params={
            "detector": DETECTORS[0],
            "box": ",".join(map(str, BOX)),
            "label": 0,
            "direction": "insertion",
            "share": 0.1,
        },
    )
    assert Image.open(io.BytesIO(changed.content)).size == (120, 90)


def test_files_to_take_away(
    visitor: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = visitor.open()
    visitor.last(visitor.begin(picture, detectors=list(DETECTORS[:2])).json()["job"])
    asked = {"detectors": ",".join(DETECTORS[:2]), "targets": json.dumps([FOUND])}

    def taken(name: str) -> bytes:
        answer = visitor.http.get(f"/api/pictures/{picture}/take/{name}", params=asked)
        assert answer.status_code == 200, answer.text
        assert "attachment" in answer.headers["content-disposition"]
        return answer.content

    assert Image.open(io.BytesIO(taken("overlay.png"))).format == "PNG"
    maps = np.load(io.BytesIO(taken("saliency.npz")))
    assert maps["saliency"].shape == (1, 90, 120)
    assert np.load(io.BytesIO(taken("evidence.npz")))["counts"].shape == (60,)
    manifest = json.loads(taken("manifest.json"))
    assert manifest["settings"]["n_passes"] == 60
    assert b"<html" in taken("report.html")
    (tmp_path / "painting.png").write_bytes(painting_file())
    script = taken("redo.py").decode()
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "redo.py", "exec"), {})
    again = np.load(next(tmp_path.glob("out/**/saliency.npz")))
    np.testing.assert_array_equal(again["saliency"], maps["saliency"])
    assert (
        visitor.http.get(f"/api/pictures/{picture}/take/all.exe", params=asked).status_code == 404
    )


def _too_many_pixels() -> bytes:
    """A small PNG of 2 megapixels, twice what the fixture allows."""
    stream = io.BytesIO()
    Image.new("1", (2000, 1000)).save(stream, "png")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"<!doctype html><p>no", "web page"),
        (b"MZ nothing that Pillow knows", "picture"),
        (painting_file()[:200], "cut off|damaged|broken|truncated"),
        (_too_many_pixels(), "pixels|megapixels"),
    ],
)
def test_files_that_are_no_pictures(visitor: Visitor, content: bytes, sentence: str) -> None:
    answer = visitor.upload(content)
    assert answer.status_code == 400
    assert re.search(sentence, answer.json()["error"])
    visitor.open()  # and the page goes on working


def test_a_file_that_is_too_large_is_not_read_to_its_end(visitor: Visitor) -> None:
    answer = visitor.upload(b"x" * 200_001)
    assert answer.status_code == 413
    assert "MB" in answer.json()["error"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"targets": [{"box": [10, 10, 10, 40]}]}, "without area|x1 < x2"),
        ({"targets": [{"box": [500, 500, 600, 600]}]}, "outside|picture"),
        ({"targets": [{"box": ["a"]}]}, "target"),
        ({"targets": []}, "draw a box"),
        ({"targets": [FOUND] * 25}, "At most 24"),
        ({"detectors": []}, "Choose one"),
        ({"detectors": ["os:system"]}, "no detector"),
        ({"n_passes": 10**9}, "Masks"),
        ({"n_passes": "many"}, "whole number"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wishes_that_cannot_be_met(visitor: Visitor, value: dict, sentence: str) -> None:
    answer = visitor.begin(visitor.open(), **value)
    assert answer.status_code == 400
    assert re.search(sentence, answer.json()["error"]), answer.json()


def test_nothing_is_found_in_the_dark(visitor: Visitor) -> None:
    picture = visitor.open(painting_file(face=0))
    found = visitor.post(f"/api/pictures/{picture}/faces", detector=DETECTORS[0])
    assert found.json() == {"faces": []}
    last = visitor.last(visitor.begin(picture).json()["job"])
    assert last["state"] == "done"
    assert "nothing in this map" in " ".join(last["answers"][DETECTORS[0]][0]["notes"])


def test_a_detector_that_raises(visitor: Visitor) -> None:
    picture = visitor.open()
    last = visitor.last(visitor.begin(picture, detectors=[DETECTORS[2]]).json()["job"])
    assert last["state"] == "failed"
    assert "the cable is loose" in last["error"]
    assert visitor.last(visitor.begin(picture).json()["job"])["state"] == "done"


def test_ten_visitors_at_once_get_their_own_answers(address: str) -> None:
    brightness = [120 + 12 * i for i in range(10)]
    together = threading.Barrier(10)

    def visit(face: int) -> tuple[float, float, str, str]:
        visitor = Visitor(address)
        picture = visitor.open(painting_file(face=face))
        together.wait(timeout=PATIENCE_S)
        job = visitor.begin(picture, n_passes=60).json()["job"]
        last = visitor.last(job)
        assert last["state"] == "done", last
        (answer,) = last["answers"][DETECTORS[0]]
        return answer["reported"], answer["mean_weight"], picture, job

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(visit, brightness))
    assert [reported for reported, *_ in answers] == pytest.approx(
        [face / 255 for face in brightness], abs=0.01
    )
    weights = [weight for _, weight, *_ in answers]
    assert weights == sorted(weights)
    stranger = Visitor(address)
    for _, _, picture, job in answers:
        assert stranger.http.get(f"/api/pictures/{picture}/picture.jpg").status_code == 404
        assert stranger.post(f"/api/jobs/{job}/stop").status_code == 404


def test_maps_are_bounded_and_made_anew() -> None:
    image = torch.zeros(3, 50, 60, dtype=torch.uint8)
    detector = PlantedDetector((10, 10, 30, 30), torch.ones(50, 60))
    evidence = observe(image, detector, n_passes=20)
    maps, made = Maps(limit_bytes=3 * 2 * 4 * 50 * 60), []

    def make() -> Explanation:
        made.append(1)
        return evidence.explain([[10, 10, 30, 30]])

    for key in (1, 2, 3, 1, 4, 1, 2):
        maps.get((key,), make)
    assert len(made) == 5  # four first times, and 2, which had gone
    assert maps._held == 3 * 2 * 4 * 50 * 60


def test_sessions_are_bounded_and_end() -> None:
    now, ended = [0.0], []
    sessions: Sessions[str] = Sessions(ended.append, clock=lambda: now[0])
    mine = sessions.of("mine")
    numbers = [mine.add(f"painting {i}") for i in range(MAX_PICTURES + 2)]
    assert mine.desk(numbers[0]) is None
    assert mine.desk(numbers[-1]) == f"painting {MAX_PICTURES + 1}"
    for i in range(MAX_SESSIONS):
        sessions.of(f"other {i}")
    assert ended == ["mine"]
    now[0] = 1e6
    sessions.of("late")
    assert len(ended) == 1 + MAX_SESSIONS


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_stand_out_from_their_ground() -> None:
    """Contrast of at least 4.5 to 1 (WCAG 2.2, criterion 1.4.3), for every colour of words."""
    style = (STATIC / "workbench.css").read_text()
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style))
    pairs = [
        (word, ground)
        for word in ("ink", "quiet", "gold", "alarm")
        for ground in ("ground", "panel")
    ]
    values = {pair: [colours[name] for name in pair] for pair in pairs}
    values["button"] = [colours["ink"], "#282b32"]
    values["main button"] = ["#1b1407", colours["gold"]]
    for pair, (word, ground) in values.items():
        high, low = sorted((_luminance(word), _luminance(ground)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, pair


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--host", "0.0.0.0"], "give a --password"),
        (["no-such-run"], "is no run folder"),
        (["--port", "70000"], "Error"),
    ],
)
def test_wrong_ways_to_start(words: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["app", "--no-browser", *words], env={"COLUMNS": "400"})
    assert result.exit_code == 2
    assert sentence in result.output


def test_a_port_that_is_taken(address: str) -> None:
    port = address.rsplit(":", 1)[1]
    result = CliRunner().invoke(app, ["app", "--no-browser", "--port", port])
    assert result.exit_code == 1
    assert "choose another --port" in " ".join(result.output.split())
