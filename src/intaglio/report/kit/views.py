"""Content of the report templates: pages of rows, pictures and figures, all texts already written."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from intaglio.report.kit.thumbnails import Thumb


@dataclass(frozen=True)
class Row:
    """A name with its value."""

    name: str
    value: str | Markup
    code: bool = False
    """Whether to set it in a fixed-width face: hashes, identifiers."""
    volatile: bool = False
    """Whether it differs between two runs of the same work (time, machine, path)."""
    place: str | None = None
    """Path on disk; volatile even where the value is not."""


@dataclass(frozen=True)
class Key:
    """One number of the summary at the top."""

    name: str
    value: str
    more: str = ""
    volatile: bool = False


@dataclass(frozen=True)
class Shown:
    """A picture with its caption; `thumb` is None where the run did not keep it."""

    thumb: Thumb | None
    caption: str


@dataclass(frozen=True)
class Card:
    """One picture with its verdict."""

    name: str
    css: str
    """Class in the style sheet: `in`, `out` or `ctl`."""
    badge: str
    pictures: Sequence[Shown]
    facts: Sequence[Row]
    score: str
    p_value: str
    place: str | Markup = ""
    """Figure of the score among those of the controls."""
    aside: str = ""
    """A further measure of the pictures, with what part it has in the verdict."""
    truth: str = ""
    wrong: bool = False


@dataclass(frozen=True)
class RocView:
    """Separation of known members from known holdouts."""

    text: str
    linear: Markup
    log: Markup
    numbers: Sequence[Row]


@dataclass(frozen=True)
class PageTable:
    """A table of text."""

    name: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    left_out: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """The parts of every report."""

    template: str
    title: str
    kind: str
    run_name: str
    intaglio_version: str
    finished: str
    headline: str
    lead: str
    settings: Sequence[Row]
    inputs: Sequence[Row]
    versions: Sequence[Row]
    moment: Sequence[Row]
    command: str
    warnings: Sequence[str] = ()
    keys: Sequence[Key] = ()


@dataclass(frozen=True, kw_only=True)
class AuditPage(Page):
    """An audit of questioned pictures."""

    loud: Sequence[str] = ()
    """Warnings directly under the headline."""
    how_to_read: str
    questioned: Sequence[Card]
    rest: Sequence[Card] = ()
    """Questioned pictures that are only listed."""
    unshown: str = ""
    controls: Sequence[Card]
    controls_text: str
    scores_text: str
    strip_wide: Markup
    strip_narrow: Markup
    strip_text: str
    p_values: Markup
    set_text: str
    roc: RocView | None
    threat: Sequence[Row]
    other_prompts: Sequence[Row]
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class ExtractPage(Page):
    """An extraction of a model's training pictures."""

    finds: Sequence[Card]
    finds_text: str
    strip_wide: str | Markup
    strip_narrow: str | Markup
    groups_text: str
    control: Sequence[Shown]
    """Groups of the base's pictures, the null."""
    control_text: str
    evaluation: Sequence[Row]
    """Empty where the training set is not known."""
    threat: Sequence[Row]
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class ProtectPage(Page):
    """Pictures given back protected."""

    loud: Sequence[str]
    """Sentences directly under the headline."""
    pictures: Sequence[Card]
    unshown: str = ""
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class EvaluatePage(Page):
    """The robustness of a protection."""

    table: PageTable
    """A row a purifier and share, the worst first."""
    pairs: Sequence[tuple[str, Sequence[Shown]]]
    """By heading, originals, their protected copies and the difference."""
    drawn: Sequence[tuple[str, Sequence[Shown]]]
    """By heading, pictures that fine-tunes drew."""
    limits: Sequence[Row]


@dataclass(frozen=True)
class WidthView:
    """One block of a pruned U-Net."""

    scope: str
    before: str
    after: str
    """Units that are left."""
    bar: Markup
    """Share that is left."""


@dataclass(frozen=True, kw_only=True)
class PrunePage(Page):
    """A pruned model."""

    costs: PageTable
    """A row before and one after."""
    errors: PageTable
    """A row a model."""
    errors_text: str
    widths: Sequence[WidthView]
    widths_text: str
    pictures: Sequence[tuple[str, Sequence[Shown]]]
    """By heading, pictures of equal seeds; empty where none were drawn."""
    curves: Sequence[Row]
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class ShrinkPage(Page):
    """A model made smaller."""

    errors: PageTable | None
    """A row a model that was judged; None where none was."""
    errors_text: str
    layers: PageTable
    layers_text: str
    pictures: Sequence[tuple[str, Sequence[Shown]]]
    """By heading, pictures of equal seeds; empty where none were drawn."""
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class MergePage(Page):
    """One model made of several."""

    models: PageTable
    """A row a model."""
    models_text: str
    losses: PageTable | None
    """A row a model, the merged one last; None where no pictures were held out."""
    losses_text: str
    pictures: Sequence[tuple[str, Sequence[Shown]]]
    """By model, pictures of equal seeds; empty where none were drawn."""
    pictures_text: str
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class PromptsPage(Page):
    """An audit of a model's prompts."""

    table: PageTable
    """A row a prompt, the highest score first; the words of a prompt may be shaded."""
    table_text: str
    strip_wide: Markup | str
    strip_narrow: Markup | str
    pictures: Sequence[tuple[str, Sequence[Shown]]]
    """Pictures of each of the first prompts by each model; empty where none were drawn."""
    pictures_text: str
    limits: Sequence[Row]


@dataclass(frozen=True)
class QueryView:
    """One picture that was asked about, beside the training pictures that bear most on it."""

    name: str
    picture: Shown
    proponents: Sequence[Shown]
    opponents: Sequence[Shown]


@dataclass(frozen=True, kw_only=True)
class InfluencePage(Page):
    """An audit of which training pictures made a model good at given pictures."""

    queries: Sequence[QueryView]
    text: str
    left_out: str
    """A sentence on what is not shown; empty where everything is."""
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class AttributionPage(Page):
    """An attribution of pictures to known sources."""

    groups: Sequence[tuple[str, Sequence[Shown]]]
    """Pictures by verdict."""
    text: str
    left_out: str
    """A sentence on pictures that are not shown; empty where all are."""
    held: PageTable
    """A row a source: held-out pictures, each judged as if it were new."""
    held_text: str
    table: PageTable
    """A row a picture."""
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class ConceptPage(Page):
    """A concept unlearned or looked for, the concepts of a classifier, directions or values of a denoiser."""

    table_heading: str
    table: PageTable
    """A row a prompt, or a concept."""
    table_text: str
    pictures: Sequence[tuple[str, Sequence[Shown]]]
    """By heading; empty where none were stored."""
    pictures_text: str
    limits: Sequence[Row]
    further: tuple[str, PageTable] | None = None  # a second table, with the text above it


@dataclass(frozen=True)
class BoxView:
    """One box of a map: its text, and those of the boxes that it falls into."""

    picture: Shown | None
    """The picture nearest to its mean; None below the first boxes."""
    text: str
    more: str
    """Purity and wrong answers; empty where no labels are known."""
    inside: Sequence["BoxView"] = ()


@dataclass(frozen=True, kw_only=True)
class CollectionPage(Page):
    """A map of a collection."""

    sheet: Markup | None
    """Address of the picture with all thumbnails; None where the run did not keep it."""
    data: Markup
    """All that the page's script draws, as JSON."""
    map_text: str
    boxes: Sequence[BoxView]
    boxes_text: str
    classes: PageTable | None
    """A row a label; None where none are known."""
    classes_text: str
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class QueriesPage(Page):
    """An audit of an engine that answers counting queries."""

    strip_wide: Markup | str
    strip_narrow: Markup | str
    strip_text: str
    counts: PageTable
    """Truth against guess."""
    table: PageTable
    """A row a record."""
    table_text: str
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class PictureTablePage(Page):
    """Pictures with a row of figures each: marked ones, cleaned ones, or those in which marks were looked for."""

    table: PageTable
    """A row a picture."""
    table_text: str
    pictures: Sequence[Shown]
    """The first pictures; empty where none were made."""
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class ExplainPage(Page):
    """Pictures with heat maps of what a classifier's score comes from."""

    cards: Sequence[Card]
    cards_text: str
    unshown: str
    """Of pictures that are not on the page; empty where all are."""
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class FrontsPage(Page):
    """A bench of methods by several measures at once."""

    figures: Sequence[Row]
    """Figures, each with its caption for a name."""
    table: PageTable
    pictures: Sequence[tuple[str, Sequence[Shown]]]
    """Pictures of each row, under its name."""
    limits: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class RunPage(Page):
    """A fine-tune, or a run of any other verb."""

    watch: Markup | None = None
    """Similarity and quality over the training; None where it was not watched."""
    watch_text: str = ""
    probes: Sequence[Row] = ()
    """Diagnostics of the denoiser at each evaluation, a figure a row."""
    judged: Sequence[Shown] = ()
    """The evaluated pictures, a row for each evaluation."""
    curves: Sequence[Row] = ()
    beside: Sequence[Shown] = ()
    """Pictures from equal noise by the base and by what was tuned, in turns."""
    samples: Sequence[Shown] = ()
    samples_text: str = ""
    data: Sequence[Shown] = ()
    data_text: str = ""
    classes: Sequence[Shown] = ()
    classes_text: str = ""
    plan: Sequence[Row] = ()
    result: Sequence[Row] = ()
    tables: Sequence[PageTable] = ()
    pictures: Sequence[Shown] = ()
