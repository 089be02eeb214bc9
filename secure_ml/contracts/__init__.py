"""Data contracts: a pandera schema as a gate for batches, and as rules for each request row."""
