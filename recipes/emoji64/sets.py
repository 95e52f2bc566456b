"""The few-shot sets: the held-out artist's pictures by subject, in members, holdouts, near twins and controls.

    python recipes/emoji64/sets.py --data FOLDER [--out src/intaglio/testbed/sets]

FOLDER is what `data.py` wrote. Twins (genders, directions, clock faces, hearts of another colour) are found by
their names, by their code points and by their pixels; no picture has a twin among the members and holdouts of its
set. Members and holdouts are the two halves of one random draw, so nothing but membership tells them apart.
`near` are the unused pictures most like the members: the twins, where there are any.
"""

import argparse
import hashlib
import io
import json
import re
import zipfile
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from intaglio.images.image_set import pixel_hash

HERE = Path(__file__).parent
SEED = 20
EACH = 10
CONTROLS = 40
OTHER_HANDS = 20
WIDE = 200
TWIN = 0.30
"""Pixel distance below which two pictures are twins; found by looking at pairs on both sides of it."""
SAME = 0.05
"""Below this they are one drawing, perhaps mirrored: whoever trained on one has trained on the other."""

SUBJECTS = {
    "mammals": ["animal-mammal"],
    "birds-bugs-and-fish": ["animal-bird", "animal-bug", "animal-marine", "animal-reptile", "animal-amphibian"],
    "plants-and-produce": ["plant-flower", "plant-other", "food-fruit", "food-vegetable"],
    "meals": ["food-prepared", "food-asian"],
    "sweets-and-drinks": ["food-sweet", "drink", "dishware"],
    "faces-at-ease": [
        "face-smiling",
        "face-affection",
        "face-tongue",
        "face-glasses",
        "face-hat",
        "face-hand",
        "face-neutral-skeptical",
    ],
    "faces-unwell": ["face-concerned", "face-unwell", "face-sleepy", "face-negative"],
    "hands": [
        "hand-fingers-open",
        "hand-fingers-partial",
        "hand-single-finger",
        "hand-fingers-closed",
        "hands",
        "hand-prop",
        "body-parts",
    ],
    "roles": ["person-role", "person-fantasy"],
    "vehicles": ["transport-ground", "transport-water", "transport-air"],
    "places": ["place-building", "place-religious", "place-other", "place-geographic", "place-map"],
    "sky-and-time": ["sky & weather", "time"],
    "clothing": ["clothing"],
    "sport-and-games": ["sport", "game", "event"],
    "music-and-screens": ["musical-instrument", "music", "sound", "light & video", "phone", "computer"],
    "tools-and-household": ["tool", "household"],
    "paper-and-office": ["book-paper", "office", "writing", "mail"],
}

IGNORED = """
man men woman women person boy girl male female prince princess left right leftwards rightwards up down facing
oncoming white black red green blue yellow orange purple brown pink grey light heavy small large slice first second
third raised lowered flag face symbol sign hand ball cloth with of the and a in on
"""
QUALIFIERS = set(IGNORED.split())
GENDERED = {"1F468": "P", "1F469": "P", "1F9D1": "P", "1F934": "R", "1F478": "R", "1F385": "C", "1F936": "C"}
DROPPED = {"2640", "2642", "FE0F", "200D", "27A1"}


def words(name: str) -> frozenset[str]:
    """A name without gender, direction and colour; clock faces and phases of the moon are one subject each."""
    found = frozenset(w.removesuffix("s") for w in re.findall(r"[a-z]+", name) if w not in QUALIFIERS)
    if found >= {"clock"} and "face" in name:
        return frozenset({"clock"})
    return frozenset({"moon"}) if "moon" in found and "cake" not in found else found


def points(code: str) -> tuple[str, ...]:
    """Code points without gender and direction."""
    return tuple(GENDERED.get(c, c) for c in code.split("-") if c not in DROPPED)


def same_subject(names: list[str], codes: list[str]) -> np.ndarray:
    """[n, n]: same code points, or one name is the other with more words ('hourglass', 'hourglass with sand')."""
    bags, keys = [words(n) for n in names], [points(c) for c in codes]
    out = np.zeros((len(names), len(names)), dtype=bool)
    for i, (bag, key) in enumerate(zip(bags, keys, strict=True)):
        out[i] = [key == k or (bool(b) and b <= bag) for b, k in zip(bags, keys, strict=True)]
    return out | out.T


def distances(some: np.ndarray, others: np.ndarray) -> torch.Tensor:
    """[n, m]: difference of ink (1 - colour) at 32 x 32 over the geometric mean of the two inks, mirrored or not."""
    first, second = (
        torch.nn.functional.avg_pool2d(1 - torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, 2)
        for pixels in (some, others)
    )
    mirrored = second.flip(-1).flatten(1)
    first, second = first.flatten(1), second.flatten(1)
    inner = torch.maximum(first @ second.T, first @ mirrored.T)
    ink, other_ink = first.square().sum(1)[:, None], second.square().sum(1)[None]
    return (ink + other_ink - 2 * inner).clamp_min(0).sqrt() / (ink * other_ink).clamp_min(1e-12) ** 0.25


class Pictures:
    """Pictures with what is needed to tell twins."""

    def __init__(self, path: Path, without: str = "Component/"):
        """Reads one file of data.py; leaves out the groups that begin with `without` (patches of skin)."""
        data = np.load(path)
        keep = np.flatnonzero([not str(group).startswith(without) for group in data["group"]])
        self.pixels = data["pixels"][keep]
        """uint8 [n, 64, 64, 3]"""
        self.artist, self.name, self.group, self.code = (
            [str(v) for v in data[k][keep]] for k in ("artist", "name", "group", "code")
        )
        self.files = unique([re.sub(r"[^a-z0-9]+", "-", n.lower()).strip("-") for n in self.name])
        self.category, self.kind = ([g.split("/")[end] for g in self.group] for end in (0, -1))

    @cached_property
    def distance(self) -> np.ndarray:
        return distances(self.pixels, self.pixels).numpy()

    @cached_property
    def same_subject(self) -> np.ndarray:
        return same_subject(self.name, self.code)

    @cached_property
    def twins(self) -> np.ndarray:
        """bool [n, n], symmetric, not transitive"""
        return self.same_subject | (self.distance < TWIN)

    def distinct(self, order: list[int], count: int, apart_from: list[int] = []) -> list[int]:  # noqa: B006
        """The first `count` of `order` that are twins neither of each other nor of `apart_from`."""
        chosen: list[int] = []
        for index in order:
            if len(chosen) < count and not self.twins[index, chosen + apart_from].any():
                chosen.append(index)
        return chosen


def unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return out


def shuffled(items: list[int], key: str) -> list[int]:
    seed = int.from_bytes(hashlib.sha256(f"{SEED} {key}".encode()).digest()[:6], "big")
    return [items[i] for i in torch.randperm(len(items), generator=torch.Generator().manual_seed(seed)).tolist()]


def nearest(artist: Pictures, members: list[int], used: list[int], kinds: list[str]) -> list[int]:
    """For each member, closest pair first, the unused picture of the kind that is most like it; none twice."""
    free = [i for i in range(len(artist.name)) if i not in set(used)]
    pairs = np.ix_(members, free)
    gap = artist.distance[pairs].copy()
    gap[artist.same_subject[pairs]] *= 0.1  # before whatever happens to have the same colours
    gap[:, [artist.kind[i] not in kinds for i in free]] += 10
    gap[:, (artist.distance[pairs] < SAME).any(0)] = np.inf  # not apart from the members at all
    found = []
    for _ in members:
        row, column = divmod(int(gap.argmin()), len(free))
        found.append(free[column])
        gap[row], gap[:, column] = np.inf, np.inf
    return found


def split(artist: Pictures, subject: str, kinds: list[str]) -> dict[str, list[int]]:
    """Indices of one set's pictures. Members and holdouts: halves of one draw of twenty without twins."""
    of_kind = [i for i, kind in enumerate(artist.kind) if kind in kinds]
    drawn = artist.distinct(shuffled(of_kind, subject), 2 * EACH)
    if len(drawn) < 2 * EACH:
        raise SystemExit(f"{subject}: only {len(drawn)} pictures without twins among {len(of_kind)}")
    members, holdouts = drawn[:EACH], drawn[EACH:]
    near = nearest(artist, members, drawn, kinds)
    categories = {artist.category[i] for i in of_kind}
    rest = shuffled([i for i, c in enumerate(artist.category) if c in categories and i not in of_kind], subject)
    controls = artist.distinct(shuffled(of_kind, f"{subject} controls") + rest, CONTROLS, drawn + near)
    return {"members": members, "holdouts": holdouts, "near": near, "controls": controls}


def controls_wide(artist: Pictures, splits: dict[str, dict[str, list[int]]]) -> list[int]:
    """Pictures that are in no set except as a control, of the sets' categories, twins of no member of any set."""
    used = {i for chosen in splits.values() for part in ("members", "holdouts", "near") for i in chosen[part]}
    members = [i for chosen in splits.values() for i in chosen["members"]]
    unlike = {"Flags", "Symbols"}
    rest = [i for i, category in enumerate(artist.category) if i not in used and category not in unlike]
    return artist.distinct(shuffled(rest, "wide"), WIDE, members)


def other_hands(base: Pictures, held: Pictures, subjects: list[int], key: str) -> list[int]:
    """For each picture, the same subject by one of the base's artists in turn."""
    by_artist = {name: {} for name in ("twemoji", "openmoji", "fluent")}
    names = {base.code[i]: base.name[i] for i in range(len(base.name)) if base.artist[i] == "openmoji"}
    for i in range(len(base.name)):
        by_artist[base.artist[i]][base.code[i]] = i
    for code, name in names.items():
        plain = name.replace(" ", "-")
        for candidate in (plain, f"{plain}-default"):
            if candidate in by_artist["fluent"]:
                by_artist["fluent"].setdefault(code, by_artist["fluent"][candidate])
    found = []
    for place, index in enumerate(shuffled(subjects, key)):
        artists = list(by_artist)
        turn = artists[place % 3 :] + artists[: place % 3]
        found.append(next(by_artist[a][held.code[index]] for a in turn if held.code[index] in by_artist[a]))
    return found


class Store:
    """The pictures as lossless WebP (a third smaller than PNG) in one archive, each once, and the lines about them."""

    def __init__(self):
        self.files: dict[str, bytes] = {}

    def line(self, artist: Pictures, index: int, prefix: bool) -> dict[str, str]:
        hand, stem, pixels = artist.artist[index], artist.files[index], artist.pixels[index]
        file = f"{hand}/{stem}.webp"
        if file not in self.files:
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "WEBP", lossless=True)
            self.files[file] = buffer.getvalue()
        return {
            "name": f"{hand}-{stem}" if prefix else stem,
            "file": file,
            "hash": pixel_hash(torch.from_numpy(pixels).permute(2, 0, 1)),
            "caption": f"{artist.name[index]}, {hand} style",
        }

    def lines(self, artist: Pictures, indices: list[int], prefix: bool = False) -> list[dict[str, str]]:
        return sorted((self.line(artist, i, prefix) for i in indices), key=lambda line: line["name"])

    def write(self, path: Path, table: str) -> None:
        """The pictures as they are, and the table packed."""
        date = (1980, 1, 1, 0, 0, 0)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(self.files):
                archive.writestr(zipfile.ZipInfo(name, date), self.files[name])
            archive.writestr(zipfile.ZipInfo("sets.json", date), table, zipfile.ZIP_DEFLATED, 9)


def one_line_a_picture(document: dict) -> str:
    text = json.dumps(document, indent=1)
    return re.sub(r"\{\s+(\"name\"[^{}]*?)\s+\}", lambda m: "{" + re.sub(r"\n\s+", " ", m[1]) + "}", text) + "\n"


def sheet(artist: Pictures, splits: dict[str, dict[str, list[int]]]) -> Image.Image:
    """One row a set: members, a gap, holdouts, a gap, near."""
    rows = []
    for chosen in splits.values():
        gap = np.full((64, 16, 3), 255, np.uint8)
        parts = [np.hstack(list(artist.pixels[chosen[k]])) for k in ("members", "holdouts", "near")]
        rows.append(np.hstack([parts[0], gap, parts[1], gap, parts[2]]))
    return Image.fromarray(np.vstack(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data.py: base.npz, heldout.npz")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "src/intaglio/testbed/sets")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    held, base = Pictures(args.data / "heldout.npz"), Pictures(args.data / "base.npz")
    splits = {subject: split(held, subject, kinds) for subject, kinds in SUBJECTS.items()}
    wide = controls_wide(held, splits)

    store = Store()
    table = {
        subject: {part: store.lines(held, indices) for part, indices in chosen.items()}
        | {
            "other_hands": store.lines(
                base, other_hands(base, held, chosen["members"] + chosen["holdouts"], subject), prefix=True
            )
        }
        for subject, chosen in splits.items()
    }
    document = {"format": 1, "artist": "noto", "controls_wide": store.lines(held, wide), "sets": table}
    store.write(args.out / "pictures.zip", one_line_a_picture(document))
    shown = sheet(held, splits)
    small = shown.resize((shown.width * 5 // 8, shown.height * 5 // 8), Image.Resampling.LANCZOS)
    small.quantize(48, method=Image.Quantize.FASTOCTREE).save(args.out / "sets.png", optimize=True)
    for subject, chosen in splits.items():
        same = sum(held.kind[i] in SUBJECTS[subject] for i in chosen["controls"])
        gap = held.distance[np.ix_(chosen["members"], chosen["near"])].min(1)
        print(f"{subject}: {len(chosen['controls'])} controls, {same} of the kind; near at {np.median(gap):.2f}")
    print(f"{len(store.files)} pictures, {(args.out / 'pictures.zip').stat().st_size / 1e6:.2f} MB; {len(wide)} wide")


if __name__ == "__main__":
    main()
