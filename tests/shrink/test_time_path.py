import pytest
import torch

from intaglio.models.diffusion.loading import load_model
from intaglio.models.testbed import base_path
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import drawn_states
from intaglio.shrink.code_grid import grid_of
from intaglio.shrink.price import prediction_error
from intaglio.shrink.reconstruct import Reconstruction, reconstruct
from intaglio.shrink.rounding import SoftRounding
from intaglio.shrink.time_path import grid_times, time_rows, time_unit


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "times"), [(2, 4.0), (3, 3.0), (4, 2.0)])
def test_the_path_of_the_embedded_model_is_learned_and_its_predictions_gain(bits, times):
    """Only the time path is in few bits. Errors of features fall by more than these factors, those of predictions too
    by half of them; at 2 bits the latter fall below 0.05."""
    model = load_model(base_path())
    unit = time_unit(model)
    grids = {name: grid_of(layer.matrix, bits, 0, False) for name, layer in unit.layers.items()}
    soft = {name: SoftRounding.of(layer.matrix, grids[name]) for name, layer in unit.layers.items()}
    rows, judging = (time_rows(model, t) for t in grid_times(50, 1000))
    about = Reconstruction(1000, 8, 0.04, 0.01, 0)
    with model.frozen(), Run.none().progress(about.iterations, "test") as progress:
        found = reconstruct(unit, soft, {}, rows, judging, about, progress=progress)
    assert found.loss < found.nearest / times**2
    held, errors = drawn_states(model, ["a red cat", "a dog"], 64).held, []
    for terms in (found.terms, {name: grids[name].nearest(layer.matrix) for name, layer in unit.layers.items()}):
        other = model.copy()
        with torch.no_grad():
            for name, term in terms.items():
                other.denoiser.get_parameter(unit.layers[name].name).copy_(term.unpack())
        errors.append(prediction_error(model, other, held).whole)
    assert errors[0] < errors[1] / (times / 2)
    assert bits > 2 or errors[0] < 0.05
