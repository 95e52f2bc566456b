"""Files of trained parts: what a made-up file lacks is named in a sentence."""

import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.tensors import write_state
from intaglio.sampling.trained_part import KIND, TrainedPart


@pytest.mark.parametrize("without", ["model", "settings", "facts", "hash"])
def test_a_file_that_lacks_a_field_is_refused_with_its_name(tmp_path, without):
    about = {"kind": KIND, "trainer": "ot", "model": "0" * 64, "settings": {}, "facts": {}, "hash": "0" * 64}
    path = tmp_path / "ot.safetensors"
    write_state(path, {"states": torch.zeros(2)}, {key: value for key, value in about.items() if key != without})
    with pytest.raises(BadInput, match=f"(?s){without}.*sample train ot"):
        TrainedPart.load(path, "ot", load_model(tiny.sd_folder(tmp_path / "model")))


def test_a_file_that_was_cut_off_is_refused_as_a_file_and_not_as_work_to_do_again(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "model"))
    path = tmp_path / "part.safetensors"
    TrainedPart("ot", model.fingerprint, {}, {"weight": torch.ones(4)}, {}).save(path)
    assert TrainedPart.load(path, "ot", model).tensor("weight").tolist() == [1, 1, 1, 1]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BadInput, match="cut off or damaged; give the file that intaglio sample train ot wrote"):
        TrainedPart.load(path, "ot", model)
