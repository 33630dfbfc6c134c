/** Typed reading of config.json: each field is checked where it is read, and an error names file, field, got and expected. */

import { readJsonFile } from '../platform/read-json-file.ts';
import { type OperatingError, usageError } from '../proto/operating-error.ts';

/** Bytes; the index of a large model has a few million. */
const MAX_CONFIG_BYTES = 64 * 2 ** 20;

/** One JSON object of a config file. A field that is null counts as missing, unless it is read with `nullable`. */
export class ConfigFields {
  readonly file: string;
  private readonly fields: Readonly<Record<string, unknown>>;
  /** Where the object lies in the file: `rope_scaling.`, or nothing at the top. */
  private readonly path: string;

  constructor(file: string, fields: Readonly<Record<string, unknown>>, path = '') {
    this.file = file;
    this.fields = fields;
    this.path = path;
  }

  names(): string[] {
    return Object.keys(this.fields);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.fields, name) && this.fields[name] !== null;
  }

  /** Whether the field is there and null: None, where transformers has another default. */
  isNull(name: string): boolean {
    return Object.hasOwn(this.fields, name) && this.fields[name] === null;
  }

  /** Whether Python takes the field for false: it is missing, null, false, 0, or holds nothing. */
  isEmpty(name: string): boolean {
    const value = Object.hasOwn(this.fields, name) ? this.fields[name] : undefined;
    return !value || (typeof value === 'object' && Object.keys(value).length === 0);
  }

  /** The object in `name` with the fields of `over`, which win; undefined where neither is there. */
  merged(name: string, over: ConfigFields | undefined): ConfigFields | undefined {
    const under = this.object(name);
    if (under === undefined || over === undefined) return under ?? over;
    return new ConfigFields(this.file, { ...under.fields, ...over.fields }, `${this.path}${name}.`);
  }

  /** An error about a field, in the one form that all have. */
  refuse(name: string, expected: string): OperatingError {
    const got = Object.hasOwn(this.fields, name) ? JSON.stringify(this.fields[name]).slice(0, 200) : 'missing';
    return usageError(`${this.file}: ${this.path}${name} is ${got}, expected ${expected}`);
  }

  /** A whole number from 1 to `limit`. */
  count(name: string, fallback?: number, limit = 2 ** 31 - 1): number {
    return this.read(name, fallback, `a whole number from 1 to ${limit}`, (value): value is number => {
      return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= limit;
    });
  }

  /** A whole number from 0. */
  whole(name: string, fallback?: number): number {
    return this.read(name, fallback, 'a whole number from 0', (value): value is number => {
      return Number.isSafeInteger(value) && (value as number) >= 0;
    });
  }

  positive(name: string, fallback?: number): number {
    return this.read(name, fallback, 'a number above 0', (value): value is number => {
      return typeof value === 'number' && Number.isFinite(value) && value > 0;
    });
  }

  flag(name: string, fallback: boolean): boolean {
    return this.read(name, fallback, 'true or false', (value): value is boolean => typeof value === 'boolean');
  }

  text(name: string, fallback?: string): string {
    return this.read(name, fallback, 'a text', (value): value is string => typeof value === 'string');
  }

  /** A list of at least `length` finite numbers; undefined where the field is missing. */
  numbers(name: string, length: number): readonly number[] | undefined {
    if (!this.has(name)) return undefined;
    return this.read(name, undefined, `a list of ${length} numbers`, (value): value is number[] => {
      return Array.isArray(value) && value.length >= length && value.every(Number.isFinite);
    });
  }

  texts(name: string, length: number): readonly string[] | undefined {
    if (!this.has(name)) return undefined;
    return this.read(name, undefined, `a list of ${length} texts`, (value): value is string[] => {
      return Array.isArray(value) && value.length >= length && value.every((entry) => typeof entry === 'string');
    });
  }

  /** A nested object; undefined where it is missing or null. */
  object(name: string): ConfigFields | undefined {
    if (!this.has(name)) return undefined;
    const value = this.fields[name];
    if (!isObject(value)) throw this.refuse(name, 'an object');
    return new ConfigFields(this.file, value, `${this.path}${name}.`);
  }

  /** The same object, read as if `name` were missing. */
  without(name: string): ConfigFields {
    const { [name]: _, ...rest } = this.fields;
    return new ConfigFields(this.file, rest, this.path);
  }

  /** `read` where the field is there; undefined where it is null; `fallback` where it is missing. */
  nullable<T>(name: string, fallback: T | undefined, read: (name: string) => T): T | undefined {
    if (this.isNull(name)) return undefined;
    return this.has(name) ? read(name) : fallback;
  }

  private read<T>(name: string, fallback: T | undefined, expected: string, is: (value: unknown) => value is T): T {
    if (!this.has(name)) {
      if (fallback === undefined) throw this.refuse(name, expected);
      return fallback;
    }
    const value = this.fields[name];
    if (!is(value)) throw this.refuse(name, expected);
    return value;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads a JSON object from `file`. @throws OperatingError (usage) that names the file */
export function readConfig(file: string): ConfigFields {
  const value = readJsonFile(file, MAX_CONFIG_BYTES);
  if (!isObject(value)) throw usageError(`${file}: holds no JSON object`);
  return new ConfigFields(file, value);
}
