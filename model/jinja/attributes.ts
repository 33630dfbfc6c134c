/** Fields, items and methods of values, as the sandbox of transformers finds them: a name first among the methods, or first among the items. */
import { sequenceOf, slice } from './operators.ts';
import { TEXT_METHODS } from './text-methods.ts';
import {
  type Arguments,
  bound,
  Callable,
  type Dict,
  defined,
  equal,
  isDict,
  isList,
  keyOf,
  Loop,
  Namespace,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
  whole,
} from './values.ts';

/** The attributes that Python's types have beside those with underscores. One that is not computed here is refused. */
const ATTRIBUTES = {
  str: 'capitalize casefold center count encode endswith expandtabs find format format_map index isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title translate upper zfill',
  dict: 'clear copy fromkeys get items keys pop popitem setdefault update values',
  list: 'append clear copy count extend index insert pop remove reverse sort',
  tuple: 'count index',
  range: 'count index start step stop',
  int: 'as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes',
  bool: 'as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes',
  float: 'as_integer_ratio conjugate fromhex hex imag is_integer real',
  view: 'isdisjoint mapping',
  stream: 'close gi_code gi_frame gi_running gi_suspended gi_yieldfrom send throw',
} as const;
const NAMES: Readonly<Record<string, ReadonlySet<string>>> = Object.fromEntries(
  Object.entries(ATTRIBUTES).map(([type, names]) => [type, new Set(names.split(' '))]),
);

/** `value.name` */
export function attribute(value: Value, name: string): Value {
  const own = ownAttribute(value, name);
  const found = own === undefined ? itemOf(value, name) : own;
  return found === undefined ? missing(value, name) : found;
}

/** `value[key]` */
export function item(value: Value, key: Value): Value {
  const own = itemOf(value, key);
  const found = own === undefined && typeof key === 'string' ? ownAttribute(value, key) : own;
  return found === undefined ? missing(value, key) : found;
}

/** `value[start:stop:step]`; null for a bound that is not written */
export function sliced(value: Value, bounds: readonly Value[]): Value {
  const cut = slice(defined(value), bounds);
  if (cut === undefined) throw new TemplateError(`${typeName(value)} has no slices`);
  return cut;
}

const missing = (value: Value, key: Value): Undefined =>
  new Undefined(
    value instanceof Namespace || isDict(value)
      ? `there is no ${typeof key === 'string' ? key : 'such key'}`
      : `${typeName(value)} has no ${typeof key === 'string' ? key : 'such item'}`,
  );

function itemOf(value: Value, key: Value): Value | undefined {
  defined(value);
  if (isDict(value)) {
    const isHashable = key === null || typeof key !== 'object';
    return isHashable ? value.get(keyOf(key)) : undefined;
  }
  const items = sequenceOf(value);
  if (items === undefined || (typeof key !== 'bigint' && typeof key !== 'boolean')) return undefined;
  return items.at(whole('an index', key));
}

function ownAttribute(value: Value, name: string): Value | undefined {
  defined(value);
  if (name.startsWith('__')) throw new TemplateError(`the field ${name} is not computed here`);
  if (value instanceof Namespace) return value.fields.get(name);
  if (value instanceof Loop) return value.field(name);
  if (value instanceof Callable) throw new TemplateError(`fields of functions are not computed here`);
  if (value === null || !NAMES[typeName(value)]?.has(name)) return undefined;
  const call = methodOf(value, name);
  if (call === undefined) throw new TemplateError(`${typeName(value)}.${name} is not computed here`);
  return new Callable(`${typeName(value)}.${name}`, call);
}

function methodOf(value: Value, name: string): Callable['call'] | undefined {
  const what = `${typeName(value)}.${name}`;
  if (typeof value === 'string') {
    const method = Object.hasOwn(TEXT_METHODS, name) ? TEXT_METHODS[name]! : undefined;
    return method && ((args) => method.call(value, bound(what, args, method.names, method.required)));
  }
  if (isDict(value)) return dictMethod(value, name);
  if (!isList(value) && !(value instanceof Tuple)) return undefined;
  const items = isList(value) ? value : value.items;
  if (name === 'count') return (args) => BigInt(items.filter((one) => equal(one, only(what, args))).length);
  if (name === 'index')
    return (args) => {
      const at = items.findIndex((one) => equal(one, only(what, args)));
      if (at < 0) throw new TemplateError('a list does not hold what is looked for');
      return BigInt(at);
    };
  if (name === 'copy') return () => value;
  return undefined;
}

const only = (what: string, args: Arguments): Value => bound(what, args, ['/value'], 1)[0]!;

function dictMethod(dict: Dict, name: string): Callable['call'] | undefined {
  const view = (kind: View['kind']) => (args: Arguments) => {
    bound(`dict.${name}`, args, []);
    return new View(kind, dict);
  };
  if (name === 'items' || name === 'keys' || name === 'values') return view(name);
  if (name === 'copy') return () => dict;
  if (name !== 'get') return undefined;
  return (args) => {
    const [key, other] = bound('dict.get', args, ['/key', '/default'], 1);
    const found = dict.get(keyOf(key!));
    return found === undefined ? (other ?? null) : found;
  };
}
