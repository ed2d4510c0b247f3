"""Several server processes on one port (SO_REUSEPORT), and the parent that owns them.

In: orders and scrapes at the parent, requests at the workers. Out: one status, one scrape, one answer to an order.
The parent (`parent.py`) loads neither torch nor models; a worker (`worker.py`) is the server of `serving/server.py`.
They talk over a Unix socket of each worker, in a directory that only this user can enter; a pipe to the worker's
standard input tells it by its end that the parent is gone.
"""
