import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.packing.integers import Integers
from intaglio.shrink.methods.qdiffusion import QDiffusion
from intaglio.shrink.units import denoiser_units
from shrink_scenes import planted_rows

SMALL = {"iterations": 3, "batch": 4, "keep": ("down_blocks", "mid_block", "up_blocks.1", "conv_in", "time_embedding")}
BAD = {"iterations": 0}
PIECES = {}
OUTER = ("down_blocks", "up_blocks", "conv_in", "conv_out")
"""All but the middle and the time."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("base")))


def output_error(model, other, rows):
    (one,) = rows.batches(model, len(rows))
    with torch.no_grad():
        return float((model.predict(*one) - other.predict(*one)).square().sum())


def test_learned_codes_serve_the_output_better_than_the_same_grids_nearest_codes(model):
    rows = planted_rows(64)
    settings = {"bits": 2, "batch": 16, "keep": (*OUTER, "time_embedding", "mid_block.attentions")}
    found = QDiffusion(iterations=80, rate=0.05, penalty=0.1, **settings)(model, rows)
    start = QDiffusion(iterations=1, rate=1e-6, **settings)(model, rows)
    assert output_error(model, found.model, rows.held) < 0.7 * output_error(model, start.model, rows.held)


def test_every_code_is_the_one_below_or_above(model):
    found = QDiffusion(bits=3, iterations=2, batch=4, keep=(*OUTER, "mid_block"))(model, planted_rows())
    for name, packed in found.packed["denoiser"].items():
        (term,) = packed.terms
        if term.bits != 3:
            assert term.bits == 8
            continue
        w = model.denoiser.get_parameter(name).detach().flatten(1)
        steps = w / term.scales.float().repeat_interleave(w.shape[1] // term.scales.shape[1], 1)
        zero = term.zeros.float().repeat_interleave(w.shape[1] // term.scales.shape[1], 1)
        low, high = ((one + zero).clamp(0, 7) for one in (steps.floor(), steps.floor() + 1))
        codes = term.codes.float()
        assert ((codes == low) | (codes == high)).all()


def test_skips_are_split_and_sizes_counted_beforehand(model):
    keep = (
        "down_blocks",
        "mid_block",
        "time_embedding",
        "up_blocks.1",
        "up_blocks.0.upsamplers",
        "conv_in",
        "conv_out",
    )
    method = QDiffusion(iterations=1, batch=2, keep=keep)
    found = method(model, planted_rows())
    plan = method.planned(model, 0)
    assert abs(found.bytes - plan.after) <= len(found.layers)  # planes are whole bytes
    term = found.packed["denoiser"]["up_blocks.0.resnets.1.conv1.weight"].terms[0]
    assert isinstance(term, Integers)
    assert term.scales.shape[1] == 3  # 16 and 8 channels in groups of 8
    assert set(QDiffusion(split=False).groups(model).values()) == {0}


def test_symmetric_codes_have_no_zeros_and_take_less(model):
    keep = ("down_blocks", "up_blocks", "mid_block", "conv_in", "conv_out")
    found = QDiffusion(iterations=1, batch=2, keep=keep, symmetric=True)(model, planted_rows())
    assert found.packed["denoiser"]["time_embedding.linear_1.weight"].terms[0].zeros is None
    one, two = (QDiffusion(symmetric=flag).planned(model, 0).after for flag in (True, False))
    assert one < two


def test_the_plan_counts_rows_of_captures_and_of_learning(model):
    method = QDiffusion(iterations=7, batch=5)
    learned = [unit for unit in denoiser_units(model) if unit.path not in ("conv_in", "conv_out")]
    assert method.planned(model, 32).rows == 32 * len(learned) + 3 * 7 * 5


def test_units_that_are_not_settled_are_named(model):
    keep = ("down_blocks", "up_blocks", "mid_block", "conv_in", "conv_out")
    found = QDiffusion(iterations=1, batch=2, keep=keep)(model, planted_rows())
    assert any("time_embedding" in sentence and "not settled" in sentence for sentence in found.warnings)


def test_it_says_what_is_missing(model):
    with pytest.raises(BadInput, match="calibration"):
        QDiffusion()(model)
    with pytest.raises(ValueError, match="parts must be denoiser"):
        QDiffusion(parts=("denoiser", "text_encoder"))
