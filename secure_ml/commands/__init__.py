"""The commands of `secure-ml`, by what they are about; `secure_ml.cli` puts them together."""
