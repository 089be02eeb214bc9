"""Tables: data files of any supported format as typed tables of an engine.

Start with `data_files.open_table`. `text_files` and `text_types` turn the cells of CSV and JSON lines into typed
values, `type_inference` finds the types of a file that no contract describes, `batch_files` reads the batch of a model,
and `queries` fetches rows from the engine within bounds. An `OpenedTable` is a table, its source, types and limits.
"""
