"""Questions in, answers out. Imports from kg and ingest."""
