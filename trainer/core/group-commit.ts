/** Group fsync: what many events ask to append becomes durable at once, before all else that they ask for. */
import type { LogFrame } from '../../proto/gen/onebyte.ts';
import type { Effect } from './state.ts';

/**
 * The same effects with one append in front. An append may come earlier than its place, never later, so this keeps the
 * rule that nobody hears of a frame before it is durable.
 */
export function groupAppends(effects: readonly Effect[]): Effect[] {
  const frames: LogFrame[] = [];
  const others: Effect[] = [];
  for (const effect of effects) {
    if (effect.kind === 'append') frames.push(...effect.frames);
    else others.push(effect);
  }
  return frames.length === 0 ? others : [{ kind: 'append', frames }, ...others];
}
