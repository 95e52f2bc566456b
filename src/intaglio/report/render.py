"""Rendering of a run's report as one self-contained HTML file."""

from functools import cache
from importlib import import_module
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from intaglio.errors import BadInput, IntaglioError
from intaglio.files import atomic_write
from intaglio.printable import printable
from intaglio.report.kit.format import of_work
from intaglio.report.kit.views import Page
from intaglio.report.pages.run_pages import plain_page
from intaglio.runs.read import RunData, read_run

PAGE_MODULES = {
    "audit attribution": "intaglio.report.pages.attribution_page",
    "audit components": "intaglio.report.pages.components_page",
    "audit drawings": "intaglio.report.pages.drawings_page",
    "audit inference": "intaglio.report.pages.inference_page",
    "audit influence": "intaglio.report.pages.influence_page",
    "audit prompts": "intaglio.report.pages.prompts_page",
    "audit queries": "intaglio.report.pages.queries_page",
    "audit selection": "intaglio.report.pages.selection_page",
    "audit unlearn-attack": "intaglio.report.pages.unlearn_attack_page",
    "audit unlearning": "intaglio.report.pages.unlearning_page",
    "authenticate": "intaglio.report.pages.audit_page",
    "bench sample": "intaglio.report.pages.fronts_page",
    "bench shrink": "intaglio.report.pages.shrink_bench_page",
    "causal debias": "intaglio.report.pages.debias_page",
    "causal cate": "intaglio.report.pages.cate_page",
    "causal transfer": "intaglio.report.pages.transfer_page",
    "discover": "intaglio.report.pages.discover_page",
    "energy": "intaglio.report.pages.prune_page",
    "explain collection": "intaglio.report.pages.collection_page",
    "explain bias": "intaglio.report.pages.bias_page",
    "explain directions": "intaglio.report.pages.directions_page",
    "explain weights": "intaglio.report.pages.weights_page",
    "explain slices": "intaglio.report.pages.slices_page",
    "explain blindspots": "intaglio.report.pages.blindspots_page",
    "explain components": "intaglio.report.pages.patching_page",
    "explain concepts": "intaglio.report.pages.concepts_page",
    "explain encodings": "intaglio.report.pages.encodings_page",
    "explain evaluate": "intaglio.report.pages.evaluation_page",
    "explain features": "intaglio.report.pages.features_page",
    "explain counterfactuals": "intaglio.report.pages.counterfactuals_page",
    "explain heads": "intaglio.report.pages.heads_page",
    "explain selectors": "intaglio.report.pages.selectors_page",
    "explain paths": "intaglio.report.pages.paths_page",
    "explain repair": "intaglio.report.pages.repair_page",
    "explain series": "intaglio.report.pages.series_page",
    "explain sharpening": "intaglio.report.pages.sharpening_page",
    "explain surrogate": "intaglio.report.pages.surrogate_page",
    "explain words": "intaglio.report.pages.words_page",
    "explain": "intaglio.report.pages.explain_page",
    "extract": "intaglio.report.pages.extract_page",
    "finetune": "intaglio.report.pages.finetune_page",
    "flow train": "intaglio.report.pages.flow_train_page",
    "merge": "intaglio.report.pages.merge_page",
    "protect": "intaglio.report.pages.protect_page",
    "protect certify": "intaglio.report.pages.certify_page",
    "protect detect": "intaglio.report.pages.marks_page",
    "protect fingerprint": "intaglio.report.pages.marks_page",
    "protect private": "intaglio.report.pages.private_page",
    "protect purify": "intaglio.report.pages.purify_page",
    "shrink": "intaglio.report.pages.shrink_page",
}
"""Module with the page of a verb, of a part of it, or of one method (its function `page_of`); imported when reported.

A run of a part of a verb has a method that begins with the part and a dash, such as `fingerprint-tree-ring`.
"""


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Writes the report of the run in `folder`; returns its path, `folder/report.html` where `out` is None.

    The page is one file without network access; pictures are embedded as thumbnails and link to the originals where
    the page lies in the run folder or beside it. Raises `BadInput` where the folder is no run.
    """
    folder = Path(folder)
    out = folder / "report.html" if out is None else Path(out)
    atomic_write(out, report_text(folder, out.parent))
    return out


def report_text(folder: Path, page_folder: Path, back: str = "") -> str:
    """The report of the run in `folder` as HTML; nothing is written.

    `page_folder` is where the page's links start from, and `back` the address of a link at its top; empty: none.
    Raises `BadInput` as `write_report` does.
    """
    page = _page(read_run(folder), page_folder)
    return printable(_templates().get_template(page.template).render(page=page, back=back))


def _page(run: RunData, page_folder: Path) -> Page:
    """The page of a run. Raises `BadInput` where its files hold values that no version wrote."""
    try:
        return page_of(run, page_folder)
    except IntaglioError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        raise BadInput(
            f"the files in {run.folder} hold values that cannot be reported ({type(error).__name__}: {error}); run its "
            "command again, into another folder of runs"
        ) from error


def page_of(run: RunData, page_folder: Path) -> Page:
    """The page of a run: that of its verb, or plain tables where there is none or the run has no result yet."""
    module = of_work(PAGE_MODULES, run.run)
    own = None if module is None else import_module(module).page_of(run, page_folder)
    return own or plain_page(run, page_folder)


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("intaglio.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
