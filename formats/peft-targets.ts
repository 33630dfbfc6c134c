/** Which layers a LoRA config adapts, and with what rank and scale: PEFT's own matching rules. Reads no files. */
import type { RE2JS } from 're2js';
import { linearRegExp, unsupported } from '../platform/linear-regexp.ts';
import type { AdapterDescription, AdapterModule, LinearModule } from '../proto/adapter.ts';
import { usageError } from '../proto/operating-error.ts';

/** PEFT's target_modules: one regular expression for whole names, or a list of name endings. */
export type Targets = AdapterDescription['targetModules'];

/** What decides rank and scale of a module. */
export type RankRules = Pick<AdapterDescription, 'rank' | 'alpha' | 'useRslora' | 'rankPattern' | 'alphaPattern'>;

/**
 * Tells whether `targets` name a module: a list by the whole name or by what follows a dot, a string by a match of the whole name
 * (peft/tuners/tuners_utils.py, check_target_module_exists).
 * @throws OperatingError (usage) that names a pattern that is not supported
 */
export function targetMatcher(targets: Targets): (name: string) => boolean {
  if (typeof targets === 'string') {
    const whole = pythonRegExp(targets);
    return (name) => whole.testExact(name);
  }
  return (name) => targets.some((target) => name === target || name.endsWith(`.${target}`));
}

/** The word for every linear layer but the head; PEFT ignores case. */
export const isAllLinear = (targets: Targets): boolean =>
  typeof targets === 'string' && targets.toLowerCase() === 'all-linear';

/**
 * `linear` with the ranks and scales that `rules` give (peft/tuners/lora/model.py, _create_and_replace).
 * @throws OperatingError (usage) that names a pattern that is not supported, or a layer whose scale is none that float32 can hold
 */
export function adapterModules(linear: readonly LinearModule[], rules: RankRules): AdapterModule[] {
  const rankOf = patternFinder(rules.rankPattern);
  const alphaOf = patternFinder(rules.alphaPattern);
  return linear.map(({ name, fanIn, fanOut }) => {
    const rank = rankOf(name) ?? rules.rank;
    const alpha = alphaOf(name) ?? rules.alpha;
    const scale = alpha / (rules.useRslora ? Math.sqrt(rank) : rank);
    if (!Number.isFinite(Math.fround(scale)))
      throw usageError(
        `alpha ${alpha} and rank ${rank} give ${name} the scale ${scale}, expected one that float32 can hold`,
      );
    return { name, rank, fanIn, fanOut, scale };
  });
}

/** Instructions of all patterns of a config, compiled: some seconds. A pattern for each of 900 layers has 40,000. */
const MAX_PROGRAM = 2 ** 17;

/**
 * Tells what `patterns` hold for a name: of the first key that matches it, whole or after a dot (peft/utils/other.py, get_pattern_key).
 * @throws OperatingError (usage) that names a pattern that is not supported, or says that they are too many
 */
export function patternFinder<T>(patterns: Readonly<Record<string, T>>): (name: string) => T | undefined {
  let program = 0;
  const compiled = Object.entries(patterns).map(([key, value]) => {
    const pattern = pythonRegExp(key, '(?:.*\\.)?');
    program += pattern.programSize();
    if (program > MAX_PROGRAM) throw unsupported(key, 'it and the patterns before it are too large together');
    return [pattern, value] as const;
  });
  return (name) => compiled.find(([pattern]) => pattern.testExact(name))?.[1];
}

/** What RE2 takes and Python reads otherwise or refuses. An escaped backslash escapes nothing. */
const NOT_PYTHON = /(?<!\\)(?:\\\\)*(\\[0-9pPQEzC])|\[\[:|\{,|\(\?<[^=!]|\(\?-?[a-zA-Z]*U/;
/** Python's end of the text is \Z, RE2's \z. */
const PYTHON_END = /(?<!\\)((?:\\\\)*)\\Z/g;

/**
 * A pattern of Python's `re`, which is a whole one by itself, between `before` and `after`, as RE2's: what RE2 does not know is
 * an error, not taken literally: look-ahead, back references, atomic groups and possessive quantifiers.
 * @throws OperatingError (usage) that names the pattern
 */
export function pythonRegExp(pattern: string, before = '', after = ''): RE2JS {
  const other = NOT_PYTHON.exec(pattern)?.[0];
  if (other !== undefined) throw unsupported(pattern, `it has ${JSON.stringify(other)}`);
  const translated = pattern.replace(PYTHON_END, '$1\\z');
  const alone = linearRegExp(translated);
  return before === '' && after === '' ? alone : linearRegExp(`${before}(?:${translated})${after}`);
}
