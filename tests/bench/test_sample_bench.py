import math

import numpy as np
import pytest

from intaglio.bench.sample import bench
from intaglio.bench.sample.bench import SampleBench
from intaglio.bench.sample.closed_forms import fkc_error, stsl_error
from intaglio.bench.sample.recovered_pictures import held_out, recovered
from intaglio.bench.sample.row_measures import row_measures
from intaglio.metrics.distributions import kernel_distance, stretched, vendi
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.report.render import write_report
from intaglio.sampling.calls import Calls
from intaglio.sampling.methods.stsl import STSL
from intaglio.sampling.verifiers.attributes import embedded_attributes

PSNR = ("stsl_psnr", "psld_psnr", "blocks_psnr")


@pytest.fixture(scope="module")
def judge():
    return embedded_attributes(load_similarity("embedded"))


def test_two_rows_end_to_end_and_the_same_command_draws_nothing_again(tmp_path, capsys):
    two = SampleBench(methods=("plain", "perp-neg"), prompts=2, seeds=2, steps=2, quick=True, runs=tmp_path)
    figures = two(progress="none")
    assert list(figures["rows"]) == ["plain guidance 4", "perp-neg scale 4"]
    plain, perp = figures["rows"].values()
    assert (plain["forward"], perp["forward"]) == (4.0, 6.0)
    assert plain["consistency"]["low"] <= plain["consistency"]["mean"] <= plain["consistency"]["high"]
    assert figures["methods"] == 2
    assert set(figures["pareto_share"]) == {"plain", "perp-neg"}
    assert figures["floor"] < plain["kid"]["mean"]
    assert len(list(tmp_path.glob("*/images/plain-guidance-4/*.png"))) == 2
    assert two(progress="none") == figures
    assert "* plain guidance 4" in two.summary(figures)
    (folder,) = tmp_path.iterdir()
    page = write_report(folder).read_text()
    fronts = sum(row["on_front"] for row in figures["rows"].values())
    assert f"{fronts} of 2 rows on the front" in page
    assert page.count('class="dot in"') == 2 * fronts
    assert page.count('class="plot"') == 2
    assert "perp-neg scale 4</h3>" in page


def test_measures_of_real_pictures_are_as_good_as_they_get(judge):
    rows = [0, 0, 40, 40, 80, 80, 120, 120]
    prompts = [str(judge.real.captions[k]) for k in rows]
    real = stretched(judge.encoder.embed(judge.real.pixels).numpy())
    found = row_measures(judge.real.pixels[rows], prompts, judge, real)
    assert found["consistency"]["mean"] == found["name"]["mean"] == 1.0
    assert found["diversity"]["mean"] == pytest.approx(1.0, abs=1e-6)  # both pictures of a prompt are the same
    assert found["precision"] == 1.0
    assert found["kid"]["mean"] == pytest.approx(kernel_distance(real[rows], real))
    shuffled = row_measures(judge.real.pixels[rows], prompts[2:] + prompts[:2], judge, real)
    assert shuffled["name"]["mean"] < 0.5


def test_diversity_is_that_of_each_prompt_alone(judge):
    rows = [0, 50, 100, 150]
    prompts = [str(judge.real.captions[0])] * 2 + [str(judge.real.captions[100])] * 2
    real = stretched(judge.encoder.embed(judge.real.pixels).numpy())
    found = row_measures(judge.real.pixels[rows], prompts, judge, real)["diversity"]["mean"]
    assert found == pytest.approx(np.mean([vendi(real[rows[:2]]), vendi(real[rows[2:]])]))


def test_settings_are_checked():
    with pytest.raises(ValueError, match="seeds must be 2 or more"):
        SampleBench(seeds=1)
    with pytest.raises(Exception, match="no sampling method 'plane'"):
        SampleBench(methods=("plane",))(progress="none")


def test_the_closed_form_of_the_corrector_is_met():
    error = fkc_error(0, pictures=48)
    assert math.isfinite(error)
    assert error < 0.2


def test_the_second_order_leaves_less_than_half_of_the_first_orders_error():
    assert stsl_error(0, count=300) < 0.5


def test_recovery_is_measured_where_it_is_chosen_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "reconstruction_figures", lambda model, *, quick, seed: dict.fromkeys(PSNR, 20.0))
    chosen = SampleBench(methods=("stsl",), quick=True, runs=tmp_path)
    figures = chosen(progress="none")
    assert figures["rows"] == {}
    assert {figures[name] for name in PSNR} == {20.0}
    assert "stsl 20.00, psld 20.00, blocks 20.00" in chosen.summary(figures)
    (folder,) = tmp_path.iterdir()
    assert "stsl" in write_report(folder).read_text()


def test_pictures_are_recovered_at_equal_calls():
    model = load_model(testbed.base_path())
    pixels, counts = held_out(1), [Calls(), Calls()]
    for method, calls in zip((STSL(order=1, updates=2), STSL(updates=1)), counts, strict=True):
        found = recovered(model, method, pixels, steps=2, seed=0, calls=calls)
        assert found.shape == pixels.shape
    assert counts[0].forward == counts[1].forward == 2 * (1 + 2)
    assert counts[0].backward == counts[1].backward == 4
