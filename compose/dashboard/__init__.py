"""The page that people look at: is it learning, how fresh is it, what is wrong, and what happens when I click.

In: status files of the parts in the state directory, tails of the Kafka topics, user rows in Redis, gRPC of the server.
Out: one static page (`page/`) and the JSON it polls; orders to ModelAdmin and events, where the caller's token allows.
It keeps bounded histories in memory and nothing on disk. Nothing in the loop waits for it. May import all packages but
torch and pyflink.
"""
