"""The topics that versions travel on, behind one transactional producer.

The transactional id is the model's, so the broker lets one publisher write: a trainer that was believed dead and wakes
up again is fenced (KIP-98), and a delta of many chunks is seen whole or not at all by readers of committed records.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from features.kafka_connection import kafka_settings
from trainer.delta_chunks import TOPIC as DELTAS_TOPIC
from trainer.errors import FencedError

MODELS_TOPIC = "headrace.models.v1"
_TIMEOUT_S = 10.0
_TRIM_TIMEOUT_MS = 5_000


class VersionTopics(Protocol):
    """What the publisher needs of Kafka; every call returns once the broker said yes, and raises what it says else."""

    def announce(self, key: str, value: bytes) -> None:
        """Write one announcement to `headrace.models.v1`."""

    def send_delta(self, key: str, records: Sequence[bytes]) -> int:
        """Write the chunks of a delta to `headrace.deltas.v1` as one transaction; return the offset behind them."""

    def deltas_end(self) -> int:
        """Return where the next delta will stand at least."""

    def trim_deltas(self, offset: int) -> None:
        """Let deltas before `offset` go."""


class KafkaVersionTopics:
    """The topics on a broker; connects when first used and again after an error.

    Args:
        bootstrap_servers: `host:port[,host:port]`.
        name: of the model.
    """

    def __init__(self, bootstrap_servers: str, name: str) -> None:
        self._settings = {**kafka_settings(bootstrap_servers), "client_id": "headrace-trainer"}
        self._transactional_id = f"headrace-{name}"
        self._producer: Any = None

    def announce(self, key: str, value: bytes) -> None:
        """See `VersionTopics`.

        Raises:
            FencedError: another trainer publishes this model.
            KafkaError: it is not acknowledged in time.
        """
        self._in_transaction(lambda producer: [producer.send(MODELS_TOPIC, key=key.encode(), value=value)])

    def send_delta(self, key: str, records: Sequence[bytes]) -> int:
        """See `VersionTopics`; after an error nobody knows whether it was written, and it is sent again.

        Raises:
            FencedError: another trainer publishes this model.
            KafkaError: it is not acknowledged in time.
        """
        sent = self._in_transaction(
            lambda producer: [producer.send(DELTAS_TOPIC, key=key.encode(), value=value) for value in records]
        )
        return int(sent[-1].offset) + 1

    def deltas_end(self) -> int:
        """See `VersionTopics`.

        Raises:
            KafkaError: the broker does not answer in time.
        """
        from kafka import KafkaConsumer, TopicPartition

        consumer = KafkaConsumer(**self._settings)
        try:
            partition = TopicPartition(DELTAS_TOPIC, 0)
            return int(consumer.end_offsets([partition])[partition])
        finally:
            consumer.close()

    def trim_deltas(self, offset: int) -> None:
        """See `VersionTopics`.

        Raises:
            KafkaError: the broker does not answer in time.
        """
        from kafka import TopicPartition
        from kafka.admin import KafkaAdminClient

        admin = KafkaAdminClient(**self._settings, request_timeout_ms=_TRIM_TIMEOUT_MS)
        try:
            admin.delete_records({TopicPartition(DELTAS_TOPIC, 0): offset}, timeout_ms=_TRIM_TIMEOUT_MS)
        finally:
            admin.close()

    def close(self) -> None:
        """Close the connection."""
        from kafka.errors import KafkaError

        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(
                KafkaError
            ):  # Raised where records wait for a dead broker: they are not committed.
                producer.close(timeout=2.0)

    def _in_transaction(self, send: Callable[[Any], list[Any]]) -> list[Any]:
        """Send within one transaction; return what the broker says of each record."""
        from kafka.errors import InvalidProducerEpochError, KafkaError, ProducerFencedError

        try:
            producer = self._connected()
            producer.begin_transaction()
            futures = send(producer)
            producer.flush(timeout=_TIMEOUT_S)
            sent = [future.get(timeout=_TIMEOUT_S) for future in futures]
            producer.commit_transaction()
        except (ProducerFencedError, InvalidProducerEpochError) as error:
            self.close()
            raise FencedError(
                f"another trainer publishes as {self._transactional_id}: this one was taken for dead and must end"
            ) from error
        except KafkaError:
            self.close()  # What became of the transaction is not known: the next connection ends it.
            raise
        return sent

    def _connected(self) -> Any:
        from kafka import KafkaProducer

        if self._producer is None:
            producer = KafkaProducer(
                **self._settings,
                transactional_id=self._transactional_id,
                acks="all",
                linger_ms=0,
                max_request_size=1 << 20,
                max_block_ms=int(1000 * _TIMEOUT_S),
                transaction_timeout_ms=60_000,
            )
            try:
                producer.init_transactions()
            except BaseException:
                producer.close(timeout=0)
                raise
            self._producer = producer
        return self._producer
