"""The generated pages of the docs: the API from protos and the client's docstrings, the verbs from the command line.

`python -m compose.reference` writes them; a test holds that they are current. May import: compose.
"""
