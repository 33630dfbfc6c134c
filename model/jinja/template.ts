/**
 * Jinja templates as transformers runs them, in Python's arithmetic of texts and values: what transformers writes is written, what is not
 * computed here is refused by name. The room jinja/ knows nothing of chats.
 */
import { Scope } from './evaluate.ts';
import { NO_NAMES, namesOf } from './names.ts';
import { parseTemplate } from './parse-template.ts';
import { type Output, render } from './render.ts';
import { strftime } from './strftime.ts';
import type { Block } from './syntax.ts';
import { str } from './text.ts';
import {
  type Arguments,
  bound,
  Callable,
  type Dict,
  defined,
  isDict,
  iterate,
  type Key,
  keyOf,
  Namespace,
  Range,
  TemplateError,
  text,
  type Value,
  whole,
} from './values.ts';

/** A template that was parsed. */
export class Template {
  private readonly body: Block;

  /** @throws TemplateError */
  constructor(source: string) {
    this.body = parseTemplate(source);
  }

  /**
   * @param variables what the template reads by name
   * @param now the clock of strftime_now
   * @returns the text, and what `{% generation %}` encloses of it
   * @throws TemplateError
   */
  render(variables: Readonly<Record<string, Value>>, now: () => Date): Required<Output> {
    const given = new Scope(undefined, NO_NAMES);
    for (const [name, value] of Object.entries({ ...globals(now), ...variables })) given.set(name, value);
    const out = { text: '', generated: [] };
    render(this.body, { scope: new Scope(given, namesOf(this.body)), out, depth: 0 });
    return out;
  }
}

function globals(now: () => Date): Record<string, Value> {
  const functions = {
    range,
    dict,
    namespace,
    raise_exception: (args: Arguments): Value => {
      throw new TemplateError(str(bound('raise_exception', args, ['message'], 1)[0]!));
    },
    strftime_now: (args: Arguments): Value =>
      strftime(now(), text('a format', bound('strftime_now', args, ['format'], 1)[0]!)),
  };
  return Object.fromEntries(Object.entries(functions).map(([name, call]) => [name, new Callable(name, call)]));
}

/** Items that the sandbox lets a range have. */
const MAX_RANGE = 100_000;

function range(args: Arguments): Range {
  const given = bound('range', args, ['/start', '/stop', '/step'], 1);
  const numbers = given.filter((value) => value !== undefined).map((value) => whole('a bound of a range', value));
  const [start, stop, step = 1] = numbers.length === 1 ? [0, ...numbers] : numbers;
  if (step === 0) throw new TemplateError('the step of a range is 0');
  const length = Math.max(0, Math.ceil((stop! - start!) / step));
  if (length > MAX_RANGE) throw new TemplateError(`a range of ${length} items, expected at most ${MAX_RANGE}`);
  const items = Array.from({ length }, (_, i) => BigInt(start! + i * step));
  return new Range(items, `range(${start}, ${stop}${step === 1 ? '' : `, ${step}`})`);
}

function dict({ positional, named }: Arguments): Dict {
  if (positional.length > 1) throw new TemplateError(`dict is given ${positional.length} arguments`);
  const first = positional[0] === undefined ? new Map<Key, Value>() : defined(positional[0]);
  const entries = isDict(first) ? [...first] : iterate(first).map(pair);
  return new Map([...entries, ...named]);
}

function pair(value: Value): [Key, Value] {
  const [key, item, ...more] = iterate(value);
  if (key === undefined || item === undefined || more.length > 0)
    throw new TemplateError('dict is given what are no pairs');
  return [keyOf(key), item];
}

function namespace(args: Arguments): Namespace {
  const made = new Namespace();
  for (const [name, value] of dict(args)) {
    const field = text('the name of a field', name);
    if (field.startsWith('_')) throw new TemplateError(`a namespace has no field ${field}`);
    made.fields.set(field, value);
  }
  return made;
}
