"""Screens that look beyond the contract: personal data in columns, and training rows that look like poison."""
