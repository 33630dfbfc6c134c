/**
 * Regular expressions that others wrote: in configs, adapters, run files. They run on RE2's automata (re2js), in time linear in the
 * text, whatever the pattern; JavaScript's own RegExp backtracks, and one pattern of ten characters can hold a process for ever.
 */
import { RE2JS } from 're2js';
import { usageError } from '../proto/operating-error.ts';

/** Characters of a pattern. RE2 itself bounds a repeat (1,000), the nesting (1,000) and the compiled size. */
const MAX_PATTERN_LENGTH = 10_000;

/**
 * Compiles a pattern of RE2's syntax, look-behinds included; look-ahead and back references have no linear time and are errors.
 * Groups are as in Perl and Python: the leftmost match, the first alternative. Compiling takes at most some 100 ms.
 * @returns `testExact` tells whether a whole text matches, `matcher(text).lookingAt()` whether it begins with a match
 * @throws OperatingError (usage) that names the pattern and what the engine does not take
 */
export function linearRegExp(pattern: string): RE2JS {
  if (pattern.length > MAX_PATTERN_LENGTH)
    throw unsupported(pattern, `it has ${pattern.length} characters, at most ${MAX_PATTERN_LENGTH} are taken`);
  try {
    return RE2JS.compile(pattern, RE2JS.LOOKBEHINDS);
  } catch (cause) {
    throw unsupported(pattern, cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** The error of a pattern that is not computed here. */
export const unsupported = (pattern: string, reason: string, options?: ErrorOptions): Error =>
  usageError(`the pattern ${JSON.stringify(pattern.slice(0, 200))} is not supported: ${reason}`, options);
