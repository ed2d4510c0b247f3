"""Which role each method needs. A method that is not in the table is refused, whoever calls it."""

from __future__ import annotations

from collections.abc import Mapping

from features.security.role import Role

RECOMMENDER = "headrace.serving.v1.Recommender"
MODEL_ADMIN = "headrace.serving.v1.ModelAdmin"
HEALTH = "grpc.health.v1.Health"
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"

ROLE_OF: Mapping[str, Role | None] = {
    **{f"/{RECOMMENDER}/{name}": Role.RECOMMEND for name in ("Recommend", "Rank", "SimilarItems")},
    **{
        f"/{MODEL_ADMIN}/{name}": Role.ADMIN
        for name in (
            "LoadModel",
            "ReloadModel",
            "RollbackModel",
            "PinModel",
            "UnpinModel",
            "ReleaseModel",
            "RejectModel",
            "GetModelStatus",
            "ListModels",
        )
    },
    **{f"/{HEALTH}/{name}": None for name in ("Check", "Watch")},
    f"/{REFLECTION}/ServerReflectionInfo": Role.ADMIN,
}
"""Full method name -> role that it needs; None: anybody may call it. A test holds it complete."""
