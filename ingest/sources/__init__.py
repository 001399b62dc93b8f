"""Where documents come from: files found, opened, told apart by content, and read."""
