"""Sensors and schedules. They know asset keys and evidence, not assets."""
