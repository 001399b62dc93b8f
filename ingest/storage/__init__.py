"""The library on disk: SQLite is the truth, the FAISS file is derived; checks, repair, copies, backup."""
