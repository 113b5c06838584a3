import pytest


@pytest.fixture
def cpu_amp(monkeypatch):
    """Let MMEngine build its AmpOptimWrapper where there is no GPU."""
    monkeypatch.setattr(
        'mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available',
        lambda: True,
    )
