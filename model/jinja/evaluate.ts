/** The value of an expression. */
import { attribute, item, sliced } from './attributes.ts';
import { applyFilter } from './filters.ts';
import type { Names } from './names.ts';
import { compared, negated, operate } from './operators.ts';
import type { AppliedFilter, CallArguments, Expression } from './syntax.ts';
import { test } from './tests.ts';
import {
  type Arguments,
  Callable,
  defined,
  isDict,
  isNumber,
  iterate,
  type Key,
  keyOf,
  Loop,
  TemplateError,
  Tuple,
  text,
  truthy,
  typeName,
  Undefined,
  type Value,
} from './values.ts';

/** Names of Jinja's that are no variable of a chat and are not computed here. */
const REFUSED = new Set(['self', 'lipsum', 'cycler', 'joiner']);

/** Names with their values, of a frame or of what the template is given; a name that is not here is looked for around. */
export class Scope {
  private readonly around: Scope | undefined;
  private readonly names: Names;
  private readonly values = new Map<string, Value>();

  /** @param around undefined for what the template is given */
  constructor(around: Scope | undefined, names: Names) {
    this.around = around;
    this.names = names;
  }

  set(name: string, value: Value): void {
    this.values.set(name, value);
  }

  get(name: string): Value {
    const value = this.values.get(name);
    if (value !== undefined) return value;
    if (this.around !== undefined && (!this.names.unset.has(name) || this.around.knows(name)))
      return this.around.get(name);
    if (this.around === undefined && REFUSED.has(name)) throw new TemplateError(`${name} is not computed here`);
    return new Undefined(`${name} is undefined`);
  }

  /** Whether this frame or one around it has the name, with a value or not yet. What the template is given does not count. */
  private knows(name: string): boolean {
    if (this.around === undefined) return false;
    return this.values.has(name) || this.names.known.has(name) || this.around.knows(name);
  }
}

/** @throws TemplateError where Python does, or does what is not computed here */
export function evaluate(node: Expression, scope: Scope): Value {
  const inner = (part: Expression): Value => evaluate(part, scope);
  switch (node.kind) {
    case 'constant':
      return node.value;
    case 'name':
      return scope.get(node.name);
    case 'list':
      return node.items.map(inner);
    case 'tuple':
      return new Tuple(node.items.map(inner));
    case 'dict':
      return new Map(node.entries.map(([key, value]) => [literalKey(inner(key)), inner(value)]));
    case 'attribute':
      return attribute(inner(node.of), node.name);
    case 'item':
      return item(inner(node.of), inner(node.key));
    case 'slice':
      return sliced(
        inner(node.of),
        node.bounds.map((bound) => (bound === null ? null : defined(inner(bound)))),
      );
    case 'call':
      return call(inner(node.callee), argumentsOf(node.args, scope));
    case 'filter':
      return filtered(inner(node.of), node, scope);
    case 'test':
      return tested(node, scope);
    case 'not':
      return !truthy(inner(node.of));
    case 'negative':
      return negated(inner(node.of));
    case 'positive':
      return negated(negated(inner(node.of)));
    case 'and': {
      const left = inner(node.left);
      return truthy(left) ? inner(node.right) : left;
    }
    case 'or': {
      const left = inner(node.left);
      return truthy(left) ? left : inner(node.right);
    }
    case 'operation':
      return operate(node.operator, inner(node.left), inner(node.right));
    case 'comparison':
      return comparison(node, scope);
    case 'condition':
      if (truthy(inner(node.test))) return inner(node.yes);
      return node.no === undefined ? new Undefined('a condition does not hold and has no else') : inner(node.no);
  }
}

/** Python writes true, 1 and 1.0 as they first came, though they are one key. */
function literalKey(value: Value): Key {
  if (isNumber(value) && typeof value !== 'bigint')
    throw new TemplateError(`${typeName(value)} as a key is not computed here`);
  return keyOf(value);
}

export const filtered = (value: Value, { name, args }: AppliedFilter, scope: Scope): Value =>
  applyFilter(name, value, argumentsOf(args, scope));

function tested({ of, name, args }: Extract<Expression, { kind: 'test' }>, scope: Scope): boolean {
  const value = evaluate(of, scope);
  const { positional, named } = argumentsOf(args, scope);
  if (named.size > 0) throw new TemplateError(`the test ${name} with named arguments is not computed here`);
  return test(name, value, positional);
}

function comparison({ first, rest }: Extract<Expression, { kind: 'comparison' }>, scope: Scope): boolean {
  let left = evaluate(first, scope);
  for (const [operator, right] of rest) {
    const value = evaluate(right, scope);
    if (!compared(operator, left, value)) return false;
    left = value;
  }
  return true;
}

export function argumentsOf({ positional, named, spread, namedSpread }: CallArguments, scope: Scope): Arguments {
  const values = positional.map((argument) => evaluate(argument, scope));
  if (spread !== undefined) values.push(...iterate(evaluate(spread, scope)));
  const byName = new Map(named.map(([name, argument]) => [name, evaluate(argument, scope)]));
  if (namedSpread !== undefined) {
    const more = evaluate(namedSpread, scope);
    if (!isDict(more)) throw new TemplateError(`** of ${typeName(more)} is not possible`);
    for (const [key, value] of more) {
      const name = text('the name of an argument', key);
      if (byName.has(name)) throw new TemplateError(`the argument ${name} is given twice`);
      byName.set(name, value);
    }
  }
  return { positional: values, named: byName };
}

export function call(callee: Value, args: Arguments): Value {
  const callable = defined(callee);
  if (callable instanceof Loop) throw new TemplateError('a recursive loop is not computed here');
  if (!(callable instanceof Callable)) throw new TemplateError(`${typeName(callable)} cannot be called`);
  return callable.call(args);
}
