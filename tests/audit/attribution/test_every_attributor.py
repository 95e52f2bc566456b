"""Shared claims about every attribution; a method joins by its file and its own test."""

import pytest
import torch

import tiny
from attribution_scenes import planted
from intaglio.audit.attribution.audit import attribute_pictures
from intaglio.audit.attribution.fitted_sources import FittedSources
from intaglio.audit.attribution.methods.spectrum import Spectrum
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.tensors import write_state
from rows import matrix

ROWS = [pytest.param(row, id=key) for key, row in matrix().items() if row.verb == "audit attribution"]
every_attributor = pytest.mark.parametrize("row", ROWS)
SOURCES = {"one": planted(0, 8), "two": planted(1, 8)}
ASKED = planted(1, 3, seed=1)


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    made = {}

    def fit(row):
        if row.key not in made:
            method = load(row.target)(**row.small)
            own = {}
            if method.needs_models:
                own = {"models": {"one": load_model(tiny.sd_folder(tmp_path_factory.mktemp("model")))}}
            made[row.key] = (method, method.fit(SOURCES, **own), own)
        return made[row.key]

    return fit


@every_attributor
def test_posteriors_sum_to_one_and_neither_order_nor_company_matters(row, fits):
    method, fitted, own = fits(row)
    assert len(method.reading) > 20
    assert (fitted.sources, fitted.size) == (("one", "two"), (16, 16))
    found = attribute_pictures(method, fitted, ASKED, **own, rate=0.7)
    torch.testing.assert_close(found.log_posterior.exp().sum(1), torch.ones(3).double())
    turned = attribute_pictures(method, fitted, ASKED[[2, 0]], **own, rate=0.7)
    torch.testing.assert_close(turned.log_posterior, found.log_posterior[[2, 0]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(turned.knownness, found.knownness[[2, 0]], rtol=1e-4, atol=1e-5)
    assert found.seen == (False, False, False)
    assert attribute_pictures(method, fitted, SOURCES["one"][[0]], **own, rate=0.7).seen == (True,)


@every_attributor
def test_a_fit_is_stored_read_and_used_again(row, fits, tmp_path):
    method, fitted, own = fits(row)
    read = FittedSources.load(fitted.save(tmp_path / "attributor"), method.name)
    assert read.hash == fitted.hash
    assert type(method)(**read.own_settings) == method
    assert read.hash in (tmp_path / "attributor" / "README.md").read_text()
    first, second = (attribute_pictures(method, one, ASKED, **own, rate=0.7) for one in (fitted, read))
    assert first.to_dict() == second.to_dict()
    with pytest.raises(BadInput, match="fitted by .* with other settings"):
        attribute_pictures(type(method)(**{**row.small, "seed": 1}), read, ASKED, **own)


@pytest.fixture
def small():
    return Spectrum(rings=8).fit(SOURCES)


def test_what_cannot_be_attributed_is_refused_before_any_work(small):
    method = Spectrum(rings=8)
    wrong = {"there are no pictures": ASKED[[]], "12x12 pixels and those of the sources 16x16": planted(0, 2, 12)}
    for words, images in wrong.items():
        with pytest.raises(BadInput, match=words):
            attribute_pictures(method, small, images)
    with pytest.raises(ValueError, match="rate must lie between 0 and 1"):
        attribute_pictures(method, small, ASKED, rate=1.0)
    small.tensors["mean"][0] = torch.nan
    with pytest.raises(IntaglioError, match="the numbers of 000. are not finite"):
        attribute_pictures(method, small, ASKED)


def test_files_that_are_no_fit_are_refused(small, tmp_path):
    folder = small.save(tmp_path / "fit")
    path = folder / "attributor.safetensors"
    whole = path.read_bytes()
    with pytest.raises(BadInput, match="was fitted by spectrum, and not by cnn; give the folder attributor"):
        FittedSources.load(folder, "cnn")
    with pytest.raises(BadInput, match="holds no attributor.safetensors"):
        FittedSources.load(tmp_path, "spectrum")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="is cut off or damaged"):
        FittedSources.load(folder, "spectrum")
    path.write_bytes(whole[:-8] + b"12345678")
    with pytest.raises(BadInput, match="was changed since it was fitted"):
        FittedSources.load(folder, "spectrum")
    write_state(path, {}, {"kind": "fitted sources", "method": "spectrum"})
    with pytest.raises(BadInput, match="lacks what a fit needs"):
        FittedSources.load(folder, "spectrum")


def test_few_held_out_pictures_rule_nothing_out(small):
    found = attribute_pictures(Spectrum(rings=8), small, ASKED, rate=0.05)
    assert found.too_few == ("one", "two")
    assert set(found.verdicts) == {-2}
    assert found.verdict(0) == "undecided: one, two"
    assert "No picture can be attributed: one and two have fewer held-out pictures than the 39" in found.statement
    assert attribute_pictures(Spectrum(rings=8), small, ASKED, rate=0.7).too_few == ()
    assert found.to_frame().shape == (3, 3 + 4)
