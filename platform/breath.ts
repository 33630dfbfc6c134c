/** Long work on the thread that hears signals, timers and sockets. */
import { setImmediate } from 'node:timers/promises';

/** The longest that others wait, ms. */
const BREATH_MS = 10;

/** To be awaited between the steps of long work: gives all else a turn every 10 ms. */
export function breather(): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < BREATH_MS) return;
    await setImmediate();
    last = performance.now();
  };
}
