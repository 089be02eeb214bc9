"""The asset graph of each guarded model: one stage a file."""
