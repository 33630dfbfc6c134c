/** Expressions, by the rules and the precedence of Jinja's parser. */
import type { Comparison, Operator } from './operators.ts';
import type { AppliedFilter, CallArguments, Expression, Target } from './syntax.ts';
import type { Tokens } from './tokens.ts';
import type { Value } from './values.ts';

const NO_ARGUMENTS: CallArguments = { positional: [], named: [], spread: undefined, namedSpread: undefined };
const CONSTANTS: Readonly<Record<string, Value>> = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
};
const COMPARISONS = ['==', '!=', '<', '<=', '>', '>='];

export function expression(tokens: Tokens, withCondition = true): Expression {
  return withCondition ? condition(tokens) : or(tokens);
}

/** One expression, or several with commas: a tuple. */
export function tupleOrExpression(tokens: Tokens, withCondition = true): Expression {
  const items: Expression[] = [];
  let isTuple = false;
  while (!endsTuple(tokens)) {
    items.push(expression(tokens, withCondition));
    if (!tokens.isOperator(',')) break;
    isTuple = true;
    tokens.next();
  }
  if (!isTuple && items.length === 0) throw tokens.fail(`expected an expression, got ${tokens.shown()}`);
  return isTuple ? { kind: 'tuple', items } : items[0]!;
}

const endsTuple = (tokens: Tokens): boolean =>
  tokens.is('end') ||
  tokens.is('close') ||
  tokens.isOperator(')') ||
  tokens.is('eof') ||
  tokens.is('name', 'recursive');

function condition(tokens: Tokens): Expression {
  let yes = or(tokens);
  while (tokens.skip('name', 'if')) {
    const test = or(tokens);
    const no = tokens.skip('name', 'else') ? condition(tokens) : undefined;
    yes = { kind: 'condition', test, yes, no };
  }
  return yes;
}

function or(tokens: Tokens): Expression {
  let left = and(tokens);
  while (tokens.skip('name', 'or')) left = { kind: 'or', left, right: and(tokens) };
  return left;
}

function and(tokens: Tokens): Expression {
  let left = not(tokens);
  while (tokens.skip('name', 'and')) left = { kind: 'and', left, right: not(tokens) };
  return left;
}

function not(tokens: Tokens): Expression {
  return tokens.skip('name', 'not') ? { kind: 'not', of: not(tokens) } : comparison(tokens);
}

function comparison(tokens: Tokens): Expression {
  const first = binary(tokens, 0);
  const rest: [Comparison, Expression][] = [];
  for (;;) {
    if (tokens.isOperator(...COMPARISONS)) rest.push([tokens.next().text as Comparison, binary(tokens, 0)]);
    else if (tokens.skip('name', 'in')) rest.push(['in', binary(tokens, 0)]);
    else if (tokens.is('name', 'not') && tokens.ahead.kind === 'name' && tokens.ahead.text === 'in') {
      tokens.next();
      tokens.next();
      rest.push(['not in', binary(tokens, 0)]);
    } else return rest.length === 0 ? first : { kind: 'comparison', first, rest };
  }
}

/** From the loosest to the closest. All group from the left, ** as well. */
const LEVELS: readonly (readonly Operator[])[] = [['+', '-'], ['~'], ['*', '/', '//', '%'], ['**']];

function binary(tokens: Tokens, level: number): Expression {
  const operators = LEVELS[level];
  if (operators === undefined) return unary(tokens);
  let left = binary(tokens, level + 1);
  while (tokens.isOperator(...operators))
    left = { kind: 'operation', operator: tokens.next().text as Operator, left, right: binary(tokens, level + 1) };
  return left;
}

function unary(tokens: Tokens, withFilters = true): Expression {
  let value: Expression;
  if (tokens.skip('operator', '-')) value = { kind: 'negative', of: unary(tokens, false) };
  else if (tokens.skip('operator', '+')) value = { kind: 'positive', of: unary(tokens, false) };
  else value = primary(tokens);
  value = postfix(tokens, value);
  if (!withFilters) return value;
  for (;;) {
    if (tokens.isOperator('|'))
      for (const applied of filters(tokens)) value = { kind: 'filter', of: value, ...applied };
    else if (tokens.skip('name', 'is')) value = test(tokens, value);
    else if (tokens.isOperator('(')) value = { kind: 'call', callee: value, args: callArguments(tokens) };
    else return value;
  }
}

/** `| name(…)`, any number of them. */
export function filters(tokens: Tokens): AppliedFilter[] {
  const applied: AppliedFilter[] = [];
  while (tokens.skip('operator', '|')) applied.push(filter(tokens));
  return applied;
}

export function filter(tokens: Tokens): AppliedFilter {
  const name = tokens.expect('name').text;
  return { name, args: tokens.isOperator('(') ? callArguments(tokens) : NO_ARGUMENTS };
}

function test(tokens: Tokens, of: Expression): Expression {
  const isNegated = tokens.skip('name', 'not');
  const name = tokens.expect('name').text;
  const found: Expression = { kind: 'test', name, of, args: testArguments(tokens) };
  return isNegated ? { kind: 'not', of: found } : found;
}

function testArguments(tokens: Tokens): CallArguments {
  if (tokens.isOperator('(')) return callArguments(tokens);
  const begins = ['name', 'string', 'integer', 'float'].includes(tokens.current.kind) || tokens.isOperator('[', '{');
  if (!begins || tokens.is('name', 'else', 'or', 'and')) return NO_ARGUMENTS;
  if (tokens.is('name', 'is')) throw tokens.fail('a test of a test is not possible');
  return { ...NO_ARGUMENTS, positional: [postfix(tokens, primary(tokens))] };
}

function postfix(tokens: Tokens, start: Expression): Expression {
  let value = start;
  for (;;) {
    if (tokens.skip('operator', '.')) value = dotted(tokens, value);
    else if (tokens.skip('operator', '[')) value = subscript(tokens, value);
    else if (tokens.isOperator('(')) value = { kind: 'call', callee: value, args: callArguments(tokens) };
    else return value;
  }
}

function dotted(tokens: Tokens, of: Expression): Expression {
  if (tokens.is('integer')) return { kind: 'item', of, key: primary(tokens) };
  return { kind: 'attribute', of, name: tokens.expect('name').text };
}

function subscript(tokens: Tokens, of: Expression): Expression {
  const bounds: (Expression | null)[] = [];
  let isSlice = false;
  for (let isBound = true; isBound && bounds.length < 3; ) {
    bounds.push(tokens.isOperator(':', ']') ? null : expression(tokens));
    isBound = tokens.skip('operator', ':');
    isSlice ||= isBound;
  }
  if (tokens.isOperator(',')) throw tokens.fail('several subscripts are not computed here');
  tokens.expect('operator', ']');
  if (isSlice) return { kind: 'slice', of, bounds: [...bounds, null, null].slice(0, 3) };
  if (bounds[0] === null) throw tokens.fail('a subscript is empty');
  return { kind: 'item', of, key: bounds[0]! };
}

function callArguments(tokens: Tokens): CallArguments {
  const positional: Expression[] = [];
  const named: [string, Expression][] = [];
  let spread: Expression | undefined;
  let namedSpread: Expression | undefined;
  tokens.expect('operator', '(');
  while (!tokens.skip('operator', ')')) {
    if (namedSpread !== undefined) throw tokens.fail('an argument behind **');
    if (tokens.skip('operator', '**')) namedSpread = expression(tokens);
    else if (tokens.isOperator('*') && spread === undefined) {
      tokens.next();
      spread = expression(tokens);
    } else if (tokens.is('name') && tokens.ahead.kind === 'operator' && tokens.ahead.text === '=') {
      const name = tokens.next().text;
      tokens.next();
      named.push([name, expression(tokens)]);
    } else {
      if (named.length > 0 || spread !== undefined)
        throw tokens.fail('an argument without a name behind one with a name');
      positional.push(expression(tokens));
    }
    if (!tokens.isOperator(')')) tokens.expect('operator', ',');
  }
  return { positional, named, spread, namedSpread };
}

function primary(tokens: Tokens): Expression {
  const { kind, text } = tokens.current;
  if (kind === 'operator') return bracketed(tokens);
  if (kind === 'name') {
    tokens.next();
    return Object.hasOwn(CONSTANTS, text)
      ? { kind: 'constant', value: CONSTANTS[text]! }
      : { kind: 'name', name: text };
  }
  if (kind === 'string') {
    let value = '';
    while (tokens.is('string')) value += unescaped(tokens, tokens.next().text.slice(1, -1));
    return { kind: 'constant', value };
  }
  if (kind !== 'integer' && kind !== 'float') throw tokens.fail(`expected an expression, got ${tokens.shown()}`);
  const digits = tokens.next().text.replaceAll('_', '');
  return { kind: 'constant', value: kind === 'integer' ? BigInt(digits) : Number(digits) };
}

function bracketed(tokens: Tokens): Expression {
  if (tokens.skip('operator', '(')) {
    if (tokens.skip('operator', ')')) return { kind: 'tuple', items: [] };
    const value = tupleOrExpression(tokens);
    tokens.expect('operator', ')');
    return value;
  }
  if (tokens.skip('operator', '[')) return { kind: 'list', items: listed(tokens, ']', () => expression(tokens)) };
  if (!tokens.skip('operator', '{')) throw tokens.fail(`expected an expression, got ${tokens.shown()}`);
  const entry = (): [Expression, Expression] => {
    const key = expression(tokens);
    tokens.expect('operator', ':');
    return [key, expression(tokens)];
  };
  return { kind: 'dict', entries: listed(tokens, '}', entry) };
}

function listed<T>(tokens: Tokens, end: string, read: () => T): T[] {
  const items: T[] = [];
  while (!tokens.skip('operator', end)) {
    items.push(read());
    if (!tokens.isOperator(end)) tokens.expect('operator', ',');
  }
  return items;
}

const ESCAPES: Readonly<Record<string, string>> = {
  ...{ '\n': '', '\\': '\\', "'": "'", '"': '"', a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' },
};

/** As Python's unicode-escape: a backslash before what is no escape stays. */
function unescaped(tokens: Tokens, text: string): string {
  return text.replace(/\\(x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[0-7]{1,3}|.)/gs, (whole, code: string) => {
    if (Object.hasOwn(ESCAPES, code)) return ESCAPES[code]!;
    if (/^[0-7]/.test(code)) return String.fromCharCode(Number.parseInt(code, 8));
    if (/^[xuU]./.test(code) && Number.parseInt(code.slice(1), 16) < 0x110000)
      return String.fromCodePoint(Number.parseInt(code.slice(1), 16));
    if (/^[xuUN]/.test(code)) throw tokens.fail(`the escape ${whole} is not computed here`);
    return whole;
  });
}

/** What a for or a set gives values. */
export function target(tokens: Tokens, withFields = false): Target {
  const targets: Target[] = [];
  let isTuple = false;
  while (!tokens.is('name', 'in') && !tokens.is('end') && !tokens.isOperator('=', ')')) {
    targets.push(oneTarget(tokens, withFields));
    if (!tokens.skip('operator', ',')) break;
    isTuple = true;
  }
  if (targets.length === 0) throw tokens.fail(`expected a name, got ${tokens.shown()}`);
  return isTuple ? { kind: 'targets', targets } : targets[0]!;
}

function oneTarget(tokens: Tokens, withFields: boolean): Target {
  if (tokens.skip('operator', '(')) {
    const inner = target(tokens);
    tokens.expect('operator', ')');
    return inner;
  }
  const name = tokens.expect('name').text;
  if (Object.hasOwn(CONSTANTS, name)) throw tokens.fail(`${name} is given a value`);
  if (!withFields || !tokens.skip('operator', '.')) return { kind: 'name', name };
  return { kind: 'field', of: name, name: tokens.expect('name').text };
}
