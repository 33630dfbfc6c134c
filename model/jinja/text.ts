/** Values as text: Python's str, repr and json.dumps. */
import {
  Callable,
  type Dict,
  isDict,
  isList,
  type Key,
  type Loop,
  type Namespace,
  Range,
  type Stream,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.ts';

/** Python's str(). @throws TemplateError of what Python writes as an address in memory */
export function str(value: Value): string {
  if (typeof value === 'string') return value;
  return value instanceof Undefined ? '' : repr(value);
}

function repr(value: Value): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return floatText(value);
  if (typeof value === 'string') return textRepr(value);
  if (value instanceof Undefined) return 'Undefined';
  if (isList(value)) return `[${value.map(repr).join(', ')}]`;
  if (isDict(value)) return `{${[...value].map(([key, item]) => `${repr(key)}: ${repr(item)}`).join(', ')}}`;
  if (value instanceof Tuple) return `(${value.items.map(repr).join(', ')}${value.items.length === 1 ? ',' : ''})`;
  if (value instanceof View) return `dict_${value.kind}([${value.items.map(repr).join(', ')}])`;
  if (value instanceof Range) return value.text;
  throw new TemplateError(`the text of ${nameOf(value)} is not computed here`);
}

const nameOf = (value: Stream | Namespace | Callable | Loop): string =>
  value instanceof Callable ? `the function ${value.name}` : `a ${typeName(value)}`;

/** The shortest digits that give the number back; an exponent from 1e16 and below 1e-4. */
function floatText(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
  if (Object.is(value, -0)) return '-0.0';
  const [digits, exponent] = value.toExponential().split('e') as [string, string];
  const power = Number(exponent);
  if (value !== 0 && (power < -4 || power >= 16))
    return `${digits}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

const NAMED: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function textRepr(value: string): string {
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  const inner = value.replace(/[^ \P{C}]|[^ \P{Z}]|[\\'"]/gu, (character) => {
    if (character === quote) return `\\${quote}`;
    if (character === "'" || character === '"') return character;
    const code = character.codePointAt(0)!;
    const hex = (length: number): string => code.toString(16).padStart(length, '0');
    return NAMED[character] ?? (code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`);
  });
  return `${quote}${inner}${quote}`;
}

export interface JsonOptions {
  readonly ensureAscii: boolean;
  /** Undefined for one line. */
  readonly indent: string | undefined;
  readonly separators: readonly [item: string, key: string];
  readonly sortKeys: (keys: Key[]) => Key[];
}

/** Python's json.dumps(). @throws TemplateError of what it does not write */
export function json(value: Value, options: JsonOptions, depth = 0): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return jsonFloat(value);
  if (typeof value === 'string') return jsonText(value, options.ensureAscii);
  const [item, colon] = options.separators;
  const { indent } = options;
  const list = (open: string, entries: readonly string[], close: string): string => {
    if (entries.length === 0) return open + close;
    if (indent === undefined) return open + entries.join(item) + close;
    const line = `\n${indent.repeat(depth + 1)}`;
    return `${open}${line}${entries.join(item + line)}\n${indent.repeat(depth)}${close}`;
  };
  const inner = (part: Value): string => json(part, options, depth + 1);
  if (isDict(value)) {
    const entry = (key: Key): string =>
      jsonText(keyText(key), options.ensureAscii) + colon + inner((value as Dict).get(key)!);
    return list('{', options.sortKeys([...value.keys()]).map(entry), '}');
  }
  if (isList(value) || value instanceof Tuple) return list('[', (isList(value) ? value : value.items).map(inner), ']');
  throw new TemplateError(`${typeName(value)} is not JSON`);
}

const jsonFloat = (value: number): string =>
  Number.isFinite(value) ? floatText(value) : Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';

const keyText = (key: Key): string => (key === null ? 'null' : typeof key === 'number' ? jsonFloat(key) : String(key));

function jsonText(value: string, ensureAscii: boolean): string {
  const quoted = JSON.stringify(value);
  if (!ensureAscii) return quoted;
  return quoted.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
