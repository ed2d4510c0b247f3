"""The Java functions that the jobs' SQL calls, and where their sources and their jar are.

SQL shapes the jobs; what SQL cannot say in one pass over a record or one state per key is a small Java function in
`streams/java/` (figures in `docs/design.md`). `make setup` compiles them with a compiler that is itself a jar.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "java"
JAR_NAME = "headrace-functions.jar"


@dataclass(frozen=True)
class JavaFunction:
    """A SQL name and the class behind it."""

    name: str
    class_name: str

    def statement(self) -> str:
        """Return the definition as one SQL statement."""
        return f"CREATE TEMPORARY SYSTEM FUNCTION {self.name} AS 'headrace.functions.{self.class_name}' LANGUAGE JAVA"


FUNCTIONS = tuple(
    JavaFunction(name, class_name)
    for name, class_name in (
        ("CHECK_EVENT", "CheckEvent"),
        ("TOKEN_HOLDS", "TokenHolds"),
        ("FIRST_EVENTS", "FirstEvents"),
        ("CATEGORIZE_EVENTS", "CategorizeEvents"),
        ("DECAYED_SUMS", "DecayedSums"),
        ("WINDOWED_SUMS", "WindowedSums"),
        ("NEWEST_EVENTS", "NewestEvents"),
        ("NEWEST_SHOWN", "NewestShown"),
        ("NEWEST_VALUE", "NewestValue"),
        ("CATEGORY_SUMS", "CategorySums"),
        ("APPROX_DISTINCT", "ApproxDistinct"),
    )
)
"""All of them; every job may call any."""
