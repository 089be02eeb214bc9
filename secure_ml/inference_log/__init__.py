"""The inference log: write, seal, read. A prediction is durable before it is acknowledged."""
