/** Which layers a LoRA config adapts, and with what rank and scale: PEFT's own matching rules. Reads no files. */
import type { AdapterDescription, AdapterModule, LinearModule } from '../proto/adapter.ts';
import { usageError } from '../proto/operating-error.ts';

/** PEFT's target_modules: one regular expression for whole names, or a list of name endings. */
export type Targets = AdapterDescription['targetModules'];

/** What decides rank and scale of a module. */
export type RankRules = Pick<AdapterDescription, 'rank' | 'alpha' | 'useRslora' | 'rankPattern' | 'alphaPattern'>;

/**
 * Whether `targets` names the module: a list by the whole name or by what follows a dot, a string by a match of the whole name
 * (peft/tuners/tuners_utils.py, check_target_module_exists).
 */
export function matchesTargets(targets: Targets, name: string): boolean {
  if (typeof targets === 'string') return pythonRegExp(targets, (pattern) => `^(?:${pattern})$`).test(name);
  return targets.some((target) => name === target || name.endsWith(`.${target}`));
}

/** The word for every linear layer but the head; PEFT ignores case. */
export const isAllLinear = (targets: Targets): boolean =>
  typeof targets === 'string' && targets.toLowerCase() === 'all-linear';

/** `linear` with the rank and scale that `rules` give it (peft/tuners/lora/model.py, _create_and_replace). */
export function adapterModule({ name, fanIn, fanOut }: LinearModule, rules: RankRules): AdapterModule {
  const rankKey = patternKey(rules.rankPattern, name);
  const alphaKey = patternKey(rules.alphaPattern, name);
  const rank = (rankKey === undefined ? undefined : rules.rankPattern[rankKey]) ?? rules.rank;
  const alpha = (alphaKey === undefined ? undefined : rules.alphaPattern[alphaKey]) ?? rules.alpha;
  return { name, rank, fanIn, fanOut, scale: alpha / (rules.useRslora ? Math.sqrt(rank) : rank) };
}

/** The first key of `patterns` that matches `name`, whole or after a dot (peft/utils/other.py, get_pattern_key). */
export const patternKey = (patterns: Readonly<Record<string, unknown>>, name: string): string | undefined =>
  Object.keys(patterns).find((key) => pythonRegExp(key, (pattern) => `^(?:.*\\.)?(?:${pattern})$`).test(name));

/**
 * A pattern of Python's `re` as JavaScript's, in Unicode mode, which refuses what it does not know instead of taking it
 * literally: (?P<name>, (?i), \A, \Z, {,n}, atomic groups and possessive quantifiers are errors. What both accept and read
 * differently is refused here: back references, a class that begins with "]".
 * @param embed puts the pattern, which is a whole one by itself, into a larger one
 * @throws OperatingError (usage) that names the pattern
 */
export function pythonRegExp(pattern: string, embed: (pattern: string) => string): RegExp {
  if (/\\[1-9]|\[\^?\]/.test(pattern))
    throw usageError(`the pattern ${JSON.stringify(pattern)} has a back reference or an empty class: not supported`);
  try {
    new RegExp(pattern, 'u');
    return new RegExp(embed(pattern), 'u');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw usageError(`the pattern ${JSON.stringify(pattern)} is not supported: ${reason}`, { cause: error });
  }
}
