"""Dataset versions and what was refused of them."""
