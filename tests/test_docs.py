"""Code in the documentation runs, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from mmdhp.graph.reasons import REASONS
from mmdhp.graph.rules import RULES
from mmdhp.registry import PRUNERS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / 'README.md',
    *sorted((ROOT / 'docs').glob('*.md')),
    ROOT / 'docs' / 'zoo' / 'README.md',
    *sorted((ROOT / 'configs').glob('*/README.md')),
]


def blocks(page, language):
    pattern = rf'^```{language}\n(.*?)^```'
    return re.findall(pattern, page.read_text(), re.M | re.S)


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_exist(page):
    links = re.findall(r'\]\((?!https?:)([^)#]+)', page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


def test_every_reason_is_documented():
    page = (ROOT / 'docs' / 'reasons.md').read_text()
    rows = re.findall(r'^\| `([\w-]+)` \| (.+) \| (.+) \|$', page, re.M)
    assert {code: (meaning, fix) for code, meaning, fix in rows} == REASONS


def test_the_parts_of_the_readme_run():
    pytest.importorskip('torchvision')
    (code,) = [b for b in blocks(PAGES[0], 'python') if 'mmdhp.trace' in b]
    names = {}
    exec(compile(code, 'README.md', 'exec'), names)
    assert len(names['graph'].groups) == 37
    kept = names['graph'].macs(names['keep'])
    assert kept < 0.4 * names['graph'].macs()
    assert names['model'].conv1.out_channels == 32


def test_the_ten_lines_are_ten():
    (code,) = [b for b in blocks(PAGES[0], 'python') if '_base_ =' in b]
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 10
    compile(code, 'README.md', 'exec')


def test_documented_commands_name_existing_files():
    named = re.compile(r'\b((?:tools|configs)/\S+\.(?:py|sh))')
    for page in PAGES:
        for block in blocks(page, 'bash'):
            for name in named.findall(block):
                assert (ROOT / name).exists(), f'{page.name}: {name}'


def test_the_examples_of_extending_run(capsys):
    page = ROOT / 'docs' / 'extending.md'
    names = {}
    rules = dict(RULES)
    known = dict(PRUNERS.module_dict)
    try:
        for code in blocks(page, 'python'):
            exec(compile(code, page.name, 'exec'), names)
    finally:
        RULES.clear()
        RULES.update(rules)
        PRUNERS.module_dict.clear()
        PRUNERS.module_dict.update(known)
    assert capsys.readouterr().out.splitlines()[:2] == ['[]', "['first']"]
    first = names['model'].first.weight
    assert 3 < len(first) < 8
    assert names['keep'].tolist() == [i < len(first) for i in range(8)]


def test_messages_of_the_faq_are_ours():
    """Every quoted message stands in the source, but for what differs."""
    source = ''.join(p.read_text() for p in (ROOT / 'mmdhp').rglob('*.py'))
    source = re.sub(r"""['"]\n\s*f?['"]""", '', source)  # joined literals
    text = (ROOT / 'docs' / 'faq.md').read_text()
    quoted = re.findall(r'^> (.+)$', text, re.M)
    assert len(quoted) >= 8
    for message in quoted:
        for part in filter(str.strip, message.split('...')):
            assert part.strip() in source, (message, part)
