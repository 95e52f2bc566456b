"""Random pipelines by the kinds of the families, and folders of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from intaglio.bench.models.random_models.chat_pipelines import klein_pipeline, zimage_pipeline
from intaglio.bench.models.random_models.gemma_pipelines import lumina_pipeline, sana_pipeline
from intaglio.bench.models.random_models.mistral_pipelines import flux2_dev_pipeline
from intaglio.bench.models.random_models.qwen_pipelines import qwen_pipeline
from intaglio.bench.models.random_models.t5_pipelines import (
    auraflow_pipeline,
    chroma_pipeline,
    flux_pipeline,
    pixart_pipeline,
    sd3_pipeline,
)
from intaglio.bench.models.random_models.unet_pipelines import sd_pipeline, sdxl_pipeline

PIPELINES: dict[str, Callable] = {
    "sd1": sd_pipeline,
    "sdxl": sdxl_pipeline,
    "sd3": sd3_pipeline,
    "sd3-without-t5": lambda seed=0: sd3_pipeline(seed, with_t5=False),
    "flux1-dev": flux_pipeline,
    "flux1-schnell": lambda seed=0: flux_pipeline(seed, guidance=False),
    "zimage": zimage_pipeline,
    "klein": klein_pipeline,
    "chroma": chroma_pipeline,
    "qwen-image": qwen_pipeline,
    "pixart-sigma": pixart_pipeline,
    "lumina2": lumina_pipeline,
    "auraflow": auraflow_pipeline,
    "sana": sana_pipeline,
    "flux2-dev": flux2_dev_pipeline,
}
"""Makers of tiny pipelines, by kind; each takes a seed."""


def folder_of(kind: str, folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Saves a pipeline of a kind in `PIPELINES`, made with further arguments; returns `folder`."""
    PIPELINES[kind](seed, **changes).save_pretrained(folder, safe_serialization=True)
    if kind == "qwen-image":  # whose pipeline knows the published side alone
        index = Path(folder) / "model_index.json"
        index.write_text(json.dumps({**json.loads(index.read_text()), "sample_size": 8}))
    return Path(folder)
