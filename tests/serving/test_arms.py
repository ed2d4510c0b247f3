"""Laws of arms: who is in which, what answers him, and what the records say of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from features.config import ConfigError, validate
from protos import serving_pb2 as pb
from serving.answers import RecommendQuery
from serving.arms.assignment import OUTSIDE, Assignment
from serving.arms.declared import DeclaredExperiment
from serving.budget import Budget, CostEstimate
from serving.config import ArmConfig, ExplorationConfig, ServingConfig
from serving.served_log import encode_served
from tests.serving.serving_parts import PATIENT, SCORE_STEP, World, make_version
from trainer.model_version import pinned_versions
from trainer.version_files import write_version

USERS = [f"user-{number}" for number in range(20_000)]
DRAWN = ExplorationConfig(policy="epsilon", slots=(0,), epsilon=1.0)


def config_of(**arms: dict[str, Any]) -> ServingConfig:
    """Return a patient server with an experiment."""
    return PATIENT.model_copy(
        update={"experiment": "spring", "arms": {name: ArmConfig(**arm) for name, arm in arms.items()}}
    )


async def declared(world: World, config: ServingConfig) -> DeclaredExperiment:
    """Start the experiment of a configuration in a world."""
    made = DeclaredExperiment(config, world.models, world.arms)
    await made.start()
    return made


def moved(before: dict[str, float], after: dict[str, float]) -> float:
    """Return the share of users whose arm differs between two tables of shares."""
    old, new = Assignment("spring", before), Assignment("spring", after)
    return sum(old.arm_of(user) != new.arm_of(user) for user in USERS) / len(USERS)


def test_assignment_is_the_same_for_ever() -> None:
    """Written down once: another release, worker or machine deals nobody anew."""
    spring = Assignment("spring", {"champion": 0.5, "challenger": 0.3})
    found = [spring.arm_of(user) or "-" for user in ("ann", "bob", "cem", "dan", "eve", "fay", "gus", "hal")]
    assert found == ["champion", "-", "-", "champion", "champion", "challenger", "champion", "-"]


def test_arms_have_their_shares() -> None:
    """Within four standard errors, what is left over too."""
    shares = {"a": 0.6, "b": 0.25, "c": 0.05}
    counts = Counter(Assignment("spring", shares).arm_of(user) for user in USERS)
    for name, share in (shares | {OUTSIDE: 0.1}).items():
        assert abs(counts[name] / len(USERS) - share) < 4.0 * (share * (1.0 - share) / len(USERS)) ** 0.5


def test_arms_of_two_experiments_are_independent() -> None:
    """Who is in one's challenger is in the other's as often as everybody."""
    shares = {"a": 0.5, "b": 0.5}
    first, second = Assignment("spring", shares), Assignment("summer", shares)
    both = Counter((first.arm_of(user), second.arm_of(user)) for user in USERS)
    assert all(abs(count / len(USERS) - 0.25) < 0.02 for count in both.values())


def test_two_arms_move_only_whom_they_must() -> None:
    """A tenth more is a tenth of the users, and they all move to the arm that grew."""
    before, after = {"a": 0.9, "b": 0.1}, {"a": 0.8, "b": 0.2}
    old, new = Assignment("spring", before), Assignment("spring", after)
    assert all(new.arm_of(user) == "b" for user in USERS if old.arm_of(user) != new.arm_of(user))
    assert abs(moved(before, after) - 0.1) < 0.01


def test_three_arms_move_no_more_than_the_bound() -> None:
    """2 d / (1 + d), where the shares differ by d."""
    assert moved({"a": 0.8, "b": 0.1, "c": 0.1}, {"a": 0.7, "b": 0.1, "c": 0.2}) < 2.0 * 0.1 / 1.1 + 0.01


def test_new_arm_takes_users_from_the_others_alone() -> None:
    """Nobody moves between the arms that were there."""
    old, new = Assignment("spring", {"a": 0.5, "b": 0.5}), Assignment("spring", {"a": 0.4, "b": 0.4, "c": 0.2})
    assert {new.arm_of(user) for user in USERS if old.arm_of(user) != new.arm_of(user)} == {"c"}


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"arms": {"a": {"share": 0.5}, "b": {"share": 0.5}}}, "need each other"),
        ({"experiment": "x"}, "need each other"),
        ({"experiment": "x", "arms": {"a": {"share": 0.5}}}, "give it another one"),
        ({"experiment": "x", "arms": {"a": {"share": 0.7}, "b": {"share": 0.5}}}, "sum up to 1.2"),
        ({"experiment": "x", "arms": {"a b": {"share": 0.5}, "b": {"share": 0.5}}}, "is no name"),
        ({"experiment": "x", "arms": {"a": {"share": 0.5}, "b": {"share": 0.5, "version": 3.1}}}, "write it in quotes"),
        ({"experiment": "x", "arms": {"a": {"share": 0.5}, "b": {"share": 0.5, "version": "../3"}}}, "version"),
        ({"experiment": "canary-1.2", "arms": {"a": {"share": 0.5}, "b": {"share": 0.5}}}, "take another name"),
    ],
)
def test_experiment_that_cannot_be_is_refused(section: dict[str, Any], sentence: str) -> None:
    """One sentence says what to change."""
    with pytest.raises(ConfigError, match=sentence):
        validate(section, ServingConfig, "serving")


async def test_every_answer_is_of_its_arms_version_alone(world: World) -> None:
    """While the live version changes under many users: name, scores and record of each answer agree."""
    await world.serve("1.1", "1.2")
    await declared(world, config_of(champion={"share": 0.5}, challenger={"share": 0.5, "version": "1.1"}))
    for name in ("1.3", "1.4"):
        write_version(world.store_dir, make_version(name))
    seen: dict[str, set[str]] = {"champion": set(), "challenger": set()}

    async def ask() -> None:
        for number in range(120):
            query = RecommendQuery(f"user-{number}", 3)
            answer = await world.recommender.recommend(query)
            scores = {round(item.score / SCORE_STEP) for item in answer.items}
            assert scores == {int(answer.model_version.partition(".")[2])}
            seen[answer.arm].add(answer.model_version)
            await asyncio.sleep(0)

    async def swap() -> None:
        for name in ("1.3", "1.4"):
            await asyncio.sleep(0.02)
            await world.models.load(name)

    await asyncio.gather(ask(), swap())
    await ask()
    assert seen["challenger"] == {"1.1"}
    assert seen["champion"] == {"1.2", "1.3", "1.4"} or seen["champion"] == {"1.2", "1.4"}
    assert all(one.arm and one.experiment == "spring" for one in world.served.lists)


async def test_recalled_ranking_is_of_the_users_arm(world: World) -> None:
    """Without time to rank, a user who changed arms gets no ranking of the arm that he left."""
    await world.serve("1.1", "1.2")
    await declared(world, config_of(champion={"share": 0.5}, challenger={"share": 0.5, "version": "1.1"}))
    await world.recommender.recommend(world.query())
    world.arms.end()
    world.stages.cost = world.stages.short_cost = CostEstimate(100.0)
    answer = await world.recommender.recommend(world.query(), Budget.of(50.0))
    assert answer.degraded_reasons[-1] == "popularity_only"


async def test_answer_and_record_name_experiment_and_arm(world: World) -> None:
    """Over the wire, for `Recommend` and `Rank`; users outside are told nothing."""
    await world.serve("1.1")
    await declared(world, config_of(a={"share": 0.4}, b={"share": 0.4}))
    running = world.arms.running
    assert running is not None
    by_arm = {running.assignment.arm_of(user): user for user in USERS[:100]}
    async with world.recommender_stub() as stub:
        for arm, user in by_arm.items():
            answer = await stub.Recommend(pb.RecommendRequest(user_id=user))
            ranked = await stub.Rank(pb.RankRequest(user_id=user, item_ids=["item-001"]))
            experiment = "spring" if arm else ""
            assert (answer.experiment, answer.arm, ranked.experiment, ranked.arm) == (experiment, arm, experiment, arm)
            record = msgspec.json.decode(encode_served(world.served.lists[-1]))
            assert (record.get("experiment", ""), record["arm"]) == (experiment, arm)
    assert set(by_arm) == {"a", "b", OUTSIDE}


async def test_arm_has_its_own_way_to_make_lists(world: World) -> None:
    """An arm with exploration draws, the others do not."""
    await world.serve("1.1")
    await declared(world, config_of(best={"share": 0.5}, drawn={"share": 0.5, "exploration": DRAWN}))
    chances: dict[str, set[float]] = {}
    for user in USERS[:40]:
        answer = await world.recommender.recommend(RecommendQuery(user, 3))
        chances.setdefault(answer.arm, set()).add(answer.items[0].propensity)
    assert chances == {"best": {1.0}, "drawn": {1 / DRAWN.candidates}}


async def test_experiment_waits_until_every_arm_has_its_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then everybody is answered alike and counts for no arm; the reason is told."""
    monkeypatch.setattr("serving.arms.declared._RETRY_S", (0.01, 0.01))
    await world.serve("1.2")
    made = await declared(world, config_of(a={"share": 0.5}, b={"share": 0.5, "version": "1.1"}))
    assert "arm b has not its version 1.1" in made.reason
    assert (await world.recommender.recommend(world.query())).arm == ""
    write_version(world.store_dir, make_version("1.1"))
    async with asyncio.timeout(30):
        while made.reason:
            await asyncio.sleep(0.01)
    assert (await world.recommender.recommend(world.query())).arm in ("a", "b")
    await made.stop()


async def test_store_keeps_what_an_arm_rests_on(world: World, tmp_path: Path) -> None:
    """Until an experiment without it starts; a person's pin of the same version stays."""
    await world.serve("1.1", "1.2")
    config = config_of(a={"share": 0.5}, b={"share": 0.5, "version": "1.1"})
    await declared(world, config)
    await world.models.pin("1.1")
    await world.models.unpin()
    assert [str(version) for version in pinned_versions(world.store_dir)] == ["1.1"]
    restarted = World(world.directory)
    await declared(restarted, PATIENT)
    assert pinned_versions(world.store_dir) == []
    await restarted.models.stop()


async def test_lists_of_arms_are_counted_over_experiments(world: World) -> None:
    """Counters of Prometheus never fall, whatever ends."""
    await world.serve("1.1")
    config = config_of(a={"share": 0.5}, b={"share": 0.5})
    await declared(world, config)
    await world.recommender.recommend(world.query())
    arm = world.arms.arm_of("ann")
    world.arms.end()
    await declared(world, config)
    await world.recommender.recommend(world.query())
    samples = {
        tuple(sample.labels.values()): sample.value for metric in world.arms.collect() for sample in metric.samples
    }
    assert samples[arm.key] == 2.0
    assert samples["spring",] == 1.0
