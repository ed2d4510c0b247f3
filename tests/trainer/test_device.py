"""What `trainer.device` means on a machine with CUDA and on one without."""

from __future__ import annotations

import pytest
import torch

from features.config import ConfigError
from trainer.config import TrainerConfig
from trainer.startup import device_of


@pytest.mark.parametrize("has_cuda", [True, False])
def test_auto_takes_cuda_where_there_is_one(has_cuda: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And `cpu` stays what it says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert device_of(TrainerConfig(device="auto")) == ("cuda" if has_cuda else "cpu")
    assert device_of(TrainerConfig(device="cpu")) == "cpu"


def test_cuda_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key and mend, in place of what torch raises."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer\.device is cuda, but torch .* take auto or cpu"):
        device_of(TrainerConfig(device="cuda"))
