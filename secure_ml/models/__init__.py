"""The example models, one file each, registered as a user's own would be."""
