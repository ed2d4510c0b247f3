"""What `headrace init` writes: a commented `headrace.yaml` and a first event producer for an app of one's own.

In: answers, from options or from questions, and the columns of an events file where there is one. Out: two texts. May
import: features, compose.imports, compose.errors.
"""
