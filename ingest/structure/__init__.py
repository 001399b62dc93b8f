"""Cleaned text -> headings, question-answer pairs and passages."""
