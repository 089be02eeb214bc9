"""Resources that this deployment injects into assets and sensors; each hands out a library object."""
