/** The description of a new adapter, from what a run file says about it. */
import { z } from 'zod';
import { AdapterDescription, type LinearModule } from '../proto/adapter.ts';
import { usageError } from '../proto/operating-error.ts';
import { adapterModules, isAllLinear, type Targets, targetMatcher } from './peft-targets.ts';

export interface AdapterSettings extends Pick<AdapterDescription, 'rank' | 'alpha' | 'useRslora' | 'train'> {
  /** "all-linear", a list of name endings, or a regular expression for whole names. */
  readonly targets: Targets;
}

/**
 * The adapter that `settings` ask for on a base model.
 * "all-linear" becomes the list of the layers' last names, as PEFT itself saves it.
 * @param linearModules the base model's, in θ's order
 * @param fanInFanOut the base stores its weights `[fanIn, fanOut]`
 * @throws OperatingError (usage) where a target matches no layer
 */
export function describeAdapter(
  settings: AdapterSettings,
  linearModules: readonly LinearModule[],
  fanInFanOut: boolean,
): AdapterDescription {
  const { targets, ...stated } = settings;
  const targetModules = isAllLinear(targets) ? lastNames(linearModules) : targets;
  const rules = { baseModel: '', ...stated, rankPattern: {}, alphaPattern: {} };
  const named = targetMatcher(targetModules);
  const choices = `the base model's linear layers end in ${lastNames(linearModules).join(', ')}`;
  for (const target of Array.isArray(targetModules) ? targetModules.map((target) => [target]) : [targetModules]) {
    const alone = targetMatcher(target);
    if (!linearModules.some(({ name }) => alone(name)))
      throw usageError(`adapter target ${JSON.stringify([target].flat()[0])} matches no layer; ${choices}`);
  }
  const modules = adapterModules(
    linearModules.filter(({ name }) => named(name)),
    rules,
  );
  const description = AdapterDescription.safeParse({ ...rules, targetModules, fanInFanOut, modules });
  if (!description.success) throw usageError(`adapter: ${z.prettifyError(description.error)}`);
  return description.data;
}

const lastNames = (modules: readonly LinearModule[]): string[] => [
  ...new Set(modules.map(({ name }) => name.slice(name.lastIndexOf('.') + 1))),
];
