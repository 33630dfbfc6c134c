/** Matching of modules, against what PEFT's own functions answer. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readPeftConfig } from '../../formats/peft-config.ts';
import { describeAdapter } from '../../formats/peft-describe.ts';
import { adapterModules, patternFinder, pythonRegExp, targetMatcher } from '../../formats/peft-targets.ts';
import { goldenFiles } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

// Made by: python3 test/golden/peft_matching.py (peft 0.21.2)
const golden = JSON.parse(readFileSync(join(goldenFiles, 'peft-matching.json'), 'utf8'));
const linear = (name: string) => ({ name, fanIn: 4, fanOut: 6 });
const NO_PATTERNS = { rank: 8, alpha: 16, useRslora: false, rankPattern: {}, alphaPattern: {} };

describe('a LoRA config', () => {
  for (const { config, matched } of golden.targets)
    it(`adapts the modules that PEFT adapts: ${JSON.stringify(config)}`, () => {
      const file = join(temporaryDirectory(), 'adapter_config.json');
      writeFileSync(file, JSON.stringify({ peft_type: 'LORA', ...config }));
      const read = () => readPeftConfig(file, golden.names.map(linear), () => {}).modules.map(({ name }) => name);
      if (matched.length === 0) assert.throws(read, /adapter_config.json: target_modules .* matches no linear layer/);
      else assert.deepEqual(read(), matched);
    });

  for (const { keys, matched } of golden.patterns)
    it(`gives a rank by the pattern that PEFT takes: ${JSON.stringify(keys)}`, () => {
      const find = patternFinder(Object.fromEntries(keys.map((key: string) => [key, key])));
      const ours = golden.names.map((name: string) => [name, find(name)]);
      assert.deepEqual(
        ours.filter(([, key]: unknown[]) => key !== undefined),
        matched,
      );
    });

  it('reads the patterns of Python that RE2 reads alike', () => {
    for (const pattern of ['(?P<a>q)', '(?i)Q', '\\Aq', '[]q]', '\\bq', '(?<!a)q', '[^]a]', '(?:|q)', 'q{1,2}', 'q*?'])
      assert.equal(targetMatcher(pattern)('q'), true, pattern);
  });

  it('refuses by name the patterns that RE2 does not take or reads otherwise than Python', () => {
    for (const pattern of [
      '(?#x)q',
      'q++',
      '(?>q)',
      '(a)\\1',
      'q(?=\\.)',
      '(?!a)q',
      'q{,2}',
      'q)|(p',
      '[[:alpha:]]',
      '\\Qq\\E',
      'q\\z',
      '\\pLq',
      '(?<a>q)',
      '(?sU)q',
    ])
      assert.throws(() => targetMatcher(pattern), {
        exitCode: 2,
        message: /^the pattern ".*" is not supported: /,
      });
  });

  it('answers at once for patterns that hold a backtracking engine for ever', () => {
    const text = 'a'.repeat(5_000);
    for (const pattern of ['(a+)+b', '(a|aa)*b', '(?:.*){50}b', '(?:a?){999}a{999}b', '(.*)*(.*)*b']) {
      assert.equal(targetMatcher(pattern)(text), false, pattern);
      assert.equal(patternFinder({ [pattern]: 1 })(text), undefined, pattern);
      assert.equal(pythonRegExp(pattern, '(?:|.*?\\.)', '\\.(\\d+)\\.').matcher(text).lookingAt(), false, pattern);
    }
  });

  it('refuses patterns that are too large to compile, alone or together', () => {
    for (const pattern of [
      '((a{1000}){1000}){1000}',
      'a{1000000}',
      `${'('.repeat(2000)}a${')'.repeat(2000)}`,
      'a'.repeat(10_001),
    ])
      assert.throws(() => targetMatcher(pattern), {
        exitCode: 2,
        message: /^the pattern ".{0,200}" is not supported: /,
      });
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`${i}.{999}`, 1]));
    assert.throws(() => patternFinder(many), { exitCode: 2, message: /^the pattern "1\d\d.*together$/ });
  });

  it('scales by alpha / rank, and by alpha / sqrt(rank) with rsLoRA, patterns first', () => {
    const rules = { ...NO_PATTERNS, rankPattern: { 'mlp.up': 4 }, alphaPattern: { up: 2 } };
    const one = (name: string, change: object = {}) => adapterModules([linear(name)], { ...rules, ...change })[0];
    assert.deepEqual(one('h.0.mlp.up'), { ...linear('h.0.mlp.up'), rank: 4, scale: 0.5 });
    assert.equal(one('h.0.mlp.up', { useRslora: true })?.scale, 1);
    assert.equal(one('h.0.mlp.down')?.scale, 2);
  });
});

describe('a new adapter', () => {
  const modules = ['h.0.attn.q', 'h.0.mlp.up', 'h.1.attn.q', 'h.1.mlp.up'].map(linear);
  const settings = { rank: 2, alpha: 4, useRslora: false, targets: 'all-linear', train: 'both' } as const;

  it('takes every linear layer for "all-linear", which it states as a list', () => {
    const description = describeAdapter(settings, modules, false);
    assert.deepEqual(description.targetModules, ['q', 'up']);
    assert.deepEqual(
      description.modules,
      modules.map((module) => ({ ...module, rank: 2, scale: 2 })),
    );
  });

  it('takes lists and regular expressions, in the order of the base model', () => {
    const names = (targets: string | string[]) =>
      describeAdapter({ ...settings, targets }, modules, true).modules.map(({ name }) => name);
    assert.deepEqual(names(['up', 'h.0.attn.q']), ['h.0.attn.q', 'h.0.mlp.up', 'h.1.mlp.up']);
    assert.deepEqual(names('h\\.1\\..*'), ['h.1.attn.q', 'h.1.mlp.up']);
  });

  it('refuses targets that match nothing, naming what there is', () => {
    const bad = (change: object, message: RegExp) =>
      assert.throws(() => describeAdapter({ ...settings, ...change }, modules, false), message);
    bad({ targets: ['q', 'k'] }, /target "k" matches no layer; .* end in q, up/);
    bad({ targets: '.*k' }, /target "\.\*k" matches no layer/);
    bad({ rank: 0 }, /rank/);
  });
});
