"""Model files fetched and verified, and the embedding model."""
