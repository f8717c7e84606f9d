"""The offline model service: a table of any size scored by a published model, as its endpoint would.

Belongs here: reading rows from files, S3 and databases at bounded memory, asking the data plane that model servers ask
(`modelyard_server.dataplane`), writing Parquet that a kill never doubles, loses or halves. Does not belong here: how a
run is started and watched (`modelyard.batch`), and how a model answers (`modelyard_server`).

| module | |
| --- | --- |
| places | folders and S3 stores: files listed, read, put whole |
| sources | Parquet, CSV, Arrow: rows a batch at a time |
| sql | a query's result, kept as Parquet |
| plan | which rows make which part (pure) |
| intake | Arrow to the model's inputs, checked before anything starts |
| answering | one batch: answers, and rejects with their reasons |
| stream | reading, scoring, writing at once |
| parts, state, report | the output: parts, what is there already, the manifest that ends it |
| drift | the rows against those of the training |
| engine | all of it |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard.batch.order import Order
    from modelyard.batch.report import Reporter


def run(order: Order, reporter: Reporter) -> int:
    """One attempt of a run of this kind; the exit code."""
    from modelyard.batch.scoring.entry import run as begin

    return begin(order, reporter)
