"""The report of a protection's evaluation: what each purifier leaves, the worst first, and what fine-tunes draw."""

from pathlib import Path

from intaglio.protect.imitation import SHOWN, NetProtection, pair_name, shown_name
from intaglio.protect.robustness import Robustness
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import EvaluatePage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

ARMS = {"clean": "from clean pictures", "protected": "from protected pictures"}
PAIRS = {"original": "Originals", "protected": "Protected", "difference": "The difference, magnified around grey"}
LIMITS = (
    Row("Other purifiers", "Only these were tried; an imitator may find one that leaves less."),
    Row("Other imitators", "Another base, another way of fine-tuning or more steps may take another share."),
    Row("The measure", "Likeness is a network’s, a proxy for what people see; look at the pictures too."),
)


def evaluate_page(run: RunData, result: Robustness, page_folder: Path) -> EvaluatePage:
    """The page of a `protect evaluate` run; `page_folder` is where it will lie."""
    least = result.worst
    full = [one for one in result.rows_by_net if one.share == least.share]
    album = Album(page_folder, SHOWN * (len(PAIRS) + 2 * len(full)), run=run.folder)
    seeds = len(least.clean)
    return EvaluatePage(
        template="evaluate.html.j2",
        **title(run, _headline(result)),
        lead=(
            f"{result.statement} {result.model} was fine-tuned by {result.tuner} on "
            f"{count(result.pictures, 'picture')}, with {count(seeds, 'seed')} of each kind; likeness is by "
            f"{result.similarity}. {result.about_membership or ''}"
        ),
        keys=_keys(result, least),
        warnings=run.warnings,
        table=_table(result),
        pairs=[(words, shown) for kind, words in PAIRS.items() if (shown := _pair(run, kind, album))],
        drawn=[
            (f"After {one.purifier}, {words}", _drawn(run, one, arm, album))
            for one in full
            for arm, words in ARMS.items()
        ],
        limits=LIMITS,
    )


def _headline(result: Robustness) -> str:
    if not result.judged:
        return "No verdict on the protection"
    return "The protection survives" if result.worst.survives else "The protection does not survive"


def _keys(result: Robustness, least: NetProtection) -> list[Key]:
    plain = result.plain
    keys = [Key("Worst purifier", least.purifier, f"{signed(least.net)} left")]
    if plain is not None:
        keys.append(Key("Without any", signed(plain.net), _spread(plain)))
    noise = max(one.noise for one in result.found)
    clean, protected = result.membership
    if clean is not None and protected is not None:
        keys.append(Key("Originals found by an audit", f"AUC {protected:.2f}", f"{clean:.2f} from clean pictures"))
    if len(least.clean) > 1:
        keys.append(Key("Clean fine-tunes differ by", decimal(noise, 2), "standard deviation over seeds"))
    return keys


def _spread(one: NetProtection) -> str:
    return f"± {decimal(one.spread, 2)} over seeds" if len(one.clean) > 1 else "one seed"


def signed(value: float) -> str:
    """A number with its sign, three decimals."""
    return f"{value:+.3f}".replace("-", "−")


def _table(result: Robustness) -> PageTable:
    rows = [
        [
            one.purifier,
            f"{one.share:.0%}",
            f"{sum(one.clean) / len(one.clean):.3f}",
            f"{sum(one.protected) / len(one.protected):.3f}",
            signed(one.net),
            f"{one.spread:.3f}" if len(one.clean) > 1 else "one seed",
            ("yes" if one.survives else "no") + (", trained on" if one.purifier in result.seen else ""),
        ]
        for one in result.rows_by_net
    ]
    heads = [
        "purifier",
        "protected",
        "unlikeness, clean",
        "unlikeness, protected",
        "net protection",
        "over seeds",
        "survives",
    ]
    return PageTable("", heads, rows)


def _pair(run: RunData, kind: str, album: Album) -> list[Shown]:
    named = [run.folder / "images" / f"{pair_name(kind, place)}.png" for place in range(SHOWN)]
    return [Shown(album.thumb(path), kind) for path in named if path.is_file()]


def _drawn(run: RunData, one: NetProtection, arm: str, album: Album) -> list[Shown]:
    named = [run.folder / "images" / f"{shown_name(one.purifier, one.share, arm, place)}.png" for place in range(SHOWN)]
    return [Shown(album.thumb(path), f"drawn after {one.purifier}, {arm}") for path in named if path.is_file()]
