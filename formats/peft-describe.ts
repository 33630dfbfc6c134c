/** The description of a new adapter, from what a run file says about it. */
import { z } from 'zod';
import { AdapterDescription, type LinearModule } from '../proto/adapter.ts';
import { usageError } from '../proto/operating-error.ts';
import { adapterModules, isAllLinear, type Targets, targetMatcher } from './peft-targets.ts';

export interface AdapterSettings {
  /** What adapter_config.json shall call the base model. */
  readonly baseModel: string;
  readonly rank: number;
  readonly alpha: number;
  /** "all-linear", a list of name endings, or a regular expression for whole names. */
  readonly targets: Targets;
  /** Default false. */
  readonly useRslora?: boolean;
  /** Default both. */
  readonly train?: AdapterDescription['train'];
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
  const { baseModel, rank, alpha, targets, useRslora = false, train = 'both' } = settings;
  const targetModules = isAllLinear(targets) ? lastNames(linearModules) : targets;
  const rules = { rank, alpha, useRslora, rankPattern: {}, alphaPattern: {} };
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
  const description = AdapterDescription.safeParse({ baseModel, ...rules, targetModules, fanInFanOut, train, modules });
  if (!description.success) throw usageError(`adapter: ${z.prettifyError(description.error)}`);
  return description.data;
}

const lastNames = (modules: readonly LinearModule[]): string[] => [
  ...new Set(modules.map(({ name }) => name.slice(name.lastIndexOf('.') + 1))),
];
