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
