"""The workbench over HTTP: access, jobs, errors as sentences, many users at once."""

import io
import json
import re
import sys
import threading
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
from workbench import BOX, DETECTORS, User, held, painting_file, running

from chiaroscuro.cli import app
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.observe import observe
from chiaroscuro.results.picture import Picture
from chiaroscuro.testing import PlantedDetector
from chiaroscuro.web import app as workbench_app
from chiaroscuro.web import jobs
from chiaroscuro.web.guard import is_loopback
from chiaroscuro.web.painting import Detectors, Maps, Painting
from chiaroscuro.web.sessions import IDLE_S, MAX_PAINTINGS, MAX_SESSIONS, Sessions

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
def user(address: str) -> User:
    return User(address)


def faces() -> object:
    return sys.modules["workbench_faces"]


def test_the_page_comes_before_torch_is_needed(address: str) -> None:
    page = httpx.get(address)
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text
    static = Path(workbench_app.__file__).parent / "static"
    for path in static.iterdir():
        assert httpx.get(f"{address}/static/{path.name}").status_code == 200


def test_requests_without_a_session_are_refused(address: str, user: User) -> None:
    assert httpx.get(f"{address}/api/start").status_code == 401
    assert user.http.get("/", headers={"host": "evil.example"}).status_code == 403
    foreign = {"origin": "http://evil.example"}
    refused = user.http.post("/api/pictures", content=painting_file(), headers=foreign)
    assert refused.status_code == 403
    cross = {"sec-fetch-site": "cross-site"}
    assert user.http.post("/api/pictures", content=b"x", headers=cross).status_code == 403
    port = address.rsplit(":", 1)[1]
    named = {"origin": f"http://localhost:{port}", "host": f"localhost:{port}"}
    assert user.http.post("/api/pictures", content=b"x", headers=named).status_code == 400


def test_a_password_is_required_where_one_is_set(tmp_path: Path) -> None:
    with running(tmp_path, password="chiaro e scuro") as address:
        http = User(address).http
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
def test_which_addresses_need_no_password(host: str, *, alone: bool) -> None:
    assert is_loopback(host) == alone


def test_a_painting_is_explained(user: User) -> None:
    picture = user.open()
    found = user.post(f"/api/pictures/{picture}/faces", detector=DETECTORS[0]).json()["faces"]
    assert [face["box"] for face in found] == [list(BOX)]
    begun = user.begin(picture, n_passes=80)
    assert begun.status_code == 202
    states = list(user.states(begun.json()["job"]))
    versions = [version for version, _ in states]
    assert versions == sorted(set(versions))
    last = states[-1][1]
    assert last["state"] == "done"
    assert last["done"] >= 160  # the map's, and the close-up's
    (answer,) = last["answers"][DETECTORS[0]]
    assert answer["n_passes"] == 80
    assert answer["closeup"]["source"]["n_masks"] == 80
    assert answer["closeup_trust"]
    assert answer["fidelity"] is None or answer["fidelity"] > 0.8
    assert answer["trust"]
    assert answer["shares"]["box"] > 0.5
    assert answer["reported"] == pytest.approx(250 / 255, abs=0.01)


def test_a_close_up_is_shown_once_its_face_is_explained(user: User) -> None:
    picture = user.open()
    faces_box, other = ",".join(map(str, BOX)), "5,5,25,30"

    def closeup(box: str, **label: str) -> httpx.Response:
        params = {"detector": DETECTORS[0], "box": box, **label}
        return user.http.get(f"/api/pictures/{picture}/closeup.jpg", params=params)

    assert user.last(user.begin(picture).json()["job"])["state"] == "done"
    shown = closeup(faces_box, label="0")
    assert shown.headers["content-type"] == "image/jpeg"
    width, height = Image.open(io.BytesIO(shown.content)).size
    assert max(width, height) >= 480
    assert closeup(other).status_code == 404
    assert "Explain it first" in closeup(other).json()["error"]
    target = {"box": [5, 5, 25, 30], "label": None, "score": None, "origin": "drawn"}
    assert user.last(user.begin(picture, targets=[target]).json()["job"])["state"] == "done"
    assert closeup(other).status_code == 200
    assert closeup(faces_box, label="0").content == shown.content  # it is kept


def test_another_box_needs_no_pass(user: User) -> None:
    picture = user.open()
    assert user.last(user.begin(picture).json()["job"])["state"] == "done"
    before = len(faces().CALLS)
    drawn = {"box": [35.5, 25, 58, 70], "label": None, "score": None, "origin": "drawn"}
    answer = user.post(
        f"/api/pictures/{picture}/explain", detectors=[DETECTORS[0]], targets=[drawn]
    ).json()["answers"][DETECTORS[0]][0]
    assert answer["n_passes"] == 60
    shown = user.http.get(
        f"/api/pictures/{picture}/map.png",
        params={"detector": DETECTORS[0], "box": "35.5,25,58,70", "sign": "positive"},
    )
    layer = np.asarray(Image.open(io.BytesIO(shown.content)))
    assert layer.shape == (90, 120, 4)
    assert layer[45, 45, 3] > layer[5, 110, 3]
    legend = user.http.get(
        f"/api/pictures/{picture}/map.json",
        params={
            "detector": DETECTORS[0],
            "box": "35.5,25,58,70",
            "sign": "positive",
            "threshold": "0.25",
        },
    ).json()
    assert legend["low"] == 0
    assert legend["threshold"] == pytest.approx(legend["high"] / 4)
    assert legend["high_text"].startswith("+")
    assert "lowers" not in legend["words"]
    assert legend["unit"]
    unknown = {"detector": DETECTORS[0], "box": "35.5,25,58,70", "colours": "rainbowish"}
    for kind in ("png", "json"):
        refused = user.http.get(f"/api/pictures/{picture}/map.{kind}", params=unknown)
        assert refused.status_code == 400
        assert "rainbowish" in refused.json()["error"]
    passes = faces().CALLS[before:]
    assert sum(passes) <= 1  # the whole painting, to say whether the box is reported


def test_compared_under_the_same_masks(user: User) -> None:
    picture = user.open()
    last = user.last(user.begin(picture, detectors=list(DETECTORS[:2])).json()["job"])
    assert set(last["answers"]) == set(DETECTORS[:2])
    where = {"box": ",".join(map(str, BOX)), "label": 0}
    names = ",".join(DETECTORS[:2])
    address = f"/api/pictures/{picture}/difference.png"
    assert user.http.get(address, params={**where, "detectors": names}).status_code == 200
    legend = user.http.get(
        f"/api/pictures/{picture}/difference.json", params={**where, "detectors": names}
    ).json()
    assert legend["unit"] == "standard errors of the difference"
    layer = Image.open(
        io.BytesIO(user.http.get(address, params={**where, "detectors": names}).content)
    )
    assert legend["blank"] == (not np.asarray(layer)[..., 3].any())
    assert ("Nothing differs beyond chance" in legend["words"]) == legend["blank"]
    alone = user.http.get(address, params={**where, "detectors": DETECTORS[0]})
    assert alone.status_code == 400


def test_stopping_keeps_the_evidence(user: User) -> None:
    picture = user.open()
    last = {}
    with held(2) as release:
        job = user.begin(picture, n_passes=5000).json()["job"]
        again = user.begin(picture)
        assert again.status_code == 409
        assert "already in progress" in again.json()["error"]
        for _, state in user.states(job):
            last = state
            if state.get("answers") and state["done"]:
                assert user.post(f"/api/jobs/{job}/stop").status_code == 200
                release()
    assert last["state"] == "stopped"
    assert 0 < last["done"] < 5000
    kept = user.post(
        f"/api/pictures/{picture}/explain", detectors=[DETECTORS[0]], targets=[FOUND]
    ).json()["answers"][DETECTORS[0]][0]
    assert kept["n_passes"] == last["done"]


def test_a_lost_connection_resumes_with_the_current_state(user: User) -> None:
    with held(1):
        job = user.begin(user.open(), n_passes=200).json()["job"]
        states = user.states(job)
        seen, _ = next(states)
        states.close()
    rest = list(user.states(job, seen))
    assert all(version > seen for version, _ in rest)
    assert rest[-1][1]["state"] == "done"


def test_a_job_without_a_listener_ends(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped, stop = threading.Event(), jobs.Job.stop
    monkeypatch.setattr(jobs.Job, "stop", lambda job: (stop(job), stopped.set()))
    picture = user.open()
    with held(1):
        job = user.begin(picture, n_passes=5000).json()["job"]
        states = user.states(job)
        next(states)
        monkeypatch.setattr(jobs, "GRACE_S", 0.0)
        states.close()
        assert stopped.wait(PATIENCE_S)
    assert user.last(job)["state"] == "stopped"


def test_the_queue_counts_the_runs_ahead(address: str) -> None:
    users = [User(address) for _ in range(3)]
    with held(0) as release:
        started = [user.begin(user.open()).json()["job"] for user in users]
        (_, first), (_, second), (_, third) = (
            next(state for state in user.states(job) if "ahead" in state[1])
            for user, job in zip(users, started, strict=True)
        )
        assert first["ahead"] == 0
        assert (second["state"], second["ahead"]) == ("queued", 1)
        assert (third["state"], third["ahead"]) == ("queued", 2)
        users[0].post(f"/api/jobs/{started[0]}/stop")
        release()
    assert [user.last(job)["state"] for user, job in zip(users, started, strict=True)] == [
        "stopped",
        "done",
        "done",
    ]


def test_the_detector_runs_on_a_changed_painting(user: User) -> None:
    picture = user.open()
    user.last(user.begin(picture).json()["job"])
    change = {"detector": DETECTORS[0], "target": FOUND, "direction": "deletion"}
    live = f"/api/pictures/{picture}/live"
    whole = user.post(live, **change, share=0).json()
    hidden = user.post(live, **change, share=0.5).json()
    assert whole["score"] > 0.9 > hidden["score"]
    curves = user.last(
        user.post(
            f"/api/pictures/{picture}/jobs", kind="curves", detector=DETECTORS[0], target=FOUND
        ).json()["job"]
    )["curves"]
    assert curves["insertion"]["area"] > curves["deletion"]["area"]
    changed = user.http.get(
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


def test_files_to_export(user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = user.open()
    user.last(user.begin(picture, detectors=list(DETECTORS[:2])).json()["job"])
    asked = {"detectors": ",".join(DETECTORS[:2]), "targets": json.dumps([FOUND])}

    def exported(name: str) -> bytes:
        answer = user.http.get(f"/api/pictures/{picture}/export/{name}", params=asked)
        assert answer.status_code == 200, answer.text
        assert "attachment" in answer.headers["content-disposition"]
        return answer.content

    assert Image.open(io.BytesIO(exported("overlay.png"))).format == "PNG"
    maps = np.load(io.BytesIO(exported("saliency.npz")))
    assert maps["saliency"].shape == (1, 90, 120)
    assert np.load(io.BytesIO(exported("evidence.npz")))["counts"].shape >= (60,)
    manifest = json.loads(exported("manifest.json"))
    assert manifest["settings"]["n_passes"] == 60
    assert b"<html" in exported("report.html")
    (tmp_path / "painting.png").write_bytes(painting_file())
    script = exported("redo.py").decode()
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "redo.py", "exec"), {})
    again = np.load(next(tmp_path.glob("out/**/saliency.npz")))
    np.testing.assert_array_equal(again["saliency"], maps["saliency"])
    assert user.http.get(f"/api/pictures/{picture}/export/all.exe", params=asked).status_code == 404


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
def test_files_that_are_no_pictures(user: User, content: bytes, sentence: str) -> None:
    answer = user.upload(content)
    assert answer.status_code == 400
    assert re.search(sentence, answer.json()["error"])
    user.open()  # the workbench still works


def test_a_file_that_is_too_large_is_not_read_to_its_end(user: User) -> None:
    answer = user.upload(b"x" * 200_001)
    assert answer.status_code == 413
    assert "MB" in answer.json()["error"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"targets": [{"box": [10, 10, 10, 40]}]}, "without area|x1 < x2"),
        ({"targets": [{"box": [500, 500, 600, 600]}]}, "outside|picture"),
        ({"targets": [{"box": ["a"]}]}, r"targets\[0\].box: wanted a list of 4"),
        ({"targets": [{"box": [1, 2, "x", 4]}]}, r"targets\[0\].box\[2\]: wanted a number"),
        ({"targets": [{"label": 0}]}, r"targets\[0\].box is absent"),
        ({"targets": []}, "targets: wanted 1 to 24 boxes, got 0; choose a face or draw a box"),
        ({"targets": [FOUND] * 25}, "targets: wanted 1 to 24 boxes, got 25"),
        ({"targets": "all"}, "targets: wanted a list"),
        ({"detectors": []}, "detectors: wanted one detector or two different ones"),
        ({"detectors": [DETECTORS[0]] * 2}, "detectors: wanted one detector or two different"),
        ({"detectors": ["os:system"]}, "detector: wanted one of"),
        ({"n_passes": 10**9}, "n_passes: wanted a whole number from 10 to 5000"),
        ({"n_passes": "many"}, "n_passes: wanted a whole number"),
        ({"seed": -1}, "seed: wanted a whole number"),
        ({"kind": "dance"}, "kind: wanted explain or curves"),
        ({"kind": "curves"}, "detector is absent"),
    ],
)
def test_requests_that_are_refused(user: User, value: dict, sentence: str) -> None:
    answer = user.begin(user.open(), **value)
    assert answer.status_code == 400
    assert re.search(sentence, answer.json()["error"]), answer.json()


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"detectors": NaN}'])
def test_bodies_that_are_no_json_object(user: User, content: bytes) -> None:
    answer = user.http.post(f"/api/pictures/{user.open()}/jobs", content=content)
    assert answer.status_code == 400
    assert "JSON" in answer.json()["error"] or "wanted an object" in answer.json()["error"]


def test_nothing_is_found_in_the_dark(user: User) -> None:
    picture = user.open(painting_file(face=0))
    found = user.post(f"/api/pictures/{picture}/faces", detector=DETECTORS[0])
    assert found.json() == {"faces": []}
    last = user.last(user.begin(picture).json()["job"])
    assert last["state"] == "done"
    assert "nothing in this map" in " ".join(last["answers"][DETECTORS[0]][0]["notes"])


def test_a_detector_that_raises(user: User) -> None:
    picture = user.open()
    last = user.last(user.begin(picture, detectors=[DETECTORS[2]]).json()["job"])
    assert last["state"] == "failed"
    assert "the cable is loose" in last["error"]
    assert user.last(user.begin(picture).json()["job"])["state"] == "done"


def test_ten_users_at_once_get_their_own_results(address: str) -> None:
    brightness = [120 + 12 * i for i in range(10)]
    together = threading.Barrier(10)

    def visit(face: int) -> tuple[float, float, str, str]:
        user = User(address)
        picture = user.open(painting_file(face=face))
        together.wait(timeout=PATIENCE_S)
        job = user.begin(picture, n_passes=60).json()["job"]
        last = user.last(job)
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
    stranger = User(address)
    for _, _, picture, job in answers:
        assert stranger.http.get(f"/api/pictures/{picture}/picture.jpg").status_code == 404
        assert stranger.post(f"/api/jobs/{job}/stop").status_code == 404


def test_maps_are_bounded_and_computed_again() -> None:
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
    assert maps.kept.currsize == 3 * 2 * 4 * 50 * 60


def test_sessions_are_bounded_and_end() -> None:
    now, ended = [0.0], []
    sessions = Sessions(ended.append, timer=lambda: now[0])
    mine = sessions.of("mine")
    picture = Picture(source="a.png", image=torch.zeros(3, 20, 30, dtype=torch.uint8))
    paintings = [Painting(picture, Detectors([])) for _ in range(MAX_PAINTINGS + 2)]
    for number, painting in enumerate(paintings):
        mine.paintings[str(number)] = painting
    assert sessions.painting("mine", "0") is None
    assert sessions.painting("mine", str(MAX_PAINTINGS + 1)) is paintings[-1]
    assert sessions.of("mine") is mine
    for i in range(MAX_SESSIONS):
        sessions.of(f"other {i}")
    assert ended == ["mine"]
    now[0] = IDLE_S - 1
    sessions.of("other 0")
    now[0] = IDLE_S + 1
    sessions.of("late")
    assert len(ended) == MAX_SESSIONS  # all but those used since
    assert "other 0" in sessions


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--host", "0.0.0.0"], "give a --password"),
        (["no-such-run"], "is no run folder"),
        (["--port", "70000"], "Error"),
    ],
)
def test_invalid_options(words: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["app", "--no-browser", *words], env={"COLUMNS": "400"})
    assert result.exit_code == 2
    assert sentence in result.output


def test_a_port_that_is_exported(address: str) -> None:
    port = address.rsplit(":", 1)[1]
    result = CliRunner().invoke(app, ["app", "--no-browser", "--port", port])
    assert result.exit_code == 1
    assert "choose another --port" in " ".join(result.output.split())
