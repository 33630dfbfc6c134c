/** Python's operators on values. */
import { str } from './text.ts';
import {
  compare,
  defined,
  equal,
  isDict,
  isList,
  isNumber,
  iterate,
  keyOf,
  Range,
  Stream,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
  whole,
} from './values.ts';

/** Characters or items that one operation may give. */
const MAX_LENGTH = 2 ** 24;
/** Bits of a whole number. */
const MAX_BITS = 2 ** 16;

export type Operator = '+' | '-' | '*' | '/' | '//' | '%' | '**' | '~';

/** @throws TemplateError where Python does, or does what is not computed here */
export function operate(operator: Operator, left: Value, right: Value): Value {
  if (operator === '~') return bounded(str(left) + str(right));
  const [a, b] = [defined(left), defined(right)];
  if (isNumber(a) && isNumber(b)) return arithmetic(operator, a, b);
  if (operator === '+') {
    if (typeof a === 'string' && typeof b === 'string') return bounded(a + b);
    if (isList(a) && isList(b)) return bounded([...a, ...b]);
    if (a instanceof Tuple && b instanceof Tuple) return new Tuple(bounded([...a.items, ...b.items]));
  }
  if (operator === '*') {
    if (isNumber(a)) return repeated(b, a);
    if (isNumber(b)) return repeated(a, b);
  }
  if (operator === '%' && typeof a === 'string') throw new TemplateError('a text % values is not computed here');
  throw new TemplateError(`${typeName(a)} ${operator} ${typeName(b)} is not possible`);
}

/** @throws TemplateError where that is too much */
export function bounded<T extends { readonly length: number }>(value: T): T {
  if (value.length > MAX_LENGTH)
    throw new TemplateError(`writes ${value.length} characters, expected at most ${MAX_LENGTH}`);
  return value;
}

function repeated(value: Value, by: Value): Value {
  const times = Math.max(0, whole('a number of repetitions', by));
  const list = value instanceof Tuple ? value.items : value;
  if (typeof list !== 'string' && !isList(list)) throw new TemplateError(`${typeName(value)} cannot be repeated`);
  bounded({ length: list.length * times });
  if (typeof list === 'string') return list.repeat(times);
  const items = Array.from({ length: times }, () => list).flat();
  return value instanceof Tuple ? new Tuple(items) : items;
}

function arithmetic(operator: Operator, left: boolean | bigint | number, right: boolean | bigint | number): Value {
  const [a, b] = [left, right].map((value) => (typeof value === 'boolean' ? BigInt(value) : value)) as [number, number];
  // biome-ignore lint/suspicious/noDoubleEquals: 0n as well
  if (b == 0 && ['/', '//', '%'].includes(operator)) throw new TemplateError('division by zero');
  if (typeof a === 'bigint' && typeof b === 'bigint' && operator !== '/') return ofInts(operator, a, b);
  return ofFloats(operator, Number(a), Number(b));
}

function ofInts(operator: Operator, a: bigint, b: bigint): Value {
  if (operator === '+') return a + b;
  if (operator === '-') return a - b;
  if (operator === '*') {
    if (bits(a) + bits(b) > MAX_BITS) throw new TemplateError('a number is too large');
    return a * b;
  }
  if (operator === '**') {
    if (b < 0n) return ofFloats('**', Number(a), Number(b));
    if (bits(a) * Number(b) > MAX_BITS) throw new TemplateError('a number is too large');
    return a ** b;
  }
  // Towards minus infinity, where JavaScript goes towards 0.
  const remainder = ((a % b) + b) % b;
  return operator === '%' ? remainder : (a - remainder) / b;
}

const bits = (value: bigint): number => value.toString(2).length;

function ofFloats(operator: Operator, a: number, b: number): number {
  if (operator === '+') return a + b;
  if (operator === '-') return a - b;
  if (operator === '*') return a * b;
  if (operator === '/') return a / b;
  if (operator === '**') {
    const power = a ** b;
    // Of another precision in every engine, but for these.
    if (Number.isInteger(a) && Number.isInteger(b) && b >= 0 && Number.isSafeInteger(power)) return power;
    throw new TemplateError('a power of fractions is not computed here');
  }
  const remainder = a % b;
  const floored = remainder !== 0 && remainder < 0 !== b < 0 ? remainder + b : remainder;
  return operator === '%' ? floored : Math.floor((a - floored) / b);
}

export function negated(value: Value): Value {
  const number = defined(value);
  if (typeof number === 'boolean') return -BigInt(number);
  if (typeof number === 'bigint' || typeof number === 'number') return -number;
  throw new TemplateError(`-${typeName(number)} is not possible`);
}

/** Python's `in`. */
export function contains(container: Value, value: Value): boolean {
  if (typeof container === 'string') {
    if (typeof value !== 'string') throw new TemplateError(`${typeName(value)} in a text is not possible`);
    return container.includes(value);
  }
  if (isDict(container)) return !(value instanceof Undefined) && container.has(keyOf(value));
  if (container instanceof Stream) {
    for (let item = container.next(); item !== undefined; item = container.next()) if (equal(item, value)) return true;
    return false;
  }
  return iterate(container).some((item) => item === value || equal(item, value));
}

export type Comparison = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in';

export function compared(operator: Comparison, left: Value, right: Value): boolean {
  if (operator === '==') return equal(left, right);
  if (operator === '!=') return !equal(left, right);
  if (operator === 'in') return contains(right, left);
  if (operator === 'not in') return !contains(right, left);
  const order = compare(defined(left), defined(right));
  if (operator === '<') return order < 0;
  if (operator === '<=') return order <= 0;
  return operator === '>' ? order > 0 : order >= 0;
}

/** Python's value[start:stop:step]; undefined where `value` cannot be cut. */
export function slice(value: Value, bounds: readonly Value[]): Value | undefined {
  const items = sequenceOf(value);
  if (items === undefined) return undefined;
  const [start, stop, by] = bounds.map((bound) => (bound === null ? undefined : whole('a bound of a slice', bound)));
  const step = by ?? 1;
  if (step === 0) throw new TemplateError('the step of a slice is 0');
  const size = items.length;
  const [lowest, highest] = step > 0 ? [0, size] : [-1, size - 1];
  const clamp = (bound: number): number => Math.min(Math.max(bound < 0 ? bound + size : bound, lowest), highest);
  const from = start === undefined ? (step > 0 ? lowest : highest) : clamp(start);
  const to = stop === undefined ? (step > 0 ? highest : lowest) : clamp(stop);
  const cut: Value[] = [];
  for (let i = from; step > 0 ? i < to : i > to; i += step) cut.push(items[i]!);
  if (typeof value === 'string') return cut.join('');
  if (value instanceof Range) throw new TemplateError('a slice of a range is not computed here');
  return value instanceof Tuple ? new Tuple(cut) : cut;
}

/** The items that can be had by their index; undefined where there are none. */
export function sequenceOf(value: Value): readonly Value[] | undefined {
  if (typeof value === 'string' || isList(value)) return iterate(value);
  return value instanceof Tuple || value instanceof Range ? value.items : undefined;
}
