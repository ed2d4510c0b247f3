"""The stages of one answer, a file each; `serving/recommender.py` puts them in their order.

hydrate, filter, candidates, rank, diversify, explore, answer, log. Each takes what the one before it made and knows
nothing of gRPC, Kafka or the stages behind it. What must not be shown is known before candidates are looked for: a
filter behind them would leave short lists.
"""
