/** Templates: text, outputs and statements, by the rules of Jinja's parser with the tags of transformers. */
import { namesIn } from './names.ts';
import { expression, filter, filters, target, tupleOrExpression } from './parse-expression.ts';
import type { Block, Expression, Parameter, Routine, Statement } from './syntax.ts';
import { Tokens } from './tokens.ts';

/** @throws TemplateError where it is no template, or has what is not computed here */
export function parseTemplate(source: string): Block {
  const tokens = new Tokens(source);
  const body = block(tokens, []);
  if (!tokens.is('eof')) throw tokens.fail(`unexpected ${tokens.shown()}`);
  return body;
}

/** Statements up to a tag of the given names, which stays. */
function block(tokens: Tokens, ends: readonly string[]): Statement[] {
  const statements: Statement[] = [];
  while (!tokens.is('eof')) {
    if (tokens.is('begin') && tokens.ahead.kind === 'name' && ends.includes(tokens.ahead.text)) return statements;
    const { line } = tokens.current;
    if (tokens.is('text')) statements.push({ kind: 'text', text: tokens.next().text, line });
    else if (tokens.is('open')) {
      tokens.next();
      statements.push({ kind: 'output', value: printed(tupleOrExpression(tokens)), line });
      tokens.expect('close');
    } else {
      tokens.expect('begin');
      statements.push({ ...statement(tokens, tokens.expect('name').text), line } as Statement);
    }
  }
  if (ends.length > 0) throw tokens.fail(`expected ${ends.at(-1)}, got the end of the template`);
  return statements;
}

/** The text of what is marked as safe is its own. */
const printed = (value: Expression): Expression =>
  value.kind === 'filter' && value.name === 'safe' ? value.of : value;

type Kind<K extends Statement['kind']> = Omit<Extract<Statement, { kind: K }>, 'line'>;
type Parsed = { [K in Statement['kind']]: Kind<K> }[Statement['kind']];

const READERS: Readonly<Record<string, (tokens: Tokens) => Parsed>> = {
  if: readIf,
  for: readFor,
  set: readSet,
  macro: readMacro,
  call: readCall,
  filter: readFilter,
  with: readWith,
  generation: (tokens) => ({ kind: 'generation', body: bodyOf(tokens, 'endgeneration') }),
  break: () => ({ kind: 'break' }),
  continue: () => ({ kind: 'continue' }),
};

function statement(tokens: Tokens, name: string): Parsed {
  if (!Object.hasOwn(READERS, name)) throw tokens.fail(`the tag {% ${name} %} is not computed here`);
  const parsed = READERS[name]!(tokens);
  tokens.expect('end');
  return parsed;
}

/** Statements from the end of a tag up to the tag `end`, of which `%}` is left. */
function bodyOf(tokens: Tokens, end: string): Statement[] {
  const body = blockUpTo(tokens, [end]);
  tokens.expect('name', end);
  return body;
}

/** The same up to one of several, whose name is left. */
function blockUpTo(tokens: Tokens, ends: readonly string[]): Statement[] {
  tokens.expect('end');
  const body = block(tokens, ends);
  tokens.expect('begin');
  return body;
}

function readIf(tokens: Tokens): Kind<'if'> {
  const test = tupleOrExpression(tokens, false);
  const yes = blockUpTo(tokens, ['elif', 'else', 'endif']);
  const { text: end, line } = tokens.next();
  if (end === 'elif') return { kind: 'if', test, yes, no: [{ ...readIf(tokens), line } as Statement] };
  return { kind: 'if', test, yes, no: end === 'else' ? bodyOf(tokens, 'endif') : [] };
}

function readFor(tokens: Tokens): Kind<'for'> {
  const each = target(tokens);
  tokens.expect('name', 'in');
  const over = tupleOrExpression(tokens, false);
  const test = tokens.skip('name', 'if') ? expression(tokens) : undefined;
  if (tokens.is('name', 'recursive')) throw tokens.fail('a recursive loop is not computed here');
  if (test !== undefined && namesIn(test).has('loop'))
    throw tokens.fail('loop in the condition of its own for is not computed here');
  const body = blockUpTo(tokens, ['else', 'endfor']);
  const otherwise = tokens.next().text === 'else' ? bodyOf(tokens, 'endfor') : [];
  return { kind: 'for', target: each, over, test, body, otherwise };
}

function readSet(tokens: Tokens): Kind<'set'> | Kind<'setBlock'> {
  const to = target(tokens, true);
  if (tokens.skip('operator', '=')) return { kind: 'set', target: to, value: tupleOrExpression(tokens) };
  return { kind: 'setBlock', target: to, filters: filters(tokens), body: bodyOf(tokens, 'endset') };
}

function readMacro(tokens: Tokens): Kind<'macro'> {
  const name = tokens.expect('name').text;
  return { kind: 'macro', routine: routine(name, parameters(tokens), bodyOf(tokens, 'endmacro')) };
}

function readCall(tokens: Tokens): Kind<'callBlock'> {
  const given = tokens.isOperator('(') ? parameters(tokens) : [];
  const call = expression(tokens);
  if (call.kind !== 'call') throw tokens.fail('expected a call');
  return { kind: 'callBlock', call, caller: routine('caller', given, bodyOf(tokens, 'endcall')) };
}

function readFilter(tokens: Tokens): Kind<'filterBlock'> {
  const first = filter(tokens);
  return { kind: 'filterBlock', filters: [first, ...filters(tokens)], body: bodyOf(tokens, 'endfilter') };
}

function readWith(tokens: Tokens): Kind<'with'> {
  const values: [ReturnType<typeof target>, Expression][] = [];
  while (!tokens.is('end')) {
    if (values.length > 0) tokens.expect('operator', ',');
    const to = target(tokens);
    tokens.expect('operator', '=');
    values.push([to, expression(tokens)]);
  }
  return { kind: 'with', values, body: bodyOf(tokens, 'endwith') };
}

function parameters(tokens: Tokens): Parameter[] {
  const found: Parameter[] = [];
  tokens.expect('operator', '(');
  while (!tokens.skip('operator', ')')) {
    const name = tokens.expect('name').text;
    const otherwise = tokens.skip('operator', '=') ? expression(tokens) : undefined;
    if (otherwise === undefined && found.at(-1)?.otherwise !== undefined) throw tokens.fail(`${name} has no default`);
    found.push({ name, otherwise });
    if (!tokens.isOperator(')')) tokens.expect('operator', ',');
  }
  return found;
}

const SPECIAL = ['caller', 'varargs', 'kwargs'];

function routine(name: string, given: readonly Parameter[], body: Block): Routine {
  const own = new Set(given.map((parameter) => parameter.name));
  const names = namesIn(body);
  return {
    name,
    parameters: given,
    body,
    reads: new Set(SPECIAL.filter((one) => !own.has(one) && names.has(one))),
  };
}
