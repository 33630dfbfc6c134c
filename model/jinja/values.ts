/**
 * The values of a template, as Python has them: bigint is int, number is float, string is str (of code points), an array is a list, a Map
 * is a dict. Lists and dicts never change: transformers runs templates in an immutable sandbox.
 */

export type Value =
  | null
  | boolean
  | bigint
  | number
  | string
  | readonly Value[]
  | Dict
  | Tuple
  | Range
  | View
  | Stream
  | Undefined
  | Namespace
  | Callable
  | Loop;

/** Booleans and whole floats are keys as the int that they equal. */
export type Dict = ReadonlyMap<Key, Value>;
export type Key = null | string | bigint | number;

/** What a template does that Python refuses, or that is not computed here; says which. */
export class TemplateError extends Error {
  /** In the template, from 1; set by the innermost statement. */
  line: number | undefined;
}

export class Tuple {
  readonly items: readonly Value[];
  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** What `range` gives. */
export class Range {
  readonly items: readonly Value[];
  readonly text: string;
  constructor(items: readonly Value[], text: string) {
    this.items = items;
    this.text = text;
  }
}

/** What a dict's keys(), values() and items() give. */
export class View {
  readonly kind: 'keys' | 'values' | 'items';
  readonly dict: Dict;
  constructor(kind: View['kind'], dict: Dict) {
    this.kind = kind;
    this.dict = dict;
  }
  get items(): Value[] {
    if (this.kind === 'keys') return [...this.dict.keys()];
    if (this.kind === 'values') return [...this.dict.values()];
    return [...this.dict].map((entry) => new Tuple(entry));
  }
}

/** A generator of Python: true, without a length, and empty once it was read. */
export class Stream {
  private readonly items: readonly Value[];
  private read = 0;
  constructor(items: readonly Value[]) {
    this.items = items;
  }
  /** The next one; undefined where there is none. */
  next(): Value | undefined {
    return this.items[this.read++];
  }
  rest(): readonly Value[] {
    const { items, read } = this;
    this.read = items.length;
    return items.slice(read);
  }
}

/** A name or field that is not there: empty as a text and in a loop, an error in most other places. */
export class Undefined {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

export class Namespace {
  readonly fields = new Map<string, Value>();
}

export class Callable {
  readonly name: string;
  readonly call: (args: Arguments) => Value;
  constructor(name: string, call: Callable['call']) {
    this.name = name;
    this.call = call;
  }
}

/** `loop` within a for. */
export class Loop {
  readonly items: readonly Value[];
  index = 0;
  private changedTo: Tuple | undefined;
  constructor(items: readonly Value[]) {
    this.items = items;
  }
  field(name: string): Value {
    const { items, index } = this;
    const fields: Record<string, () => Value> = {
      index: () => BigInt(index + 1),
      index0: () => BigInt(index),
      revindex: () => BigInt(items.length - index),
      revindex0: () => BigInt(items.length - index - 1),
      first: () => index === 0,
      last: () => index === items.length - 1,
      length: () => BigInt(items.length),
      // Of recursive loops alone, which are refused.
      depth: () => 1n,
      depth0: () => 0n,
      previtem: () => items[index - 1] ?? new Undefined('there is no previous item'),
      nextitem: () => items[index + 1] ?? new Undefined('there is no next item'),
      cycle: () => new Callable('loop.cycle', ({ positional }) => this.cycle(positional)),
      changed: () => new Callable('loop.changed', ({ positional }) => this.changed(positional)),
    };
    if (!Object.hasOwn(fields, name)) throw new TemplateError(`loop.${name} is not computed here`);
    return fields[name]!();
  }
  private cycle(values: readonly Value[]): Value {
    if (values.length === 0) throw new TemplateError('loop.cycle has no values');
    return values[this.index % values.length]!;
  }
  private changed(values: readonly Value[]): boolean {
    const now = new Tuple(values);
    if (this.changedTo !== undefined && equal(this.changedTo, now)) return false;
    this.changedTo = now;
    return true;
  }
}

/** What a call hands over. */
export interface Arguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

/**
 * Arguments in the order of `names`, undefined where one is not given.
 * @param required so many of the first must be
 */
export function bound(
  what: string,
  { positional, named }: Arguments,
  names: readonly string[],
  required = 0,
): (Value | undefined)[] {
  const values: (Value | undefined)[] = [...positional];
  if (values.length > names.length)
    throw new TemplateError(`${what} with ${values.length} arguments is not computed here`);
  for (const [name, value] of named) {
    const at = names.indexOf(name);
    if (at < 0) throw new TemplateError(`${what} with the argument ${name} is not computed here`);
    if (values[at] !== undefined) throw new TemplateError(`${what} is given ${name} twice`);
    values[at] = value;
  }
  for (let i = 0; i < required; i++)
    if (values[i] === undefined) throw new TemplateError(`${what} is given no ${names[i]}`);
  return values;
}

export const isNumber = (value: Value): value is boolean | bigint | number =>
  typeof value === 'boolean' || typeof value === 'bigint' || typeof value === 'number';
export const isList = (value: Value): value is readonly Value[] => Array.isArray(value);
export const isDict = (value: Value): value is Dict => value instanceof Map;
const isSized = (value: Value): value is Tuple | Range | View =>
  value instanceof Tuple || value instanceof Range || value instanceof View;

/** Python's name of the type, for errors. */
export function typeName(value: Value): string {
  if (value === null) return 'None';
  if (typeof value === 'object')
    return isList(value) ? 'list' : isDict(value) ? 'dict' : value.constructor.name.toLowerCase();
  return { boolean: 'bool', bigint: 'int', number: 'float', string: 'str' }[typeof value as 'string'];
}

/** @throws TemplateError that says why nothing can be done with it */
export function defined(value: Value): Exclude<Value, Undefined> {
  if (value instanceof Undefined) throw new TemplateError(value.reason);
  return value;
}

export function text(what: string, value: Value): string {
  if (typeof value !== 'string') throw new TemplateError(`${what} is ${typeName(value)}, expected a text`);
  return value;
}

/** A whole number that an index or a width can be. */
export function whole(what: string, value: Value): number {
  if (typeof value === 'bigint' || typeof value === 'boolean') {
    const number = Number(value);
    if (Math.abs(number) <= 2 ** 31) return number;
  }
  throw new TemplateError(`${what} is ${isNumber(value) ? value : typeName(value)}, expected a whole number`);
}

export const codePoints = (value: string): string[] => Array.from(value);

export function truthy(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  if (typeof value !== 'object') return Boolean(value) || Number.isNaN(value);
  if (value instanceof Loop) return true;
  return length(value) !== 0;
}

/** Undefined where it has none. */
export function length(value: Value): number | undefined {
  if (typeof value === 'string') return codePoints(value).length;
  if (value instanceof Undefined) return 0;
  if (isList(value)) return value.length;
  if (isDict(value)) return value.size;
  if (value instanceof Loop || isSized(value)) return value.items.length;
  return undefined;
}

/** What a loop over `value` sees. A stream is empty afterwards. */
export function iterate(value: Value): readonly Value[] {
  if (typeof value === 'string') return codePoints(value);
  if (isList(value)) return value;
  if (isDict(value)) return [...value.keys()];
  if (isSized(value)) return value.items;
  if (value instanceof Stream) return value.rest();
  if (value instanceof Undefined) return [];
  throw new TemplateError(`${typeName(value)} is not iterable`);
}

/** As a key of a dict. */
export function keyOf(value: Value): Key {
  if (value === null || typeof value === 'string' || typeof value === 'bigint') return value;
  if (typeof value === 'boolean' || Number.isInteger(value)) return BigInt(value as number);
  if (typeof value === 'number') return value;
  throw new TemplateError(`${typeName(value)} as a key of a dict is not computed here`);
}

/** Python's ==. */
export function equal(a: Value, b: Value): boolean {
  // biome-ignore lint/suspicious/noDoubleEquals: of a bigint and a number, which may be equal
  if (isNumber(a) && isNumber(b)) return Number.isNaN(a) || Number.isNaN(b) ? false : a == b;
  if (a instanceof Undefined && b instanceof Undefined) return true;
  if (isList(a) && isList(b)) return equalItems(a, b);
  if (a instanceof Tuple && b instanceof Tuple) return equalItems(a.items, b.items);
  if (a instanceof Range && b instanceof Range) return equalItems(a.items, b.items);
  if (isDict(a) && isDict(b))
    return a.size === b.size && [...a].every(([key, value]) => b.has(key) && equal(value, b.get(key)!));
  if (a instanceof View && b instanceof View) throw new TemplateError('a comparison of views is not computed here');
  return a === b;
}

const equalItems = (a: readonly Value[], b: readonly Value[]): boolean =>
  a.length === b.length && a.every((value, i) => equal(value, b[i]!));

/** Below 0, 0 or above, as Python orders; NaN where neither is so. */
export function compare(a: Value, b: Value): number {
  if (isNumber(a) && isNumber(b)) return a < b ? -1 : a > b ? 1 : equal(a, b) ? 0 : Number.NaN;
  if (typeof a === 'string' && typeof b === 'string') return compareTexts(a, b);
  const [left, right] = [a, b].map((value) => (value instanceof Tuple ? value.items : value));
  if (isList(left!) && isList(right!) && isList(a) === isList(b)) {
    const at = left.findIndex((value, i) => i >= right.length || !equal(value, right[i]!));
    if (at < 0) return left.length - right.length;
    return at >= right.length ? 1 : compare(left[at]!, right[at]!);
  }
  throw new TemplateError(`${typeName(a)} and ${typeName(b)} have no order`);
}

/** By code points, where JavaScript orders by UTF-16 units. */
function compareTexts(a: string, b: string): number {
  const [left, right] = [codePoints(a), codePoints(b)];
  const at = left.findIndex((character, i) => character !== right[i]);
  if (at < 0) return left.length - right.length;
  return at >= right.length ? 1 : left[at]!.codePointAt(0)! - right[at]!.codePointAt(0)!;
}
