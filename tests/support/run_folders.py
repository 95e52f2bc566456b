"""Run folders made by hand, for the tests of reports (and for looking at them)."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from intaglio.metrics.statistics.conformal import called, p_values, rank_test, threshold
from intaglio.metrics.statistics.roc import separation


def run_json(folder: Path, verb: str, method: str, **more) -> None:
    content = {
        "format": 1,
        "name": f"{verb}-{method}-0123456789",
        "verb": verb,
        "method": method,
        "settings": {"steps": 40, "radius_rms": 0.773, "encoder": None, "nested": {"rate": 0.05}},
        "inputs": {
            "suspect": {"path": "/home/ann/models/suspect", "sha256": "ab" * 32},
            "base": {"path": "/home/ann/models/base", "sha256": "cd" * 32},
        },
        "versions": {"intaglio": "0.1.0", "torch": "2.13.0"},
        "machine": {"system": "Linux", "cores": 2},
        "device": "cpu",
        "seed": 3,
        "command": [verb, method, "--suspect", "/home/ann/models/suspect"],
        "status": "done",
        "started": "2026-11-22T05:00:00+00:00",
        "finished": "2026-11-22T05:02:00+00:00",
        "seconds": 120.4,
        "joules": None,
        "warnings": ["apple.png was smaller than the model's 64 pixels and was enlarged"],
        "summary": {},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(content | more))


def save(folder: Path, name: str, pixels: np.ndarray) -> str:
    path = folder / "images" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return f"images/{name}.png"


def checkered(pixels: np.ndarray, fill: np.ndarray, side: int = 8) -> np.ndarray:
    rows, columns = np.indices(pixels.shape[:2]) // side
    return np.where(((rows + columns) % 2 == 0)[..., None], pixels, fill).astype(np.uint8)


def audit_run(
    folder: Path, members, others, controls, *, rate=0.05, labels=True, seed=0, sides="upper", **more
) -> Path:
    """An audit of `members` and `others` (arrays [n, h, w, 3]) against `controls`, with made-up scores.

    With both sides every second member scores as far below the controls as others do above.
    """
    generator = np.random.default_rng(seed)
    groups = {"member": members, "other": others, "control": controls}
    scores = {
        group: np.round(generator.normal(0.78 if group == "member" else 0.5, 0.07, len(pixels)), 4)
        for group, pixels in groups.items()
    }
    if sides == "both":
        scores["member"][1::2] = np.round(1 - scores["member"][1::2], 4)
    asked = np.concatenate([scores["member"], scores["other"]])
    p = p_values(asked, scores["control"], sides)
    bar = threshold(scores["control"], rate, sides=sides)
    calls = called(p, rate)

    def picture(group, k, score, p_value=None, call=None, truth=None):
        original = groups[group][k]
        blurred = np.asarray(Image.fromarray(original).resize((8, 8)).resize(original.shape[1::-1]))
        refill = original if score > 0.65 else blurred
        name = f"{group}-{k:02d}"
        images = {
            "original": save(folder, f"original/{name}", original),
            "partial": save(folder, f"partial/{name}", checkered(original, np.full_like(original, 128))),
            "recovered": save(folder, f"recovered/{name}", checkered(original, refill)),
        }
        return {
            "name": name,
            "score": None if math.isnan(score) else float(score),
            "p_value": p_value,
            "called": call,
            "truth": truth,
            "signals": {"similarity": float(score)},
            "images": images,
        }

    named = [("member", k) for k in range(len(members))] + [("other", k) for k in range(len(others))]
    verdict = {
        "method": "cgi-dm",
        "score": "gain in similarity",
        "prompt": "sks animal",
        "questioned": [
            picture(
                g, k, asked[i], float(p[i]), bool(calls[i]) if bar.enough else None, g == "member" if labels else None
            )
            for i, (g, k) in enumerate(named)
        ],
        "controls": [picture("control", k, s) for k, s in enumerate(scores["control"])],
        "threshold": asdict(bar),
        "set_test": asdict(rank_test(asked, scores["control"], sides=sides)),
        "two_sided": ["gain in similarity"] if sides == "both" else [],
        "separation": separation(scores["member"], scores["other"]).to_dict() if labels else None,
    }
    (folder / "verdict.json").write_text(json.dumps(verdict))
    run_json(folder, "authenticate", "cgi-dm", **more)
    return folder


def finetune_run(folder: Path, pictures: np.ndarray, steps: int = 60, **more) -> Path:
    """A fine-tune of `pictures`, with a made-up loss."""
    generator = np.random.default_rng(1)
    for k, pixels in enumerate(pictures):
        save(folder, f"data/{k:02d}", pixels)
    for step in (steps // 2, steps):
        save(folder, f"samples-{step:06d}", np.concatenate(list(pictures[:4]), 1))
    rows = [
        {"step": k, "loss": float(0.2 / (1 + k / 20) + generator.normal(0, 0.02)), "lr": 1e-4, "gradient_norm": 1 / k}
        for k in range(1, steps + 1)
    ]
    (folder / "metrics").mkdir()
    (folder / "metrics" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "records" / "plan").mkdir(parents=True)
    plan = {"key": "plan", "value": {"pictures": len(pictures), "steps": steps, "batch": 4, "step_s": 0.21}}
    (folder / "records" / "plan" / "plan-00.json").write_text(json.dumps(plan))
    summary = {"weights": "model", "prompt": "sks animal", "pictures": len(pictures), "loss_last_tenth": 0.05}
    run_json(folder, "finetune", "dreambooth", **({"settings": {"steps": steps}, "summary": summary} | more))
    return folder


def watched(folder: Path, picture: np.ndarray) -> Path:
    """Adds to a fine-tune what was judged on the way: a rise, a fall with noise, and a rise again; step 20 is kept."""
    likeness = {0: 0.1, 10: 0.5, 20: 0.8, 30: 0.5, 40: 0.4, 50: 0.6, 60: 0.9}
    rows = [
        {
            "step": step,
            "fidelity": value,
            "quality": 0.4 if value in (0.5, 0.4) else 0.95,
            "diversity": 0.5,
            "pass_through": 1 - value,
            "collapse": value,
            "deviation": 2 - value,
        }
        for step, value in likeness.items()
    ]
    (folder / "metrics" / "watch.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for step in likeness:
        save(folder, f"watch/{step:06d}", picture)
    about = json.loads((folder / "run.json").read_text())
    about["summary"] |= {
        "kept_step": 20,
        "fidelity": 0.8,
        "quality": 0.95,
        "corruption": [{"first": 30, "detected": 40, "last": 50}],
    }
    about["settings"] |= {"bayesian": True}
    (folder / "run.json").write_text(json.dumps(about))
    return folder
