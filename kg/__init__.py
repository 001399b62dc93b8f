"""Passages in, concept graph out. Imports from ingest only."""
