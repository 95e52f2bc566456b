"""The time of counterfactual pictures, before they are made."""

import torch

from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
from intaglio.explain.counterfactuals.attribute_table import AttributeTable
from intaglio.explain.counterfactuals.family import CounterfactualMaker
from intaglio.explain.counterfactuals.made_pictures import made
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of


def counterfactuals_plan(
    method: CounterfactualMaker, graph: AttributeGraph, side: int, table: AttributeTable, pictures: int, device: str
) -> TimePlan:
    """Seconds of all updates and pictures, by one update and one batch of pictures that are timed."""
    learnt_from = len(table.values) if method.learns_unlabelled else int(table.taught.sum())
    model = method.begun(graph, side).to(device)
    rows, batch = min(method.rows, learnt_from), min(method.batch, pictures)
    source = torch.Generator().manual_seed(0)
    pixels, labels = torch.zeros(rows, 3, side, side, device=device), torch.zeros(rows, len(graph.names), device=device)

    def update() -> None:
        torch.stack(list(model.losses(pixels, labels, 1.0, source).values())).sum().backward()

    parts = {"updates": method.updates * seconds_of(update, device)}
    some, told = torch.zeros(batch, 3, side, side), torch.zeros(batch, len(graph.names))
    drawing = seconds_of(lambda: made(model, some, told, {0: told[:, 0]}, device), device)
    parts["pictures"] = drawing * pictures / batch
    numbers = sum(one.numel() for one in model.parameters())
    head = [f"pictures   {learnt_from} to learn from, {pictures} to make", f"trainable  {numbers:,} numbers"]
    return TimePlan(parts, "\n".join([head[0], *_labels(table), head[1]]))


def _labels(table: AttributeTable) -> list[str]:
    """A line on labels, where some pictures have none."""
    labelled, count = int(table.labelled.sum()), len(table.values)
    if labelled == count:
        return []
    return [f"labels     for {labelled} of {count} pictures, {len(table.held)} of them held out to judge by"]
