import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from intaglio.audit.membership.result import AuditResult
from intaglio.errors import BadInput
from intaglio.report import content_hash, write_report
from intaglio.report.kit.content_hash import steady_parts
from intaglio.report.kit.format import duration, interval_text, is_path, of_work, rate_text
from intaglio.report.kit.thumbnails import Album, relative_link, shrunk
from run_folders import audit_run, finetune_run, run_json, watched

SIDE = 16


def pictures(count: int, seed: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture
def audited(tmp_path):
    return audit_run(tmp_path / "run", pictures(4, 0), pictures(4, 1), pictures(25, 2))


class Page(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(folder) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def words_of(text: str) -> str:
    return " ".join(part for part in steady_parts(text) if not part.startswith("<"))


def test_one_file_that_loads_nothing(audited):
    text = page_of(audited)
    page = Page(text)
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object")
        source = attributes.get("src", "")
        assert source == "" or source.startswith("data:image/")
    assert not re.search(r"https?://", text)
    assert "url(" not in text


def test_links_reach_the_originals(audited):
    links = [a["href"] for tag, a in Page(page_of(audited)).tags if tag == "a" and "zoom" in a.get("class", "")]
    assert len(links) == 3 * (8 + 4)
    assert all((audited / link).is_file() for link in links)


def test_headline_and_truth_count_what_the_verdict_holds(audited):
    verdict = json.loads((audited / "verdict.json").read_text())
    called = [p for p in verdict["questioned"] if p["called"] and p["truth"]]
    words = words_of(page_of(audited))
    assert f"{len(called)} of 4 questioned" in words, "those known not to be in the set are not asked about"
    assert "4 pictures, and 4 pictures known not to be in the set" in words
    assert "at a false-positive rate of 5%" in words
    assert "25 controls" in words
    right = sum(p["called"] == p["truth"] for p in verdict["questioned"])
    assert f"{right} of 8" in words


def test_questioned_pictures_are_sorted_by_score(audited):
    verdict = json.loads((audited / "verdict.json").read_text())
    expected = [p["name"] for p in sorted(verdict["questioned"], key=lambda p: -p["score"])]
    section = page_of(audited).split('id="controls"')[0]
    assert re.findall(r"<h3>([^<]+)</h3>", section) == expected


def test_the_best_controls_are_shown_as_the_questioned_are(audited):
    verdict = json.loads((audited / "verdict.json").read_text())
    best = [p["name"] for p in sorted(verdict["controls"], key=lambda p: -p["score"])][:4]
    section = page_of(audited).split('id="controls"')[1].split("</section>")[0]
    assert re.findall(r"<h3>([^<]+)</h3>", section) == best
    assert section.count("<img") == 12
    above = [p for p in verdict["controls"] if p["score"] > verdict["threshold"]["value"]]
    assert len(above) == verdict["threshold"]["observed"] > 0 or not above
    assert section.count("control, above the threshold") == min(4, len(above))


def test_where_both_sides_count_every_chart_and_word_has_both_thresholds(tmp_path):
    folder = audit_run(tmp_path / "run", pictures(4, 0), pictures(4, 1), pictures(45, 2), sides="both")
    verdict = json.loads((folder / "verdict.json").read_text())
    bar = verdict["threshold"]
    low = [p for p in verdict["questioned"] if p["called"] and p["score"] < bar["lower"]]
    high = [p for p in verdict["questioned"] if p["called"] and p["score"] > bar["value"]]
    assert len(low) == len(high) == 2
    text = page_of(folder)
    cards = text.split("<article")[1:]
    mini = [card.split('class="mini"')[1].split("</svg>")[0].count('class="cut"') for card in cards]
    assert mini == [2] * 12
    strips = re.findall(r'<svg[^>]*class="plot (?:big|small)".*?</svg>', text, re.DOTALL)
    assert [strip.count('class="cut"') for strip in strips] == [2, 2]
    assert all(re.search(r"thresholds [\d.]+ and [\d.]+<", strip) for strip in strips)
    words = words_of(text)
    for said in (
        "for these thresholds",
        "Sorted by p-value",
        "Its sign is not stable",
        "far to either side of the controls means more like a member",
        "further from the controls, to either side,",
        "so far from the controls’, up or down",
        "most extreme of 45 controls",
        "Pictures are ordered by p-value, as both sides count.",
    ):
        assert said in words, said
    assert "above the threshold" not in words
    assert "this threshold" not in words
    assert {re.search(r"<h3>([^<]+)", card)[1] for card in cards[:4]} == {p["name"] for p in (*low, *high)}


def test_too_few_controls_for_both_sides_is_said_with_their_number(tmp_path):
    folder = audit_run(tmp_path / "run", pictures(2, 0), pictures(2, 1), pictures(25, 2), sides="both")
    words = words_of(page_of(folder))
    assert "needs at least 39 of them, as scores to both sides of theirs count; with 25 controls" in words
    assert "nothing below 7.7% can be claimed" in words


def test_a_combined_score_says_of_what(audited):
    verdict = json.loads((audited / "verdict.json").read_text())
    (audited / "verdict.json").write_text(json.dumps(verdict | {"weights": {"score": 0.6, "loss-gap": 0.4}}))
    assert "combined: cgi-dm score 60%, loss-gap 40%" in words_of(page_of(audited))


def test_cards_lead_with_what_the_verdict_rests_on(audited):
    verdict = json.loads((audited / "verdict.json").read_text())
    for rank, picture in enumerate(sorted(verdict["questioned"] + verdict["controls"], key=lambda p: p["score"])):
        picture["signals"] |= {"cgi-dm": picture["score"], "loss-gap": 100 - rank}
    best = max(verdict["questioned"], key=lambda p: p["score"])
    several = {"weights": {"score": 0.6, "loss-gap": 0.4}}
    (audited / "verdict.json").write_text(json.dumps(verdict | several))
    card = page_of(audited).split("<article")[1]
    assert card.index("combined score") < card.index("<img") < card.index("It is not the score of the verdict")
    above = sum(c["signals"]["loss-gap"] >= best["signals"]["loss-gap"] for c in verdict["controls"])
    assert f"loss-gap {best['signals']['loss-gap']} (p {(1 + above) / 26:.2g} alone)" in re.sub("<[^>]+>", "", card)
    (audited / "verdict.json").write_text(json.dumps(verdict | several | {"two_sided": ["loss-gap"]}))
    text = page_of(audited)
    p = 2 * min(1 + above, 1 + 25 - above) / 26
    assert f"(p {p:.2g} alone)" in re.sub("<[^>]+>", "", text.split("<article")[1])
    assert "Of loss-gap the distance from the middle counts" in words_of(text)
    alone = {"score": "update-alignment", "weights": {"score": 1.0}, "readings": {"update-alignment": "how far"}}
    (audited / "verdict.json").write_text(json.dumps(verdict | alone))
    card = page_of(audited).split("<article")[1]
    assert card.index("update-alignment") < card.index("p-value") < card.index("<img")
    assert card.index("<img") < card.index("The verdict does not rest on it")
    assert "alone)" not in card


def test_a_score_of_another_method_is_named_and_put_in_words(audited):
    verdict = json.loads((audited / "verdict.json").read_text())
    (audited / "verdict.json").write_text(
        json.dumps(
            verdict
            | {
                "score": "update-alignment",
                "weights": {"score": 1.0},
                "readings": {"update-alignment": "how far the weights moved"},
            }
        )
    )
    words = words_of(page_of(audited))
    assert "The verdict rests on update-alignment: how far the weights moved" in words


def test_too_few_controls_give_no_verdict(tmp_path):
    run = audit_run(tmp_path / "run", pictures(3, 0), pictures(3, 1), pictures(6, 2))
    words = words_of(page_of(run))
    assert "No verdict: 6 controls cannot support a false-positive rate of 5%" in words
    assert "needs at least 19" in words
    assert "no verdict" in words
    assert "in the set" not in re.findall(r"<span class=\"badge[^>]*>([^<]*)", page_of(run))


def test_few_holdouts_are_too_few_for_low_rates(audited):
    words = words_of(page_of(audited))
    assert "TPR at 1% FPR too few: needs 100 pictures known not to be in the set, there are 4" in words


def test_without_labels_there_is_no_roc_and_no_truth(tmp_path):
    run = audit_run(tmp_path / "run", pictures(3, 0), pictures(3, 1), pictures(25, 2), labels=False)
    text = page_of(run)
    assert 'id="roc"' not in text
    assert "was in the" not in text
    assert "truth is known" not in text
    assert "of 6 questioned" in text


def test_what_it_does_not_prove_is_always_there(audited):
    words = words_of(page_of(audited))
    for phrase in ("A manner is not a picture", "the base’s own training", "base and prompt", "defeat it", "Crops"):
        assert phrase in words


def test_names_from_outside_are_escaped(audited):
    verdict = json.loads((audited / "verdict.json").read_text())
    verdict["questioned"][0]["name"] = "<script>alert(1)</script>.png"
    (audited / "verdict.json").write_text(json.dumps(verdict))
    text = page_of(audited)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_picture_without_a_score_is_said_so(audited):
    verdict = json.loads((audited / "verdict.json").read_text())
    verdict["questioned"][1] |= {"score": None, "p_value": None, "called": None}
    (audited / "verdict.json").write_text(json.dumps(verdict))
    words = words_of(page_of(audited))
    assert "1 questioned picture got no score and no verdict: member-01" in words


def test_content_hash_ignores_time_place_and_machine(tmp_path):
    sets = pictures(4, 0), pictures(4, 1), pictures(25, 2)
    first = write_report(audit_run(tmp_path / "one", *sets))
    moved = {"path": "/elsewhere/suspect", "sha256": "ab" * 32}, {"path": "/elsewhere/base", "sha256": "cd" * 32}
    other = {
        "started": "2027-01-01T00:00:00+00:00",
        "finished": "2027-01-02T00:00:00+00:00",
        "seconds": 9.0,
        "resumed": 7,
        "machine": {"system": "Mac", "cores": 8},
        "command": ["resume"],
        "device": "cuda",
        "inputs": dict(zip(("suspect", "base"), moved, strict=True)),
    }
    second = write_report(audit_run(tmp_path / "two", *sets, **other))
    assert first.read_text() != second.read_text()
    assert content_hash(first) == content_hash(second)


@pytest.mark.parametrize("change", [{"seed": 4}, {"settings": {"steps": 41}}, {"warnings": []}])
def test_content_hash_sees_what_matters(tmp_path, change):
    sets = pictures(4, 0), pictures(4, 1), pictures(25, 2)
    first = write_report(audit_run(tmp_path / "one", *sets))
    assert content_hash(first) != content_hash(write_report(audit_run(tmp_path / "two", *sets, **change)))


def test_content_hash_sees_a_picture_and_a_score(tmp_path, audited):
    before = content_hash(write_report(audited))
    verdict = json.loads((audited / "verdict.json").read_text())
    verdict["questioned"][0]["score"] += 0.01
    (audited / "verdict.json").write_text(json.dumps(verdict))
    after = content_hash(write_report(audited))
    assert before != after
    Image.fromarray(pictures(1, 9)[0]).save(audited / "images" / "recovered" / "member-00.png")
    assert content_hash(write_report(audited)) != after


def test_volatile_elements_end_where_they_end():
    page = '<p>a</p><div class="x volatile"><p>b<br>c</p><img src="d"></div><p class="volatile">e</p><p>f</p>'
    assert [part for part in steady_parts(page) if not part.startswith("<")] == ["a", "f"]


def test_a_finetune_shows_curve_samples_data_and_plan(tmp_path):
    text = page_of(finetune_run(tmp_path / "run", pictures(5, 0)))
    words = words_of(text)
    assert "Tuned on 5 pictures under the prompt “sks animal”" in words
    assert "after 30 steps" in words
    assert "over 60 steps" in words
    assert "loss (train)" in words
    assert "lr (train)" not in words, "a constant is no curve"
    assert "0.2 s" in text
    assert "0.2 s" not in words, "seconds are volatile"
    assert text.count("<img") == 5 + 2 + 1


def test_a_finetune_on_captions_names_them_all(tmp_path):
    of = {"prompt": "a red cat", "pictures": 5, "prompts": 3}
    words = words_of(page_of(finetune_run(tmp_path / "run", pictures(5, 0), summary=of)))
    assert "Tuned on 5 pictures under 3 captions, such as “a red cat”." in words


def test_a_finetune_is_headed_by_how_it_came_about(tmp_path):
    named = finetune_run(tmp_path / "named", pictures(2, 0), summary={"reading": "All weights tuned (DreamBooth)"})
    assert "All weights tuned (DreamBooth) over 60 steps" in words_of(page_of(named))
    older = finetune_run(tmp_path / "older", pictures(2, 0))
    assert "Tuned by dreambooth over 60 steps" in words_of(page_of(older)), "a run of before there were readings"


def test_a_watched_finetune_shows_where_it_fell_and_what_was_kept(tmp_path):
    folder = watched(finetune_run(tmp_path / "run", pictures(5, 0)), pictures(1, 3)[0])
    text = page_of(folder)
    words = words_of(text)
    assert "with random weights over 60 steps" in words
    assert "From step 30 to 50 the pictures lost their likeness" in words
    assert "The weights of step 20 were exported." in words
    assert "fidelity (watch)" not in words, "it has a figure of its own"
    assert text.count("<img") == 5 + 2 + 1 + 7
    assert "corruption" in words
    assert text.count("estimated deviation") == 1
    older = [json.loads(row) for row in (folder / "metrics" / "watch.jsonl").read_text().splitlines()]
    rows = [{name: value for name, value in row.items() if name != "deviation"} for row in older]
    (folder / "metrics" / "watch.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert "estimated deviation" not in page_of(folder), "a run of before there were probes"
    (folder / "metrics" / "watch.jsonl").unlink()
    assert "Likeness and noise while it learned" not in words_of(page_of(folder))


def test_the_page_of_a_run_is_that_of_its_method_its_room_or_its_verb():
    known = {"audit queries": "room", "bench": "verb", "bench sample": "method"}
    for verb, method, found in (
        ("audit", "queries-diffix-cloning", "room"),
        ("audit", "prompts-text-norm", None),
        ("bench", "sample", "method"),
        ("bench", "shrink", "verb"),
        ("bench", "queries-x", "verb"),
    ):
        assert of_work(known, {"verb": verb, "method": method}) == found
    assert of_work({**known, "audit queries-far": "longer"}, {"verb": "audit", "method": "queries-far-x"}) == "longer"
    assert of_work(known, {}) is None


def test_any_other_run_is_a_plain_table(tmp_path):
    run_json(tmp_path / "run", "bench", "authenticate", status="unfinished", summary={"auc": 0.97})
    records = tmp_path / "run" / "records" / "set"
    records.mkdir(parents=True)
    (records / "meals.json").write_text(json.dumps({"key": "meals", "value": {"auc": 0.91, "seconds": 3.2}}))
    words = words_of(page_of(tmp_path / "run"))
    assert "0.97" in words
    assert "meals 0.91" in words
    assert "3.2" not in words
    assert "goes on where it was" in words


def test_an_unfinished_audit_is_a_plain_page(tmp_path):
    run_json(tmp_path / "run", "authenticate", "cgi-dm", status="unfinished")
    assert "unfinished" in words_of(page_of(tmp_path / "run"))


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(BadInput, match="not a run folder"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(BadInput, match="no readable JSON"):
        write_report(tmp_path)


def test_a_damaged_verdict_is_refused(audited):
    (audited / "verdict.json").write_text(json.dumps({"method": "cgi-dm"}))
    with pytest.raises(BadInput, match="questioned"):
        write_report(audited)


def test_written_elsewhere_it_links_only_what_travels_along(audited, tmp_path):
    out = write_report(audited, tmp_path / "far" / "away" / "r.html")
    assert "zoom" not in [a.get("class") for tag, a in Page(out.read_text()).tags if tag == "a"]
    beside = write_report(audited, tmp_path / "r.html")
    links = [a["href"] for tag, a in Page(beside.read_text()).tags if tag == "a" and a.get("class") == "zoom"]
    assert links
    assert all(link.startswith("run/images/") for link in links)


def test_the_report_stays_small_with_big_pictures(tmp_path):
    run = audit_run(tmp_path / "run", pictures(5, 0, 300), pictures(5, 1, 300), pictures(20, 2, 300))
    report = write_report(run)
    assert report.stat().st_size < 3_000_000
    assert report.read_text().count("data:image/webp") == 3 * (10 + 4)


def test_many_questioned_pictures_are_listed_beyond_the_cards(tmp_path):
    run = audit_run(tmp_path / "run", pictures(40, 0, 8), pictures(40, 1, 8), pictures(20, 2, 8))
    text = page_of(run)
    assert "20 lower-scoring ones" in text
    assert text.split('id="controls"')[0].count("<img") == 3 * 60


def test_pixel_art_is_embedded_untouched(tmp_path):
    Image.fromarray(pictures(1, 0, 64)[0]).save(tmp_path / "a.png")
    thumb = Album(tmp_path, 10).thumb(tmp_path / "a.png")
    assert thumb is not None
    assert (thumb.width, thumb.height, thumb.pixelated) == (64, 64, True)
    assert thumb.src.startswith("data:image/png")
    assert Album(tmp_path, 1).thumb(tmp_path / "none.png") is None
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert Album(tmp_path, 1).thumb(tmp_path / "bad.png") is None


def test_thumbnails_shrink_until_they_fit():
    image = Image.fromarray(pictures(1, 0, 400)[0])
    sizes = [shrunk(image, share) for share in (10**6, 9000, 2000)]
    assert [len(data) <= share for (data, *_), share in zip(sizes, (10**6, 9000, 2000), strict=True)] == [True] * 3
    sides = [max(size) for *_, size in sizes]
    assert sides[0] == 320
    assert sides[0] > sides[1] > sides[2]


def test_links_are_relative_and_quoted(tmp_path):
    inside = tmp_path / "run" / "images" / "a b#1.png"
    assert relative_link(inside, tmp_path / "run") == "images/a%20b%231.png"
    assert relative_link(inside, tmp_path / "reports") == "../run/images/a%20b%231.png"
    assert relative_link(inside, tmp_path / "x" / "y") is None


@pytest.mark.parametrize(
    ("rate", "words"), [(0.05, "5%"), (0.001, "0.1%"), (0.17, "17%"), (0, "0%"), (1, "100%"), (0.0001, "<0.1%")]
)
def test_rates_read_well(rate, words):
    assert rate_text(rate) == words


def test_words_for_durations_intervals_and_places():
    assert [duration(s) for s in (3.21, 42, 125, 12000)] == ["3.2 s", "42 s", "2 min 05 s", "3 h 20 min"]
    assert interval_text((0.01, 0.2)) == "95% interval 1% to 20%"
    assert [is_path(v) for v in ("/a/b", "C:\\a", "a/b", 3)] == [True, True, False, False]


def test_pictures_have_the_captions_of_their_method_the_original_first(audited):
    verdict = json.loads((audited / "verdict.json").read_text())
    page = page_of(audited)
    assert page.index("the picture") < page.index("partial") < page.index("recovered"), "kinds, where none were stored"
    captions = {"partial": "half of it removed", "recovered": "refilled"}
    (audited / "verdict.json").write_text(json.dumps(verdict | {"captions": captions, "story": "Look closely."}))
    words = words_of(page_of(audited))
    assert "half of it removed" in words
    assert "Look closely. The small scale" in words


def test_a_run_without_labels_reads_as_written(audited):
    audit = AuditResult.load(audited)
    assert audit is not None
    assert audit.known_truth is not None
    assert audit.known_truth.known == 8
    unknown = replace(audit, questioned=tuple(replace(j, truth=None) for j in audit.questioned))
    assert unknown.known_truth is None
