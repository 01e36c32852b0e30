"""Measures the service, its limit and its rivals. See bench/README.md."""
