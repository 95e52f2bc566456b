import re

import torch

import tiny
from intaglio.cli import main
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.guides.site_edit_guide import SiteEditGuide
from intaglio.sampling.loop import sample
from intaglio.sampling.site_edit import SiteEdit, ValueShifts

SMALL = {"edit": "edit.safetensors", "strength": 2.0}
BAD = {"strength": 1e999}
PIECES = {}


def test_the_flag_alone_names_the_method_and_draws_what_the_guide_does(tmp_path, capsys):
    folder = tiny.sd_folder(tmp_path / "base")
    model = load_model(folder)
    shifts = torch.randn(2, 1, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    edit = SiteEdit("mid_block", ("a", "b"), model.fingerprint, ValueShifts(shifts, (999,)), seed=3)
    edit.save(tmp_path / "edit.safetensors")
    words = f"sample --model {folder} --prompt dog --count 2 --steps 2 --guidance 1 --out {tmp_path}/out".split()
    assert main([*words, "--edit", str(tmp_path), "--strength", "3"]) == 0
    guide = SiteEditGuide(1.0, edit.scaled(3.0))
    expected = sample(model, ["dog"] * 2, [0, 1], steps=2, guidance_scale=1.0, guide=guide)
    found = ImageSet.load(tmp_path / "out", model.resolution)
    assert sorted(found.hashes) == sorted(expected.hashes)
    for given, said in (("none", "none does not exist"), (str(folder / "unet"), "has no edit")):
        assert main([*words, "--edit", given]) == 2
        assert said in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_an_edit_must_be_given(tmp_path, capsys):
    folder = tiny.sd_folder(tmp_path / "base")
    assert main(["sample", "edited", "--model", str(folder), "--prompt", "dog"]) == 2
    assert "there is no edit to draw with" in capsys.readouterr().err
