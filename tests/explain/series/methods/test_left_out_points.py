import torch

from intaglio.explain.series.methods.left_out_points import LeftOutPoints
from intaglio.explain.series.point_checks import log_odds
from intaglio.explain.series.taught_series import SeriesLessons, new_network
from intaglio.randomness import generator
from intaglio.runs.run import Run
from series_scenes import LONGER, check_the_point_comes_first, small

SMALL = {"width": 16, "updates": 12, "rows": 64, "draws": 1, "batch": 64, "learning_rate": 0.01}
BAD = {"draws": 0}
PIECES = {"batch": 3}


def test_the_point_that_tells_the_class_comes_first():
    check_the_point_comes_first(LeftOutPoints(**LONGER))


def test_an_importance_is_the_mean_fall_over_draws():
    series = small(20)
    lessons = SeriesLessons.of(series.values, series.codes, 2)
    method = LeftOutPoints(draws=3, width=16)
    network = new_network(lessons, method.pace).eval().requires_grad_(False)
    called = network(lessons.values).logits.argmax(1)
    found = method.importances(network, lessons, lessons.values, called, Run.none())
    falls = []
    for draw in range(3):
        changed = lessons.values.clone()
        changed[:, 2, 1] = lessons.replacements(20, generator(0, "left out", draw))[:, 2, 1]
        answers = [log_odds(network(one).logits, called) for one in (lessons.values, changed)]
        falls.append(answers[0] - answers[1])
    torch.testing.assert_close(found[:, 2, 1], torch.stack(falls).mean(0))
