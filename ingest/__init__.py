"""Files in, library out. Imports nothing from kg, assistant or web."""
