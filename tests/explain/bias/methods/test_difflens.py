import torch

from bias_scenes import planted
from intaglio.explain.bias.methods.difflens import DiffLens
from intaglio.runs.run import Run
from intaglio.sampling.site_edit import ValueCodes

SMALL = {
    "samples": 6, "batch": 2, "steps": 2, "words": (" red", " dog", " cat"), "expansion": 1, "active": 2, "updates": 3,
    "features": 2,
}  # fmt: skip
BAD = {"temperature": 0.0}
PIECES = {"batch": 1}
VARIANTS = {"multiply": {"SMALL": {"way": "multiply", "strength": 2.0}, "BAD": {"features": 0}, "PIECES": {"batch": 1}}}


def test_the_code_that_the_value_hangs_on_comes_first_and_is_raised_by_its_mean():
    """Activations z D of a known dictionary, one of whose codes is above 0 in drawings of one value alone."""
    samples, z, dictionary = planted(channels=8)
    method = DiffLens(expansion=1, active=4, updates=400, features=2, strength=3.0)
    found = method.found(samples, Run.none())
    change = found.change
    assert isinstance(change, ValueCodes)
    atoms = torch.nn.functional.normalize(change.autoencoder.dictionary, dim=1)
    assert float(atoms[change.features[1, 0]] @ dictionary[3]) > 0.8
    assert found.told > 0.95
    # The mean push towards the value is along the planted atom, by about three times its mean code.
    pushed = change.change(samples.walks.values[:4, 0], torch.ones(4, dtype=torch.long), 10)[0, :, 0, 0]
    mean = z[..., 3][z[..., 3] > 0].mean()
    assert 2 < float(pushed @ dictionary[3]) / float(mean) < 4.5
    assert not set(change.features[1].tolist()) & set(found.control.features[1].tolist())  # pyright: ignore
