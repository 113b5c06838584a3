"""The tool that compares predicted with measured latency."""

import importlib.util
from pathlib import Path

import pytest
import toy
from counted import count_elements

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(monkeypatch):
    count_elements(monkeypatch)
    path = ROOT / 'tools' / 'analysis_tools' / 'latency_table.py'
    spec = importlib.util.spec_from_file_location('latency_table', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'toy_config.py'
    toy.config(tmp_path / 'run').dump(str(path))
    return str(path)


def test_predictions_stand_beside_measurements(tool, config, tmp_path, capsys):
    tool.main([config, '--cache', str(tmp_path), '--min-channels', '2'])
    shown = capsys.readouterr().out
    assert 'threads: 1' in shown
    assert 'Error of the prediction: 0.0% on average, 0.0% at most.' in shown


def test_a_config_without_a_shape_is_told(tool, tmp_path):
    path = tmp_path / 'plain.py'
    path.write_text("model = dict(type='ToyNet')\n")
    with pytest.raises(SystemExit, match='give --shape 3 224 224'):
        tool.main([str(path)])
