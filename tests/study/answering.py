"""Keys of feedback forms, and answers as their page saves them, made by hand."""

import json
from pathlib import Path
from typing import Any

from voxplain.study.feedback import ANSWERS, CAUSABILITY, ITEMS, Key, KeyCase, Question

CLASSES = Question("What is your reading?", ("healthy", "glioma"))
SHAM = "random_map"


def key(cases: int = 3, *, sham: str = "", question: Question = CLASSES, **options: Any) -> Key:
    """Cases c1, c2 ..., two a patient, with the methods 'near' and 'far' (and the sham) under letters that turn."""
    methods = ["near", "far", *([sham] if sham else [])]
    found = []
    for number in range(1, cases + 1):
        turned = methods[number % len(methods) :] + methods[: number % len(methods)]
        letters = dict(zip("ABC", turned, strict=False))
        found.append(KeyCase(f"c{number}", f"patient {(number + 1) // 2}", 1.0, float(number % 2), letters))
    named = {"form": "f00d", "run": "run", "causability": False, **options}
    return Key(question=question, sham=sham, cases=tuple(found), **named)


def answers(of: Key, reader: str = "R1", **ratings: int) -> dict[str, Any]:
    """All answers of a reader: each method's maps get its rating everywhere (3 where none is given)."""
    cases = []
    for number, case in enumerate(of.cases, start=1):
        maps = {
            letter: {**{item.name: ratings.get(method, 3) for item in ITEMS}, "seconds": 8.0}
            for letter, method in case.maps.items()
        }
        before = {"answer": 0, "confidence": 60, "seconds": 20.0}
        after = {"answer": 1, "confidence": 75, "seconds": 5.0}
        cases.append({"case": number, "before": before, "maps": maps, "after": after})
    told = {"schema": ANSWERS, "form": of.form, "reader": reader, "cases": cases, "comment": ""}
    if of.causability:
        told["causability"] = {item.name: 4 for item in CAUSABILITY}
    return told


def saved(folder: Path, *told: dict[str, Any]) -> list[Path]:
    """The answers as files."""
    files = [folder / f"answers-{number}.json" for number in range(len(told))]
    for file, one in zip(files, told, strict=True):
        file.write_text(json.dumps(one))
    return files
