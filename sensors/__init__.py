"""Schedules and sensors of the whole deployment. The sensors of one model are in `secure_ml.orchestration.sensors`."""
