/**
 * JSON as Python reads it, where JavaScript loses what a template could write: that 1.0 is no int, digits of large ints, and the place of
 * keys that look like array indices. Such parts are marked in the parsed value, which stays plain JSON (it goes from process to process),
 * and `fromJson` makes Python's values of them.
 */
import type { Value } from './values.ts';

/** Noncharacters: the only key of an object that stands for a number, and what a key begins with that looks like an index. */
const [NUMBER, KEY] = ['\ufdd0', '\ufdd1'];

/**
 * A quote, with the key behind it where it looks like an index; what is escaped; or a number, or digits of a text. Never a text in whole:
 * one of millions of characters is more than the engine's stack holds.
 */
const TOKEN = /"((?:\d|\\u003\d){1,10}"\s*:)?|\\.|-?\d[\d.eE+-]*/gs;

/** @throws SyntaxError */
export function parseExact(text: string): unknown {
  const parsed = JSON.parse(text);
  let isWithin = false;
  const marked = text.replace(TOKEN, (token: string, key: string | undefined): string => {
    if (key !== undefined) return `"${KEY}${key}`;
    if (token === '"') isWithin = !isWithin;
    return isWithin || token === '"' || isExact(token) ? token : JSON.stringify({ [NUMBER]: token });
  });
  return marked === text ? parsed : JSON.parse(marked);
}

/** Whether JavaScript's number says what Python's does. */
const isExact = (token: string): boolean => {
  const number = Number(token);
  return /^-?\d+$/.test(token) ? Number.isSafeInteger(number) && token !== '-0' : !Number.isInteger(number);
};

/** A JSON value as templates have it. */
export function fromJson(value: unknown): Value {
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value !== 'object' || value === null) return value as Value;
  const entries = Object.entries(value);
  if (entries.length === 1 && entries[0]![0] === NUMBER) return numberOf(String(entries[0]![1]));
  return new Map(entries.map(([key, field]) => [key.startsWith(KEY!) ? key.slice(1) : key, fromJson(field)]));
}

const numberOf = (text: string): bigint | number => (/^-?\d+$/.test(text) ? BigInt(text) : Number(text));
