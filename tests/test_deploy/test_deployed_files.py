"""Files run without mmdhp, and compute what the models compute."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from toy import CLASSES, SHAPE

from mmdhp.deploy import FORMATS, ExportOptions, export_model
from mmdhp.deploy.loading import load_source

pytest.importorskip('onnxruntime')

# Runs files where neither mmdhp nor OpenMMLab can be imported, nor, for
# ONNX, PyTorch.
ALONE = """
import sys
for name in ('mmdhp', 'mmengine', 'mmcv', 'mmpretrain', 'mmagic', 'mmdet',
             'toy'):
    sys.modules[name] = None
import json
import numpy as np

folder, inputs = sys.argv[1:]
images = np.load(inputs)

sys.modules['torch'] = None
import onnxruntime
session = onnxruntime.InferenceSession(f'{folder}/model.onnx')
found = {'onnx': session.run(None, {'image': images})[0]}
notes = session.get_modelmeta().custom_metadata_map
described = {'onnx': notes['description']}

del sys.modules['torch']
import torch
notes = {'description': ''}
program = torch.export.load(f'{folder}/model.pt2', extra_files=notes)
found['pt2'] = program.module()(torch.from_numpy(images))[0]
described['pt2'] = notes['description']
module = torch.jit.load(f'{folder}/model.torchscript.pt', _extra_files=notes)
found['torchscript'] = module(torch.from_numpy(images))[0]
described['torchscript'] = notes['description'].decode()

assert not [m for m in sys.modules if m.startswith(('mmdhp.', 'mmengine.'))]
np.savez(f'{folder}/found.npz', **{
    name: np.asarray(array.detach() if name != 'onnx' else array)
    for name, array in found.items()
})
json.dump(described, open(f'{folder}/described.json', 'w'))
"""


def run_alone(folder, images):
    """Outputs and descriptions of all files of a folder, by format."""
    np.save(folder / 'images.npy', images.numpy())
    done = subprocess.run(
        [sys.executable, '-c', ALONE, str(folder), folder / 'images.npy'],
        cwd=folder,
        env={'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    described = json.loads((folder / 'described.json').read_text())
    return dict(np.load(folder / 'found.npz')), described


def assert_all_close(found, expected):
    """Every format's outputs are PyTorch's up to rounding."""
    assert found.keys() == FORMATS.keys()
    largest = float(expected.abs().max())  # rounding measures 2e-6 of it
    for name, array in found.items():
        np.testing.assert_allclose(
            array,
            expected.numpy(),
            rtol=0,
            atol=1e-5 * largest,
            err_msg=name,
        )


def outputs_of(runner, images):
    with torch.no_grad():
        return runner.model.eval()(images)


@pytest.mark.parametrize('kind', ['toy', 'classifier', 'restorer'])
def test_files_run_where_mmdhp_cannot_be_imported(kind, request, tmp_path):
    runner = request.getfixturevalue(kind)
    # 4, 5: no size that was tried; the restorer takes any, the others theirs
    shape = (3, 13, 17) if kind == 'restorer' else SHAPE
    images = torch.randn(4, *shape)

    files = export_model(runner.work_dir, list(FORMATS), str(tmp_path))
    found, described = run_alone(tmp_path, images)

    assert_all_close(found, outputs_of(runner, images))
    assert [file.format for file in files] == list(FORMATS)
    for file in files:
        assert file.difference.relative < 1e-5
        with open(f'{file.path}.json') as beside:
            facts = json.load(beside)
        inside = json.loads(described[file.format])
        assert inside.items() <= facts.items()
        check = facts['check']
        assert check['max_absolute_difference'] == file.difference.absolute
        first = [2, 3, 12, 12] if kind == 'restorer' else [2, *SHAPE]
        assert check['input_shapes'][0] == first  # filled up, if need be


def test_a_classifier_with_preprocessing_takes_bytes(classifier, tmp_path):
    images = torch.randint(0, 256, (4, *SHAPE), dtype=torch.uint8)
    model = classifier.model.eval()
    with torch.no_grad():  # loaded blue first; the network sees red first
        data = model.data_preprocessor({'inputs': images.flip(1)})
        expected = model(data['inputs'])

    export_model(
        classifier.work_dir,
        list(FORMATS),
        str(tmp_path),
        options=ExportOptions(with_preprocess=True),
    )
    found, described = run_alone(tmp_path, images.float())

    assert_all_close(found, expected)
    facts = json.loads(described['onnx'])
    assert facts['preprocessing']['included'] is True
    assert facts['preprocessing']['channel_order'] == 'RGB'
    assert facts['preprocessing']['mean'] == [120.0, 110.0, 100.0]
    assert facts['postprocessing']['formula'] == 'softmax(output, axis=1)'
    assert facts['inputs'][0]['shape'] == ['batch', *SHAPE]
    assert facts['classes'] == [f'class {i}' for i in range(CLASSES)]


@pytest.mark.parametrize('size', [(13, 18), (16, 12)])
def test_a_restorer_with_preprocessing_returns_images(
    restorer, tmp_path, size
):
    from mmagic.structures import DataSample

    images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    model = restorer.model.eval()
    sample = DataSample()
    with torch.no_grad():
        data = model.data_preprocessor(
            {'inputs': [images[0]], 'data_samples': [sample]}
        )
        outputs = model(data['inputs'])
        expected = model.data_preprocessor.destruct(
            outputs, data['data_samples']
        )

    export_model(
        restorer.work_dir,
        list(FORMATS),
        str(tmp_path),
        options=ExportOptions(with_preprocess=True),
    )
    found, described = run_alone(tmp_path, images.float())

    height, width = size
    # MMagic takes away as many pixels as it filled in, not four times that
    expected = expected[..., : 4 * height, : 4 * width]
    assert_all_close(found, expected.reshape(1, 3, 4 * height, 4 * width))
    facts = json.loads(described['pt2'])
    assert facts['task'] == 'restoration'
    assert facts['inputs'][0]['shape'] == ['batch', 3, 'height', 'width']
    assert facts['postprocessing']['included'] is True


def test_axes_of_onnx_have_names(restorer, tmp_path):
    import onnxruntime

    (file,) = export_model(restorer.work_dir, 'onnx', str(tmp_path))

    session = onnxruntime.InferenceSession(file.path)
    (image,) = session.get_inputs()
    assert image.shape == ['batch', 3, 'height', 'width']
    (output,) = session.get_outputs()
    assert output.name == 'output'
    assert output.shape == ['batch', 3, '4*height', '4*width']


def test_a_fixed_file_takes_its_own_batch_only(toy, tmp_path):
    import onnxruntime

    options = ExportOptions(dynamic='none')
    (file,) = export_model(
        toy.work_dir, 'onnx', str(tmp_path), options=options
    )

    session = onnxruntime.InferenceSession(file.path)
    assert session.get_inputs()[0].shape == [2, *SHAPE]
    with pytest.raises(Exception, match='Got: 3 Expected: 2'):
        session.run(None, {'image': np.zeros((3, *SHAPE), np.float32)})


def test_a_config_with_a_checkpoint_is_a_model_too(classifier, tmp_path):
    config = tmp_path / 'plain.py'
    cfg = classifier.cfg.copy()
    cfg.dump(str(config))
    weights = f'{classifier.work_dir}/pruned/pruned.pth'

    source = load_source(str(config), weights)

    assert source.shape == SHAPE  # of the config's pruner
    images = torch.randn(2, *SHAPE)
    with torch.no_grad():
        found = source.model(images)
    assert torch.equal(found, outputs_of(classifier, images))
    files = export_model(str(config), 'torchscript', None, weights)
    assert files[0].path == f'{classifier.work_dir}/pruned/deploy/' + (
        'model.torchscript.pt'
    )


def test_files_lie_in_the_work_folder_by_default(toy):
    (file,) = export_model(f'{toy.work_dir}/pruned', 'pt2')
    assert file.path == f'{toy.work_dir}/pruned/deploy/model.pt2'
