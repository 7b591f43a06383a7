"""Classes of a data set and of a detector, brought together by name."""

from collections.abc import Sequence

import pytest

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.annotations import AnnotatedBox, AnnotatedPicture, Annotations


def annotations(
    names: Sequence[str], used: Sequence[int], class_map: dict[str, str] | None = None
) -> Annotations:
    return Annotations(
        source="x",
        class_names=tuple(names),
        class_ids=tuple(range(len(names))),
        pictures=(
            AnnotatedPicture(
                file_name="a",
                boxes=tuple(
                    AnnotatedBox(box=(0.0, 0.0, 1.0, 1.0), label=label, where="") for label in used
                ),
            ),
        ),
        class_map=class_map or {},
    )


@pytest.mark.parametrize(
    ("names", "used", "detector", "labels"),
    [
        (["Face", "hand"], [0, 1], ["person", "FACE"], {0: 1}),
        (["visage"], [0], ["face"], {0: 0}),  # one class each
        (["visage"], [], ["face"], {0: 0}),
        ([" face "], [0], ["hand", "face\t"], {0: 1}),
        (["te\u0302te"], [0], ["hand", "t\u00eate"], {0: 1}),  # composed or not
        (["portraits", "visage"], [1, 1], ["face"], {1: 0}),  # an unused root category
        (["portraits", "face"], [1], ["face"], {1: 0}),
        (["portraits", "face"], [1], ["hand", "face"], {1: 1}),
        (["face", "Face"], [0, 1], ["face"], {0: 0, 1: 0}),
        (["", "face"], [1], ["face", ""], {1: 0}),
        ([], [], ["face", "hand"], {}),
        (["cat", "dog"], [], ["face"], {}),
    ],
)
def test_labels_go_by_name_or_by_being_the_only_class(
    names: list[str], used: list[int], detector: list[str], labels: dict[int, int]
) -> None:
    assert annotations(names, used).labels_for(detector) == labels


@pytest.mark.parametrize(
    ("names", "used", "detector"),
    [
        (["Face", "hand"], [0, 1], ["cat"]),
        (["visage"], [0], ["face", "hand"]),
        (["visage", "main"], [0, 1], ["face"]),
        (["cat", "dog", "cow"], [0], ["face"]),  # one in use, of a set of several
        (["visage", "face"], [0], ["face"]),  # its own face is another class, and unused
    ],
)
def test_no_class_in_common_is_an_error_with_the_remedy(
    names: list[str], used: list[int], detector: list[str]
) -> None:
    with pytest.raises(AnnotationError, match="are none of the detector's") as error:
        annotations(names, used).labels_for(detector)
    for name in (names[used[0]], *detector, f"--class-map {names[used[0]]}={detector[0]}"):
        assert name in str(error.value)


def test_a_class_map_says_what_names_do_not() -> None:
    mapped = annotations(["visage", "main"], [0, 1], {"Visage": "FACE"})
    assert mapped.labels_for(["hand", "face"]) == {0: 1}
    both = annotations(["visage", "main"], [0, 1], {"visage": "face", "main": "hand"})
    assert both.labels_for(["hand", "face"]) == {0: 1, 1: 0}
    against = annotations(["face", "person"], [0, 1], {"person": "face", "face": "person"})
    assert against.labels_for(["face", "person"]) == {0: 1, 1: 0}
    merged = annotations(["visage", "head"], [0, 1], {"visage": "face", "head": "face"})
    assert merged.labels_for(["face"]) == {0: 0, 1: 0}
    with pytest.raises(AnnotationError, match=r"x has no class 'face'; it has visage"):
        annotations(["visage"], [0], {"face": "visage"}).labels_for(["face"])
    with pytest.raises(AnnotationError, match=r"the detector has no class 'head'; it has face"):
        annotations(["visage"], [0], {"visage": "head"}).labels_for(["face"])


def test_notes_state_what_becomes_of_classes() -> None:
    some = annotations(["face", "hand", "hat"], [0, 1, 1, 2])
    (note,) = some.notes_on(some.labels_for(["face"]), ["face"])
    assert note.startswith(
        "left out: 3 boxes of classes that the detector does not have: hand (2), hat (1)"
    )
    one = annotations(["root", "visage"], [1])
    assert one.notes_on({1: 0}, ["face"]) == [
        "the class visage of x is taken for the detector's face"
    ]
    mapped = annotations(["visage"], [0], {"visage": "face"})
    assert mapped.notes_on({0: 0}, ["face"]) == []
