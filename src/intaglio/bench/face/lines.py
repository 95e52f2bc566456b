"""Command lines that are measured, and the files that they name."""

import shlex
from pathlib import Path

from intaglio.bench.face.commands_timed import PROGRAM
from intaglio.errors import IntaglioError

SET = "hands"
"""The few-shot set that commands work on."""
PROMPT = "a photo of sks"
SUSPECT = "suspect/suspect.safetensors"


def _words(lines: dict[str, str]) -> dict[str, list[str]]:
    return {name: shlex.split(line) for name, line in lines.items()}


WRONG = _words(
    {
        "a folder that is not there": "finetune lora --images nowhere",
        "pictures without captions": "finetune lora --images pictures/members",
        "too few controls": "authenticate cgi-dm --suspect pictures --images pictures/members --controls pictures/few",
        "a suspect that is not there": "extract finextract --suspect nowhere --authority mine",
        "a rate that no count shows": "extract cfg --suspect pictures --authority mine --generations 5",
        "a device that is not there": "sample --prompt x --device gpu",
        "a file of prompts that is not there": "sample --prompts nowhere.txt",
        "a table that is not there": "discover nowhere.csv",
        "a model that is not there": "shrink gptq --model nowhere",
        "a misspelt flag": "protect advdm --image pictures/members",
    }
)
"""Wrong command lines by what is wrong."""
PLANNED = _words(
    {
        "finetune": f'finetune lora --images pictures/members --prompt "{PROMPT}"',
        "authenticate": f'authenticate loss-gap --suspect {SUSPECT} --images pictures/members --prompt "{PROMPT}" '
        "--controls pictures/controls",
        "authenticate cgi-dm": f"authenticate cgi-dm --suspect {SUSPECT} --images pictures/members "
        f'--controls pictures/controls --prompt "{PROMPT}"',
        "extract": f'extract cfg --suspect {SUSPECT} --authority mine --prompt "{PROMPT}" --generations 60',
        "protect": "protect advdm --images pictures/members",
        "protect evaluate": "protect evaluate --images pictures/members --protected pictures/members --seeds 1 "
        "--purifiers none jpeg-75 blur --tuning-steps 60",
        "sample": "sample --prompt cat dog --count 40 --out drawn",
        "sample train": "sample train ot --prompt cat --states 200",
        "distill": "distill guided --prompt cat --steps 30 --halving-steps 10 --own 32",
        "shrink": "shrink gptq --bits 4",
        "merge": f"merge soup {SUSPECT} {SUSPECT} --base emoji64 --images pictures/holdouts",
        "discover": "discover sicl table.csv --subsamples 30",
        "discover spot": "discover spot table.csv",
        "flow train": "flow train --images pictures/controls --steps 100",
        "flow sample": "flow sample sequential --count 64",
    }
)
"""Command lines whose plans are measured, by verb."""
QUICK = ("finetune", "authenticate", "extract", "shrink", "flow train")
"""Verbs of the quick bench."""


def _write_table(path: Path) -> None:
    """Writes 1000 rows of ten numbers, of a linear model over a random graph."""
    import numpy as np

    random = np.random.default_rng(3)
    effects = np.triu((random.random((10, 10)) < 0.25) * random.uniform(0.3, 1.0, (10, 10)), 1)
    rows = random.standard_normal((1000, 10)) @ np.linalg.inv(np.eye(10) - effects)
    lines = [",".join(f"{value:.6f}" for value in row) for row in rows]
    path.write_text("\n".join([",".join(f"x{k}" for k in range(10)), *lines]) + "\n", encoding="utf-8")


def prepared(folder: Path) -> None:
    """Writes the pictures that command lines name, and tunes the suspect. Raises `IntaglioError` where that fails."""
    import subprocess

    from intaglio.models.testbed import materialise

    _write_table(folder / "table.csv")
    pictures = folder / "pictures"
    materialise(SET, pictures, captions=False)
    (pictures / "few").mkdir()
    for path in sorted((pictures / "controls").glob("*.png"))[:5]:
        (pictures / "few" / path.name).write_bytes(path.read_bytes())
    tuned = f'finetune lora --images pictures/members --prompt "{PROMPT}" --steps 60 --learning-rate 4e-3'
    words = [*PROGRAM, *shlex.split(f"{tuned} --sample-count 0 --watch-every 0 --name suspect --runs suspect-runs")]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise IntaglioError(f"the suspect could not be tuned: {done.stderr.strip()[-300:]}")
    weights = folder / SUSPECT
    weights.parent.mkdir()
    weights.write_bytes(Path(folder / done.stdout.split()[-1]).read_bytes())
