"""The inference service: it trusts the release document only, and answers nothing it has not logged."""
