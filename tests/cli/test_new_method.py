"""A method is two new files and no edit: one is added to a copy of the tree, and everything follows."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
METHOD = '''"""Brightness: a stand-in for a new audit."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.per_model import PerModelScore, PromptedModel


@dataclass(frozen=True, kw_only=True)
class Brightness(PerModelScore):
    """Brightness: how large the latents are, whatever the model.

    The score is the mean of the latents [n, c, h, w], times `weight`.
    """

    reading: ClassVar[str] = "how bright the picture is, which says nothing of membership"

    weight: float = 1.0
    """Factor of the mean, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight <= 0:
            raise ValueError(f"weight must be above 0, not {self.weight}")

    @property
    def last_timestep(self) -> int:
        """None is asked about."""
        return 0

    def score(self, model: PromptedModel, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
        """The weighted mean."""
        return self.weight * latents.flatten(1).mean(1)
'''
OWN_TEST = """SMALL = {"batch": 1}
BAD = {"weight": 0.0}
PIECES = {"micro_batch": 1}
"""
ASKED = """
import json, sys
from pathlib import Path
import generate
from intaglio import Brightness
from intaglio.bench.kit.methods import default_methods
from intaglio.cli import main
from intaglio.verbs import VERBS
from rows import matrix

def test_brightness_is_there(capsys):
    told = {
        "summary": VERBS["authenticate"].methods["brightness"].summary,
        "name": Brightness.name,
        "public": "Brightness" in dir(__import__("intaglio")),
        "help": main(["authenticate", "brightness", "--help"]),
        "bench": "brightness" in default_methods("authenticate", seed=0),
        "page": "`--weight`" in generate.pages()["authenticate-brightness.md"],
        "stub": "Brightness as Brightness" in generate.stub(),
        "row": dict(matrix()["authenticate brightness"].small),
    }
    Path("told.json").write_text(json.dumps(told))
"""
"""A test in the copy, beside the shared ones there: libraries are imported but once."""


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the sources, tests and page generator, with the two new files; models are links."""
    tree = tmp_path_factory.mktemp("tree")
    heavy = shutil.ignore_patterns("__pycache__", "testbed", "shipped", "__snapshots__", "*.safetensors")
    for folder in ("src", "tests", "docs"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=heavy)
    for folder in ("src/intaglio/testbed", "src/intaglio/causal/methods/sicl/shipped"):
        (tree / folder).symlink_to(ROOT / folder)
    shutil.copy(ROOT / "pyproject.toml", tree)
    (tree / "src/intaglio/audit/membership/methods/brightness.py").write_text(METHOD)
    (tree / "tests/audit/membership/methods/test_brightness.py").write_text(OWN_TEST)
    (tree / "tests/test_asked.py").write_text(ASKED)
    return tree


def test_all_follows_from_the_files_and_passes_the_shared_tests_and_those_of_its_family(copied):
    """Command, bench, page, public name and matrix."""
    tests = ["test_asked.py", "methods/test_matrix.py", "audit/membership/test_every_audit.py"]
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in tests), "-k", "brightness"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(copied / name) for name in ("src", "docs"))}
    done = subprocess.run([sys.executable, *words], cwd=copied, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 15
    assert json.loads((copied / "told.json").read_text()) == {
        "summary": "Brightness: how large the latents are, whatever the model",
        "name": "brightness",
        "public": True,
        "help": 0,
        "bench": True,
        "page": True,
        "stub": True,
        "row": {"batch": 1},
    }


def test_without_its_own_test_it_is_told_what_is_missing(copied):
    (copied / "tests/audit/membership/methods/test_brightness.py").rename(copied / "aside.py")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.path.insert(0, 'tests/support'); import rows; rows.matrix()"],
        cwd=copied,
        env=os.environ | {"PYTHONPATH": str(copied / "src")},
        capture_output=True,
        text=True,
    )
    assert (
        "authenticate brightness has no test of its own; write tests/audit/membership/methods/test_brightness.py"
        in (done.stderr)
    )
