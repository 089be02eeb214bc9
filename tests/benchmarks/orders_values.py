"""What the contract of the orders says, as plain values: peers' environments read it too."""

from __future__ import annotations

__all__ = ["COUNTRIES", "COUNTRY", "CREATED", "FILLED", "FORBIDDEN_COUNTRIES", "MAX_EMAIL", "MEAN_PRICE", "STATUSES"]

STATUSES = ("new", "paid", "packed", "shipped", "returned", "cancelled")
COUNTRIES = ("AT", "BE", "CH", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "IE", "IT", "NL", "NO", "PL", "PT", "SE")
COUNTRY = "^[A-Z]{2}$"
CREATED = ("2020-01-01", "2030-01-01")
FORBIDDEN_COUNTRIES = ("XX", "ZZ")
MAX_EMAIL = 254
MEAN_PRICE = (4000, 6000)
FILLED = ("order_id", "customer_id", "quantity", "price", "status", "country", "email", "created")
"""Columns that hold no null."""
