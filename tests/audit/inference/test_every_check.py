"""Shared claims about every check of answers, its student and its p-values."""

import numpy as np
import pytest
import torch

from inference_scenes import HEAD, noisy_answers, pictures, service
from intaglio.audit.inference.attacked_answers import changed, constant, random_class, swapped
from intaglio.audit.inference.audit import check_results
from intaglio.audit.inference.class_answers import read_answers
from intaglio.audit.inference.family import divided
from intaglio.audit.inference.fitted_check import FittedCheck
from intaglio.audit.inference.methods.fides import Fides
from intaglio.audit.inference.methods.js_divergence import JSDivergence
from intaglio.audit.inference.service_student import (
    StudentSettings,
    _alone,
    _replaced,
    distilled,
    multiplications,
    probabilities,
)
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.conformal import p_values
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.runs.tensors import read_state, write_state
from rows import matrix

every_check = pytest.mark.parametrize(
    "row", [pytest.param(row, id=key) for key, row in matrix().items() if row.verb == "audit inference"]
)
ASKED = pictures(3, seed=4)


@every_check
def test_a_fit_is_stored_read_and_judges_each_answer_alone(row, tmp_path):
    method, known = load(row.target)(**row.small), pictures(12)
    fitted = method.fit(service(), HEAD, known)
    answers = probabilities(service(), HEAD, ASKED.pixels, 3)
    read = FittedCheck.load(fitted.save(tmp_path / "check"), method.name)
    assert read.hash == fitted.hash
    assert read.hash in (tmp_path / "check" / "README.md").read_text()
    first, second = (check_results(method, one, ASKED, answers, rate=0.3) for one in (fitted, read))
    assert first.to_dict() == second.to_dict()
    turned = check_results(method, fitted, ASKED[[2, 0]], answers[[2, 0]], rate=0.3)
    torch.testing.assert_close(turned.scores, first.scores[[2, 0]], rtol=1e-4, atol=1e-5)
    kept = [i for i, passes in enumerate(first.passes) if passes]
    assert torch.equal(first.repaired[kept], first.answers[kept])
    assert check_results(method, fitted, known[[0]], answers[:1], rate=0.3).seen == (True,)
    with pytest.raises(BadInput, match="fitted by .* with other settings"):
        check_results(type(method)(**{**row.small, "seed": 1}), fitted, ASKED, answers)


def test_clean_answers_fail_at_the_asked_rate():
    """Scores of exchangeable answers: of 2,000 draws of 99 held-out ones and one more, 5% have p <= 0.05."""
    p, q = noisy_answers(100 * 2000, 3, 1.0, seed=5)
    scores = JSDivergence().score({}, p, q).reshape(2000, 100).numpy()
    found = np.concatenate([p_values(row[:1], row[1:]) for row in scores])
    assert abs((found <= 0.05).mean() - 0.05) < 4 * (0.05 * 0.95 / 2000) ** 0.5


def test_maps_that_say_nothing_are_the_ones_left_out():
    """With half of a stage's maps dead, in all its blocks, the network of the other half gives the same answers."""
    for stage in (0, 1):
        net, known = service(), pictures(6)
        for block in net.stages[stage]:
            block[1].weight[::2], block[1].bias[::2] = 0, 0
        smaller, maps = _replaced(_alone(net, HEAD), HEAD, stage, known.pixels)
        assert maps.tolist() == list(range(1, net.widths[stage], 2))
        assert smaller.widths[stage] == net.widths[stage] // 2
        torch.testing.assert_close(smaller.logits(known.pixels, HEAD), net.logits(known.pixels, HEAD))


def test_a_student_replaces_stages_while_it_agrees_and_copies_the_others():
    net, known, asked = service(), pictures(24), pictures(40, seed=9)
    brief = {"block_steps": 1, "steps": 1}
    whole = distilled(net, HEAD, known.pixels, asked.pixels, StudentSettings(agreement=0.01, **brief), Run.none())
    assert (whole.copied, whole.network.widths) == (0, (3, 4))
    half, all_ = (9 * a * 3 / 4 + 9 * (a * b + b * b) / 16 for a, b in ((3, 4), (6, 8)))
    assert whole.cost == pytest.approx(half / all_)
    assert multiplications((32, 64, 128, 224), (1, 2, 1, 1)) * 64**2 == pytest.approx(23.9e6, rel=0.01)
    strict = distilled(net, HEAD, known.pixels, asked.pixels, StudentSettings(agreement=1.0, **brief), Run.none())
    assert (strict.copied, strict.agreement, strict.cost) == (2, 1.0, 1.0)
    torch.testing.assert_close(strict.network.logits(asked.pixels, HEAD), net.logits(asked.pixels, HEAD))


def test_a_student_that_is_taught_comes_closer():
    net, known, asked = service(), pictures(64), pictures(200, seed=9)
    wanted = net.logits(asked.pixels, HEAD).softmax(1)
    far = [
        float((probabilities(found.network, HEAD, asked.pixels, 64) - wanted).abs().sum(1).mean())
        for steps in (1, 60)
        for found in [
            distilled(
                net,
                HEAD,
                known.pixels,
                asked.pixels,
                StudentSettings(agreement=0.01, block_steps=steps, steps=steps, learning_rate=1e-2),
                Run.none(),
            )
        ]
    ]
    assert far[1] < 0.5 * far[0]


def test_known_pictures_are_divided_by_content_and_one_that_is_given_twice_counts_once():
    known = pictures(12)
    parts = divided(known, 0)
    assert [len(one) for one in parts] == [6, 3, 3]
    assert {one for part in parts for one in part.hashes} == {*known.hashes}
    twice = ImageSet.from_pixels(known.pixels[[*range(11, -1, -1), 3]])
    turned = divided(twice, 0)
    assert [one.hashes for one in turned] == [one.hashes for one in parts]
    assert divided(known, 1)[0].hashes != parts[0].hashes
    with pytest.raises(BadInput, match="7 different pictures are too few"):
        divided(pictures(7), 0)


def test_attacks_change_the_class():
    p, _ = noisy_answers(50, 4, 0.1, seed=0)
    best = p.topk(2, dim=1).indices
    assert torch.equal(swapped(p).topk(2, dim=1).indices, best.flip(1))
    other = random_class(p, generator(0, "attack"))
    assert len(changed(p, other)) == 50
    assert other.argmax(1).bincount(minlength=4).min() > 3
    torch.testing.assert_close(other.sort(1).values, p.sort(1).values)
    one = constant(p)
    assert torch.equal(one, p[p.amax(1).argmax()].expand_as(p))


def test_answers_that_are_none_are_refused(tmp_path):
    path, classes = tmp_path / "a.csv", ("x", "y")
    path.write_text("y, picture, x\n0.25,b.png,0.75\n1,a.png,0\n")
    assert read_answers(path, classes, ["a.png", "b.png"]).tolist() == [[0, 1], [0.75, 0.25]]
    for text, words in {
        "picture,x\na,1\n": "has no column 'y'",
        "picture,x,y\na,0.5,0.6\n": "the answer for a sums to 1.1",
        "picture,x,y\na,1.5,-0.5\n": "outside of 0 to 1",
        "picture,x,y\na,nan,1\n": "has 'nan' in the row of a",
        "picture,x,y\na,1\n": "has 'None' in the row of a",
        "picture,x,y\na,1,0\na,1,0\n": "two rows for a",
        "picture,x,y\nb,1,0\n": "no row for a",
    }.items():
        path.write_text(text)
        with pytest.raises(BadInput, match=words):
            read_answers(path, classes, ["a"])


def test_a_fit_that_was_changed_or_is_none_is_refused(tmp_path):
    method = JSDivergence(views=1, block_steps=1, steps=1, agreement=0.3)
    fitted = method.fit(service(), HEAD, pictures(12))
    path = fitted.save(tmp_path / "check") / "check.safetensors"
    with pytest.raises(BadInput, match="was fitted by js-divergence, and not by fides"):
        FittedCheck.load(path.parent, "fides")
    tensors, about = read_state(path)
    write_state(path, {**tensors, "held scores": tensors["held scores"] + 1}, about)
    with pytest.raises(BadInput, match="was changed since it was fitted"):
        FittedCheck.load(path.parent, "js-divergence")
    write_state(path, tensors, {**about, "widths": [3, 10**6]})
    with pytest.raises(BadInput, match="lacks what a fit needs"):
        FittedCheck.load(path.parent, "js-divergence")
    with pytest.raises(BadInput, match="holds no check.safetensors"):
        FittedCheck.load(tmp_path, "js-divergence")
    with pytest.raises(BadInput, match="no head 'colour'; choose one of: kind"):
        method.fit(service(), "colour", pictures(12))
    answers = probabilities(service(), HEAD, ASKED.pixels, 3)
    with pytest.raises(BadInput, match="are not of 3 pictures and 3 classes"):
        check_results(method, fitted, ASKED, answers[:, :2] / answers[:, :2].sum(1, keepdim=True))


@pytest.mark.parametrize("decimals", [4, 6, 17])
@pytest.mark.parametrize("kind", [JSDivergence, Fides])
def test_a_student_that_is_the_service_itself_takes_no_rounding_for_an_attack(kind, decimals):
    """At an agreement of 1 no stage is replaced, so that clean answers differ from the student's by decimals alone."""
    brief = {"rounds": 2, "round_rows": 4, "width": 4} if kind is Fides else {}
    method = kind(views=1, block_steps=1, steps=1, agreement=1.0, **brief)
    fitted = method.fit(service(), HEAD, pictures(40))
    assert fitted.copied == len(fitted.widths)
    clean = probabilities(service(), HEAD, ASKED.pixels, 3)
    assert all(check_results(method, fitted, ASKED, clean.round(decimals=decimals), rate=0.2).passes)
    moved = clean.clone()
    moved[0] = moved[0].roll(1)
    assert check_results(method, fitted, ASKED, moved, rate=0.2).p[0] < 1
