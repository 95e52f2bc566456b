import json
import re

import numpy as np
import pytest

from intaglio.errors import BadInput
from intaglio.report import write_report
from run_folders import run_json, save


def find_record(folder, rank: int, size: int, **more) -> dict:
    seeds = [100 * rank + i for i in range(size)]
    for seed in seeds:
        save(folder, f"drawn/{seed:07d}", np.full((16, 16, 3), 40 + rank, np.uint8))
    image = save(folder, f"finds/{rank:03d}-seed-{seeds[0]}", np.full((16, 16, 3), 40 + rank, np.uint8))
    return {
        "name": f"{rank:03d}-seed-{seeds[0]}.png",
        "seed": seeds[0],
        "prompt": "a photo of sks",
        "size": size,
        "cohesion": 0.8 if size > 1 else None,
        "lowest": 0.7,
        "apart": 0.2,
        "gap": 0.01,
        "score": float(size),
        "members": seeds,
        "q_value": 0.02 if size > 3 else 0.6,
        "image": image,
        **more,
    }


@pytest.fixture
def folder(tmp_path):
    settings = {"prompt": ["a photo of sks"], "authority": "my own <model>"}
    run_json(tmp_path, "extract", "finextract", settings=settings)
    return tmp_path


def report_with(folder, **changes) -> str:
    images = [save(folder, f"control-groups/{i}", np.zeros((16, 16, 3), np.uint8)) for i in range(2)]
    record = {
        "method": "finextract",
        "returned": 2,
        "drawn": 60,
        "excluded": {"not finite": 2},
        "threshold": 0.4,
        "exact": True,
        "captioned": True,
        "statement": "1 of 2 returned pictures stand out.",
        "fdr": 0.1,
        "told": 1,
        "finds": [find_record(folder, 1, 7), find_record(folder, 2, 1)],
        "scores": [7.0, 3.0, 1.0],
        "control": {"drawn": 60, "scores": [2.0, 1.0], "sizes": [2, 1], "images": images},
        "evaluation": None,
        **changes,
    }
    record = {"reading": "drawn from the suspect, led away from its base (FineXtract)", **record}
    (folder / "extraction.json").write_text(json.dumps(record))
    return write_report(folder).read_text(encoding="utf-8")


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_says_what_stands_out_and_by_what_right(folder):
    page = report_with(folder)
    words = text_of(page)
    assert "1 of 2 returned pictures stands out from the base" in words
    assert "60 pictures drawn from the suspect, led away from its base (FineXtract), under “a photo of sks”." in words
    assert "my own &lt;model&gt;" in page
    assert "stands out from the base" in words
    assert "not told from the base" in words
    assert "2 left out" in words
    assert "1 in the base’s largest group" not in words
    assert "2 in the base’s largest group" in words
    assert page.count("of the same group") == 2 * 3, "a title, an alternative text and a caption for each"
    assert "nearest training picture" not in words
    assert "http" not in re.sub(r'xmlns="[^"]+"', "", page)


def test_training_pictures_are_shown_where_they_were_given(folder):
    near = save(folder, "training/a", np.zeros((16, 16, 3), np.uint8))
    known = {"nearest": "a.png", "nearest_image": near, "similarity": 0.91, "held_out": 0.3, "match_q": 0.04}
    rates = {"loose": 0.5, "strict": None}
    evaluation = {
        "average_similarity": 0.71,
        "training": 4,
        "extracted": 1,
        "loose": 0.6,
        "strict": None,
        "rates": rates,
        "by_picture": [0.9, 0.5, 0.4, 0.4],
        "nearest": ["x"] * 4,
    }
    words = text_of(report_with(folder, finds=[find_record(folder, 1, 7, **known)], evaluation=evaluation, told=1))
    assert "nearest training picture" in words
    assert "Similarity 0.91 with a.png, 0.3 with the nearest picture that was not trained on" in words
    assert "50% above 0.6, which 1 in 100 pairs of a training and a held-out picture exceed" in words
    assert "too few held-out pictures to fit a threshold" in words


def test_pictures_come_before_charts_and_a_threshold_near_zero_is_said_to_be_one(folder):
    page = report_with(folder)
    assert page.index('id="finds"') < page.index('id="groups"') < page.index('id="control"')
    assert "near zero" not in text_of(page)
    assert "That threshold is near zero" in text_of(report_with(folder, threshold=0.05))


def test_without_a_control_and_without_finds(folder):
    words = text_of(report_with(folder, control=None, told=None, finds=[find_record(folder, 1, 7, q_value=None)]))
    assert "1 picture returned, without a control" in words
    assert "chance cannot be told from knowledge" in words
    words = text_of(report_with(folder, finds=[], scores=[1.0], told=0, control=None))
    assert "Nothing was drawn again and again" in words


def test_a_damaged_record_is_named(folder):
    (folder / "extraction.json").write_text("{}")
    with pytest.raises(BadInput, match=r"extraction.json lacks .method.; run the extraction again"):
        write_report(folder)


def test_an_unfinished_extraction_is_a_plain_page(folder):
    assert "extract" in write_report(folder).read_text(encoding="utf-8")
