/** What a template writes. */
import { argumentsOf, call, evaluate, filtered, Scope } from './evaluate.ts';
import { atLine } from './lexer.ts';
import { type Names, NO_NAMES, namesOf } from './names.ts';
import { bounded } from './operators.ts';
import type { Block, Expression, Routine, Statement, Target } from './syntax.ts';
import { str } from './text.ts';
import {
  type Arguments,
  Callable,
  iterate,
  Loop,
  Namespace,
  TemplateError,
  Tuple,
  truthy,
  typeName,
  Undefined,
  type Value,
} from './values.ts';

/** Where text goes: the output of the template, or what a macro, a call, a filter or a set takes up. */
export interface Output {
  text: string;
  /** Of the output of the template alone: the parts that generation tags enclose, as [start, end) in UTF-16 units. */
  readonly generated?: [number, number][];
}

interface Surroundings {
  readonly scope: Scope;
  readonly out: Output;
  /** How many loops are around. */
  readonly depth: number;
}

/** How a block ended. */
type End = 'break' | 'continue' | undefined;

/** Writes to `out`. @throws TemplateError with the line where it was */
export function render(block: Block, around: Surroundings): End {
  for (const statement of block) {
    try {
      const end = execute(statement, around);
      if (end !== undefined) return end;
    } catch (error) {
      throw error instanceof TemplateError ? atLine(error, statement.line) : error;
    }
  }
  return undefined;
}

function execute(statement: Statement, around: Surroundings): End {
  const { scope, out } = around;
  switch (statement.kind) {
    case 'text':
      write(out, statement.text);
      return;
    case 'output':
      write(out, str(evaluate(statement.value, scope)));
      return;
    case 'if':
      return render(truthy(evaluate(statement.test, scope)) ? statement.yes : statement.no, around);
    case 'for':
      loop(statement, around);
      return;
    case 'set':
      assign(statement.target, evaluate(statement.value, scope), scope);
      return;
    case 'setBlock':
      assign(statement.target, filteredText(statement, around), scope);
      return;
    case 'filterBlock':
      write(out, str(filteredText(statement, around)));
      return;
    case 'with': {
      const within = new Scope(scope, namesOf(statement.body));
      const values = statement.values.map(([, value]) => evaluate(value, scope));
      for (const [i, [target]] of statement.values.entries()) assign(target, values[i]!, within);
      return render(statement.body, { ...around, scope: within });
    }
    case 'macro':
      scope.set(statement.routine.name, routine(statement.routine, scope));
      return;
    case 'callBlock':
      write(out, str(callWith(statement.call, routine(statement.caller, scope), scope)));
      return;
    case 'generation':
      generation(statement.body, around);
      return;
    case 'break':
    case 'continue':
      if (around.depth === 0) throw new TemplateError(`{% ${statement.kind} %} is in no loop`);
      return statement.kind;
  }
}

function write(out: Output, text: string): void {
  out.text = bounded(out.text + text);
}

/** @param within the frame of `body` */
function textOf(body: Block, within: Scope): string {
  const out = { text: '' };
  render(body, { scope: within, out, depth: 0 });
  return out.text;
}

function filteredText(
  { body, filters }: Extract<Statement, { kind: 'setBlock' | 'filterBlock' }>,
  { scope }: Surroundings,
): Value {
  const within = new Scope(scope, namesOf(body));
  return filters.reduce<Value>((value, filter) => filtered(value, filter, within), textOf(body, within));
}

/** transformers counts the text before a part from the template's own output alone. */
function generation(body: Block, { scope, out }: Surroundings): void {
  if (out.generated === undefined)
    throw new TemplateError('{% generation %} within a macro, a call, a filter, a set or itself is not computed here');
  const start = out.text.length;
  write(out, textOf(body, new Scope(scope, namesOf(body))));
  out.generated.push([start, out.text.length]);
}

function loop(statement: Extract<Statement, { kind: 'for' }>, { scope, out, depth }: Surroundings): void {
  const { target, over, test, body, otherwise } = statement;
  const scopeOf = (item: Value, names: Names): Scope => {
    const within = new Scope(scope, names);
    assign(target, item, within);
    return within;
  };
  const all = iterate(evaluate(over, scope));
  const items = test === undefined ? all : all.filter((item) => truthy(evaluate(test, scopeOf(item, NO_NAMES))));
  const state = new Loop(items);
  let isWhole = false;
  for (const [i, item] of items.entries()) {
    state.index = i;
    const within = scopeOf(item, namesOf(body));
    within.set('loop', state);
    const end = render(body, { scope: within, out, depth: depth + 1 });
    if (end === 'break') break;
    // As Jinja has it: who breaks off or goes on in every pass gets the else as well.
    if (end === undefined) isWhole = true;
  }
  if (!isWhole) render(otherwise, { scope: new Scope(scope, namesOf(otherwise)), out, depth });
}

function assign(target: Target, value: Value, scope: Scope): void {
  if (target.kind === 'name') scope.set(target.name, value);
  else if (target.kind === 'field') {
    const holder = scope.get(target.of);
    if (!(holder instanceof Namespace))
      throw new TemplateError(`${target.of} is ${typeName(holder)}, expected a namespace`);
    if (target.name.startsWith('_')) throw new TemplateError(`a namespace has no field ${target.name}`);
    holder.fields.set(target.name, value);
  } else {
    const values = iterate(value);
    if (values.length !== target.targets.length)
      throw new TemplateError(`${values.length} values for ${target.targets.length} names`);
    for (const [i, one] of target.targets.entries()) assign(one, values[i]!, scope);
  }
}

function callWith(node: Extract<Expression, { kind: 'call' }>, caller: Callable, scope: Scope): Value {
  const { positional, named } = argumentsOf(node.args, scope);
  return call(evaluate(node.callee, scope), { positional, named: new Map([...named, ['caller', caller]]) });
}

/** A macro as a function: it sees the names around its definition, not those around its call. */
function routine(definition: Routine, scope: Scope): Callable {
  const { name, parameters, body } = definition;
  return new Callable(name, ({ positional, named }) => {
    const within = new Scope(scope, namesOf(body, parameters));
    const left = new Map(named);
    const absent = parameters.filter(({ name }, i) => {
      if (i < positional.length && left.has(name)) throw new TemplateError(`${definition.name} is given ${name} twice`);
      const given = i < positional.length ? positional[i] : left.get(name);
      left.delete(name);
      within.set(name, given === undefined ? new Undefined(`${definition.name} is given no ${name}`) : given);
      return given === undefined;
    });
    bindRest(definition, within, { positional: positional.slice(parameters.length), named: left });
    // A default sees all that is given, and the defaults before it.
    for (const { name, otherwise } of absent)
      if (otherwise !== undefined) within.set(name, evaluate(otherwise, within));
    return textOf(body, within);
  });
}

/** What a macro is given beyond its parameters: an error, unless its body reads it. */
function bindRest({ name, reads }: Routine, scope: Scope, { positional, named }: Arguments): void {
  const left = new Map(named);
  if (reads.has('caller')) {
    scope.set('caller', left.get('caller') ?? new Undefined('there is no caller'));
    left.delete('caller');
  }
  if (reads.has('kwargs')) scope.set('kwargs', left);
  else for (const other of left.keys()) throw new TemplateError(`${name} is given ${other}, which it does not take`);
  if (reads.has('varargs')) scope.set('varargs', new Tuple(positional));
  else if (positional.length > 0) throw new TemplateError(`${name} is given ${positional.length} arguments too many`);
}
