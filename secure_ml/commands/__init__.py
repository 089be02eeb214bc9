"""Commands of `secure-ml`: one file per command, named like the command.

`secure_ml.cli` assembles them. Each file has a function `add(command)`, which declares the command and its options. Two
files are shared: `output` has the exit codes and prints results, `csv_options` has the options for CSV files. To add a
command, write its file and name it in the list of groups in `secure_ml.cli`.

A command imports the library inside the function that runs, so that `--help` starts fast.
"""
