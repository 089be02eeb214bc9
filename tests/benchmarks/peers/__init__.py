"""What others do with the same file. A peer that is not locked with the project has an environment of its own."""
