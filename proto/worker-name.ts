/** Names of workers: what one may be, where it is given and where it arrives. */
import { MAX_NAME_LENGTH } from './limits.ts';

/** What is wrong with a name; undefined: nothing. */
export const nameProblem = (name: string): string | undefined =>
  name.length <= MAX_NAME_LENGTH && /^[\w.:@/-]+$/.test(name)
    ? undefined
    : `expected 1…${MAX_NAME_LENGTH} letters, digits or . _ : @ / -`;
