/** Jinja's filters, and transformers' own tojson. */
import { item } from './attributes.ts';
import { negated, operate } from './operators.ts';
import { test } from './tests.ts';
import { json, str } from './text.ts';
import { capitalize, floatOf, intOf, replace, SPACE, splitLines, strip } from './text-methods.ts';
import {
  type Arguments,
  bound,
  codePoints,
  compare,
  defined,
  equal,
  isDict,
  isNumber,
  iterate,
  length,
  Stream,
  TemplateError,
  type Tuple,
  text as textOf,
  truthy,
  typeName,
  Undefined,
  type Value,
  View,
  whole,
} from './values.ts';

type Filter = (value: Value, args: Arguments) => Value;

/** A filter with the names of its arguments, `required` of which must be there. */
const filter =
  (
    name: string,
    names: readonly string[],
    run: (value: Value, args: readonly (Value | undefined)[]) => Value,
    required = 0,
  ): Filter =>
  (value, args) =>
    run(value, bound(`the filter ${name}`, args, names, required));

const WORD_BEGINNING = new RegExp(`([-${SPACE}({[<]+)`);

const isSet = (value: Value | undefined): boolean => value !== undefined && truthy(value);

/** What the argument `attribute` picks of an item: fields and indices, with points between. */
function picker(path: Value | undefined, otherwise?: Value): (value: Value) => Value {
  if (path === undefined || path === null) return (value) => value;
  const parts =
    typeof path === 'string' ? path.split('.').map((part) => (/^\d+$/.test(part) ? BigInt(part) : part)) : [path];
  return (value) => {
    const found = parts.reduce((holder, part) => item(holder, part), value);
    return found instanceof Undefined && otherwise !== undefined ? otherwise : found;
  };
}

/** What texts are compared as. */
const folded =
  (caseSensitive: Value | undefined) =>
  (value: Value): Value =>
    typeof value === 'string' && !isSet(caseSensitive) ? value.toLowerCase() : value;

function sorted(values: readonly Value[], by: (value: Value) => Value, reverse: Value | undefined): Value[] {
  const keys = values.map((value) => ({ value, key: by(value) }));
  const sign = isSet(reverse) ? -1 : 1;
  return keys.sort((a, b) => sign * ordered(a.key, b.key)).map(({ value }) => value);
}

function ordered(a: Value, b: Value): number {
  const order = compare(defined(a), defined(b));
  if (Number.isNaN(order)) throw new TemplateError('the order of nan is not computed here');
  return order;
}

function extreme(values: Value, by: (value: Value) => Value, sign: number): Value {
  const items = iterate(values);
  if (items.length === 0) return new Undefined('there is no item, so no extreme');
  return items.reduce((best, value) => (sign * ordered(by(value), by(best)) > 0 ? value : best));
}

function unique(values: Value, by: (value: Value) => Value): Stream {
  const seen: Value[] = [];
  return new Stream(
    iterate(values).filter((value) => {
      const key = by(value);
      if (seen.some((other) => equal(other, key))) return false;
      seen.push(key);
      return true;
    }),
  );
}

/** select, reject, and the two that look at an attribute. */
const selection =
  (name: string, wanted: boolean, byAttribute: boolean): Filter =>
  (value, { positional, named }) => {
    if (named.size > 0) throw new TemplateError(`the filter ${name} with named arguments is not computed here`);
    const [path, rest] = byAttribute ? [positional[0], positional.slice(1)] : [undefined, positional];
    if (byAttribute && path === undefined) throw new TemplateError(`the filter ${name} is given no attribute`);
    const pick = picker(path);
    const [by, ...args] = rest;
    const holds = (one: Value): boolean =>
      by === undefined ? truthy(pick(one)) : test(textOf('a test', by), pick(one), args);
    return new Stream(iterate(value).filter((one) => holds(one) === wanted));
  };

function map(value: Value, { positional, named }: Arguments): Stream {
  const [name, ...rest] = positional;
  if (name === undefined) {
    const [path, otherwise] = bound('the filter map', { positional, named }, ['attribute', 'default'], 1);
    return new Stream(iterate(value).map(picker(path, otherwise)));
  }
  const by = textOf('a filter', name);
  return new Stream(iterate(value).map((one) => applyFilter(by, one, { positional: rest, named })));
}

function tojson(value: Value, [ensureAscii, indent, separators, sortKeys]: readonly (Value | undefined)[]): string {
  const isPretty = indent !== undefined && indent !== null;
  const [item, colon] =
    separators === undefined || separators === null ? [isPretty ? ',' : ', ', ': '] : iterate(separators);
  return json(value, {
    ensureAscii: isSet(ensureAscii),
    indent: !isPretty
      ? undefined
      : typeof indent === 'string'
        ? indent
        : ' '.repeat(Math.max(0, whole('indent', indent))),
    separators: [textOf('a separator', item!), textOf('a separator', colon!)],
    sortKeys: (keys) => (isSet(sortKeys) ? keys.sort(ordered) : keys),
  });
}

function indented(value: Value, [width = 4n, first, blank]: readonly (Value | undefined)[]): string {
  const indent = typeof width === 'string' ? width : ' '.repeat(Math.max(0, whole('width', width)));
  const lines = splitLines(`${textOf('what is indented', value)}\n`);
  const shown = lines.map((line, i) => (i === 0 || (line === '' && !isSet(blank)) ? line : indent + line)).join('\n');
  return isSet(first) ? indent + shown : shown;
}

function toInt(value: Value, [otherwise = 0n, base = 10n]: readonly (Value | undefined)[]): Value {
  if (base !== 10n) throw new TemplateError('the filter int with a base is not computed here');
  if (typeof value === 'bigint' || typeof value === 'boolean') return BigInt(value);
  const exact = typeof defined(value) === 'string' ? intOf(str(value)) : undefined;
  if (exact !== undefined) return exact;
  const number = floatOf(value);
  return number !== undefined && Number.isFinite(number) ? BigInt(Math.trunc(number)) : otherwise;
}

function rounded(value: Value, [precision = 0n, method = 'common']: readonly (Value | undefined)[]): Value {
  if (precision !== 0n) throw new TemplateError('the filter round with a precision is not computed here');
  if (typeof value === 'boolean' || !isNumber(value)) throw new TemplateError(`${typeName(value)} cannot be rounded`);
  if (method === 'ceil') return Math.ceil(Number(value));
  if (method === 'floor') return Math.floor(Number(value));
  if (method !== 'common') throw new TemplateError(`the filter round is given ${str(method)}`);
  if (typeof value === 'bigint') return value;
  // A half goes to the even neighbour.
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + Math.abs(floor % 2) : Math.round(value);
}

function titled(value: Value): string {
  return str(value)
    .split(WORD_BEGINNING)
    .map((part) => {
      const [first = '', ...rest] = codePoints(part);
      return first.toUpperCase() + rest.join('').toLowerCase();
    })
    .join('');
}

function lengthOf(value: Value): bigint {
  const found = length(value);
  if (found === undefined) throw new TemplateError(`${typeName(value)} has no length`);
  return BigInt(found);
}

function reversed(value: Value): Value {
  if (typeof value === 'string') return codePoints(value).reverse().join('');
  return new Stream([...iterate(value)].reverse());
}

function last(value: Value): Value {
  if (value instanceof Stream) throw new TemplateError('a stream has no last item');
  const found = iterate(value).at(-1);
  return found === undefined ? new Undefined('there is no last item') : found;
}

function first(value: Value): Value {
  const found = value instanceof Stream ? value.next() : iterate(value)[0];
  return found === undefined ? new Undefined('there is no first item') : found;
}

function items(value: Value): Stream {
  if (value instanceof Undefined) return new Stream([]);
  if (!isDict(value)) throw new TemplateError(`${typeName(value)} has no items`);
  return new Stream(new View('items', value).items);
}

function dictSorted(value: Value, [caseSensitive, by = 'key', reverse]: readonly (Value | undefined)[]): Value[] {
  if (!isDict(value)) throw new TemplateError(`${typeName(value)} has no items`);
  if (by !== 'key' && by !== 'value') throw new TemplateError(`dictsort by ${str(by)}`);
  const key = (entry: Value): Value => folded(caseSensitive)((entry as Tuple).items[by === 'key' ? 0 : 1]!);
  return sorted(new View('items', value).items, key, reverse);
}

function absolute(value: Value): Value {
  if (!isNumber(value)) throw new TemplateError(`${typeName(value)} has no absolute value`);
  const number = typeof value === 'boolean' ? BigInt(value) : value;
  return number < 0 ? negated(number) : number === 0 ? 0 : number;
}

const escaped: Filter = () => {
  throw new TemplateError('escaped text is not computed here');
};
const count = filter('length', [], lengthOf);
const fallback = filter('default', ['default_value', 'boolean'], (value, [otherwise = '', boolean]) =>
  value instanceof Undefined || (isSet(boolean) && !truthy(value)) ? otherwise : value,
);

const FILTERS: Readonly<Record<string, Filter>> = {
  ...{ count, length: count, d: fallback, default: fallback, e: escaped, escape: escaped, safe: escaped, map },
  abs: filter('abs', [], absolute),
  capitalize: filter('capitalize', [], (value) => capitalize(str(value))),
  dictsort: filter('dictsort', ['case_sensitive', 'by', 'reverse'], dictSorted),
  first: filter('first', [], first),
  float: filter('float', ['default'], (value, [otherwise = 0]) => floatOf(defined(value)) ?? otherwise),
  indent: filter('indent', ['width', 'first', 'blank'], indented),
  int: filter('int', ['default', 'base'], toInt),
  items: filter('items', [], items),
  join: filter('join', ['d', 'attribute'], (value, [separator = '', path]) =>
    iterate(value).map(picker(path)).map(str).join(str(separator)),
  ),
  last: filter('last', [], last),
  list: filter('list', [], (value) => [...iterate(value)]),
  lower: filter('lower', [], (value) => str(value).toLowerCase()),
  max: filter('max', ['case_sensitive', 'attribute'], (value, [exact, path]) =>
    extreme(value, (one) => folded(exact)(picker(path)(one)), 1),
  ),
  min: filter('min', ['case_sensitive', 'attribute'], (value, [exact, path]) =>
    extreme(value, (one) => folded(exact)(picker(path)(one)), -1),
  ),
  reject: selection('reject', false, false),
  rejectattr: selection('rejectattr', false, true),
  replace: filter(
    'replace',
    ['old', 'new', 'count'],
    (value, [old, by, times]) => {
      const most = times === undefined || times === null ? -1 : whole('count', times);
      return replace(str(value), str(old!), str(by!), most);
    },
    2,
  ),
  reverse: filter('reverse', [], reversed),
  round: filter('round', ['precision', 'method'], rounded),
  select: selection('select', true, false),
  selectattr: selection('selectattr', true, true),
  sort: filter('sort', ['reverse', 'case_sensitive', 'attribute'], (value, [reverse, exact, path]) => {
    if (typeof path === 'string' && path.includes(','))
      throw new TemplateError('a sort by several attributes is not computed here');
    return sorted(iterate(value), (one) => folded(exact)(picker(path)(one)), reverse);
  }),
  string: filter('string', [], str),
  sum: filter('sum', ['attribute', 'start'], (value, [path, start = 0n]) =>
    iterate(value)
      .map(picker(path))
      .reduce((sum, one) => operate('+', sum, one), start),
  ),
  title: filter('title', [], titled),
  tojson: filter('tojson', ['ensure_ascii', 'indent', 'separators', 'sort_keys'], tojson),
  trim: filter('trim', ['chars'], (value, [characters]) => strip(str(value), characters)),
  unique: filter('unique', ['case_sensitive', 'attribute'], (value, [exact, path]) =>
    unique(value, (one) => folded(exact)(picker(path)(one))),
  ),
  upper: filter('upper', [], (value) => str(value).toUpperCase()),
};

/** @throws TemplateError that names a filter that is not computed here */
export function applyFilter(name: string, value: Value, args: Arguments): Value {
  if (!Object.hasOwn(FILTERS, name)) throw new TemplateError(`the filter ${name} is not computed here`);
  return FILTERS[name]!(value, args);
}
