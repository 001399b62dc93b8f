"""Imported once by the server that the kill test forks its processes from: reading the dictionary takes a second."""

from ingest.storage.fulltext import words

words("预热分词的词典")
