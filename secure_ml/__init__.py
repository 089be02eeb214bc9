"""secure-ml: from raw data to a monitored model service, with signed evidence for every step."""
