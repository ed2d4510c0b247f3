"""Laws of the weights on any device, and their speed; all but `conftest.py` runs with torch alone."""
