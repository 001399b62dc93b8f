"""Raw text -> cleaned text: what web pages put around an article is cut, with reasons, and can be put back."""
