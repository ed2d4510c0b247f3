"""The manifests: valid for the schemas of Kubernetes, rendered by the real kustomize where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from features.config import load_endpoints
from features.metrics_config import PARTS, load_metrics_config
from features.security.config import load_security_config
from tests.metrics_page import listed

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "compose" / "kubernetes"
BASE = KUBERNETES / "base"
VERSION = "1.31"
CUSTOM = {"FlinkDeployment", "PodMonitor"}
"""Kinds of operators, whose schemas do not come with Kubernetes."""
RENDERERS = (("kubectl", "kustomize"), ("kustomize", "build"))
needs_kustomize = pytest.mark.skipif(
    not any(shutil.which(program) for program, _ in RENDERERS),
    reason="needs kubectl, or kustomize: go install sigs.k8s.io/kustomize/kustomize/v5@v5.7.1",
)


def base_objects() -> list[dict[str, Any]]:
    """Return the objects of the base as they are written."""
    names = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    return [found for name in names for found in yaml.safe_load_all((BASE / name).read_text())]


BASE_OBJECTS = base_objects()
BY_NAME = {(one["kind"], one["metadata"]["name"]): one for one in BASE_OBJECTS}


def validate(found: dict[str, Any]) -> None:
    """Check an object against Kubernetes' own schema, unknown fields refused."""
    if found["kind"] not in CUSTOM:
        kubernetes_validate.validate(found, VERSION, strict=True)


def pod_specs(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the pod of everything that makes pods."""
    for one in objects:
        if one["kind"] == "FlinkDeployment":
            yield one["metadata"]["name"], one["spec"]["podTemplate"]["spec"]
        elif "template" in one.get("spec", {}):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


PODS = list(pod_specs(BASE_OBJECTS))


@pytest.mark.parametrize("found", BASE_OBJECTS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
def test_every_object_fits_its_schema(found: dict[str, Any]) -> None:
    """A misspelt field would be dropped without a word by a cluster."""
    validate(found)


@needs_kustomize
@pytest.mark.parametrize("overlay", ["overlays/gpu", "overlays/small", "base"])
def test_overlays_render_to_valid_objects(overlay: str) -> None:
    """What kustomize makes of base and patches fits the schemas, too."""
    renderer = next(words for words in RENDERERS if shutil.which(words[0]))
    done = subprocess.run([*renderer, KUBERNETES / overlay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    for one in objects:
        validate(one)
    trainer = next(
        one for one in objects if one["metadata"]["name"] == "headrace-trainer" and "template" in one["spec"]
    )
    limits = trainer["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits.get("nvidia.com/gpu") == ("1" if overlay == "overlays/gpu" else None)


def test_a_misspelt_field_is_noticed() -> None:
    """The check can fail."""
    broken = {**BY_NAME["PodDisruptionBudget", "headrace-serving"], "spec": {"maxUnavailible": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(broken)


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_pods_are_confined_and_bounded(name: str, pod: dict[str, Any]) -> None:
    """No root, no rights to gain, a priority and, but for Flink's, whose operator sets them, bounds of memory."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["priorityClassName"] in {"headrace-serving", "headrace-streaming"}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert name == "headrace-flink" or container["resources"]["limits"]["memory"]


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_mounts_are_volumes_of_their_pod(name: str, pod: dict[str, Any]) -> None:
    """State of a StatefulSet comes from its claim, everything else from the pod's volumes."""
    claims = BY_NAME.get(("StatefulSet", name), {}).get("spec", {}).get("volumeClaimTemplates", [])
    volumes = {one["name"] for one in pod["volumes"]} | {claim["metadata"]["name"] for claim in claims}
    assert {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]} <= volumes


def test_no_secret_is_written_down() -> None:
    """Secrets are named, never here."""
    assert [one for one in BASE_OBJECTS if one["kind"] == "Secret"] == []


def test_autoscaler_asks_for_a_metric_that_the_server_tells() -> None:
    """A renamed metric would leave the autoscaler with CPU alone, without a word."""
    metrics = BY_NAME["HorizontalPodAutoscaler", "headrace-serving"]["spec"]["metrics"]
    asked = [one["pods"]["metric"]["name"] for one in metrics if one["type"] == "Pods"]
    assert asked == ["headrace_serving_in_flight"]
    assert set(asked) <= {told.name for told in listed()}


def test_budgets_and_policies_select_pods_that_exist() -> None:
    """A selector that fits nothing guards nothing."""
    labels = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]
        for one in BASE_OBJECTS
        if one["kind"] in ("Deployment", "StatefulSet", "Job", "FlinkDeployment")
    }
    selectors = [
        one["spec"].get("selector") or one["spec"].get("podSelector") or {}
        for one in BASE_OBJECTS
        if one["kind"] in ("PodDisruptionBudget", "NetworkPolicy", "Service")
    ]
    wanted: set[str] = set()
    for selector in selectors:
        wanted |= set(selector.get("matchLabels", {}).values()) | {
            value for expression in selector.get("matchExpressions", ()) for value in expression["values"]
        }
        wanted |= {value for key, value in selector.items() if key == "app.kubernetes.io/component"}
    assert wanted <= labels


def container_port(part: str) -> int:
    """Return the port called `metrics` of a part's container."""
    pod = next(pod for name, pod in PODS if name == f"headrace-{part}")
    return int(next(port["containerPort"] for port in pod["containers"][0]["ports"] if port["name"] == "metrics"))


def test_configuration_loads_and_opens_no_port_without_certificates() -> None:
    """Parts read exactly these files; addresses that others reach have TLS and tokens."""
    endpoints = load_endpoints(BASE / "endpoints.json")
    assert load_security_config(BASE / "headrace.yaml").tls is not None
    metrics = load_metrics_config(BASE / "headrace.yaml")
    ports = [container_port(part) for part in PARTS]
    assert [metrics.address(part, endpoints) for part in PARTS] == [f"0.0.0.0:{port}" for port in ports]
    assert endpoints.kafka_security is not None
    assert endpoints.kafka_security.protocol == "SASL_SSL"


def test_quota_has_room_for_everything() -> None:
    """The autoscaler's largest fleet, Flink and the rest fit the quota."""
    replicas = BY_NAME["HorizontalPodAutoscaler", "headrace-serving"]["spec"]["maxReplicas"]
    flink = BY_NAME["FlinkDeployment", "headrace-flink"]["spec"]
    cpu = (
        flink["jobManager"]["resource"]["cpu"]
        + flink["taskManager"]["replicas"] * flink["taskManager"]["resource"]["cpu"]
    )
    for name, pod in pod_specs(BASE_OBJECTS):
        if name != "headrace-flink":
            asked = pod["containers"][0]["resources"]["requests"]["cpu"]
            each = float(asked[:-1]) / 1000.0 if asked.endswith("m") else float(asked)
            cpu += each * (replicas + 1 if name == "headrace-serving" else 1)
    assert cpu <= float(BY_NAME["ResourceQuota", "headrace"]["spec"]["hard"]["requests.cpu"])
