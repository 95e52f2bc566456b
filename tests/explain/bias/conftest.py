import pytest

import tiny
from intaglio.models.diffusion.loading import load_model


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("bias") / "base"))
