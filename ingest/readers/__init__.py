"""One module a format: the bytes of a file in, a ``RawText`` out."""
