"""Trainers, evaluation, and model artifacts in formats that run no code."""
