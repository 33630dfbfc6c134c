/** Jinja's tests, which stand behind `is` and in select. */
import { type Comparison, compared, contains, operate } from './operators.ts';
import { str } from './text.ts';
import { isCased } from './text-methods.ts';
import {
  Callable,
  equal,
  isDict,
  isList,
  isNumber,
  Loop,
  Range,
  Stream,
  TemplateError,
  Tuple,
  Undefined,
  type Value,
  View,
} from './values.ts';

type Test = (value: Value, args: readonly Value[]) => boolean;

const comparison =
  (operator: Comparison): Test =>
  (value, [other]) =>
    compared(operator, value, argument(other));

function argument(value: Value | undefined): Value {
  if (value === undefined) throw new TemplateError('a test is given nothing to compare with');
  return value;
}

/** Whether value % by is `remainder`. */
const leaves = (remainder: bigint, value: Value, by: Value): boolean => equal(operate('%', value, by), remainder);

const isSequence: Test = (value) =>
  typeof value === 'string' ||
  isList(value) ||
  isDict(value) ||
  [Tuple, Range, Undefined].some((type) => value instanceof type);

/** The same object, of those of which there is one alone. */
const isSame: Test = (value, [other]) => {
  for (const one of [value, argument(other)])
    if (one !== null && typeof one !== 'boolean')
      throw new TemplateError('sameas of more than true, false and none is not computed here');
  return value === other;
};

const [EQUAL, UNEQUAL, LESS, AT_MOST, MORE, AT_LEAST] = (['==', '!=', '<', '<=', '>', '>='] as const).map(comparison);

const TESTS: Readonly<Record<string, Test | undefined>> = {
  ...{ eq: EQUAL, equalto: EQUAL, '==': EQUAL, ne: UNEQUAL, '!=': UNEQUAL, lt: LESS, lessthan: LESS, '<': LESS },
  ...{ le: AT_MOST, '<=': AT_MOST, gt: MORE, greaterthan: MORE, '>': MORE, ge: AT_LEAST, '>=': AT_LEAST },
  boolean: (value) => typeof value === 'boolean',
  callable: (value) => value instanceof Callable,
  defined: (value) => !(value instanceof Undefined),
  divisibleby: (value, [by]) => leaves(0n, value, argument(by)),
  even: (value) => leaves(0n, value, 2n),
  false: (value) => value === false,
  float: (value) => typeof value === 'number',
  in: (value, [container]) => contains(argument(container), value),
  integer: (value) => typeof value === 'bigint',
  iterable: (value) => isSequence(value, []) || [View, Stream, Loop].some((type) => value instanceof type),
  lower: (value) => isCased(str(value), 'lower'),
  mapping: isDict,
  none: (value) => value === null,
  number: isNumber,
  odd: (value) => leaves(1n, value, 2n),
  sameas: isSame,
  sequence: isSequence,
  string: (value) => typeof value === 'string',
  true: (value) => value === true,
  undefined: (value) => value instanceof Undefined,
  upper: (value) => isCased(str(value), 'upper'),
};
/** Those that take something to compare with. */
const WITH_ARGUMENT = new Set([
  EQUAL,
  UNEQUAL,
  LESS,
  AT_MOST,
  MORE,
  AT_LEAST,
  TESTS.divisibleby,
  TESTS.in,
  TESTS.sameas,
]);

/** @throws TemplateError that names a test that is not computed here */
export function test(name: string, value: Value, args: readonly Value[]): boolean {
  const run = Object.hasOwn(TESTS, name) ? TESTS[name] : undefined;
  if (run === undefined) throw new TemplateError(`the test ${name} is not computed here`);
  if (args.length !== (WITH_ARGUMENT.has(run) ? 1 : 0))
    throw new TemplateError(`the test ${name} is given ${args.length} arguments`);
  return run(value, args);
}
