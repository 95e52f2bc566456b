"""A package of two small models: a whole one, and one that borrows all but its U-Net and scheduler."""

import json
import shutil
from pathlib import Path

import tiny
from intaglio.models import embedded_models


def embedded_pair(monkeypatch, folder: Path) -> Path:
    """Has `folder` stand for the package's models, `emoji64` and `little`; returns the folder of a whole `little`."""
    tiny.sd_folder(folder / embedded_models.LENDER)
    whole = tiny.sd_folder(folder.parent / "whole", seed=1, prediction="v_prediction")
    (folder / "little").mkdir()
    for part in ("unet", "scheduler"):
        shutil.copytree(whole / part, folder / "little" / part)
    index = json.loads((whole / "model_index.json").read_text())
    kept = {name: value for name, value in index.items() if name[0] == "_" or name in ("unet", "scheduler")}
    (folder / "little" / "model_index.json").write_text(json.dumps(kept))
    monkeypatch.setattr(embedded_models, "FOLDER", folder)
    return whole
