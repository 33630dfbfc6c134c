/**
 * The names of a frame, which is a template, or the body of a loop, macro, call, filter, set, with or generation: Jinja's compiler settles
 * before anything runs where each is looked for (idtracking.py).
 */
import type { Block } from './syntax.ts';

export interface Names {
  /** Are read or set in the frame itself; frames within have names of their own. */
  readonly known: ReadonlySet<string>;
  /** Those that are set before they are read, not only by an if: until then they are undefined, unless a frame around knows them. */
  readonly unset: ReadonlySet<string>;
}

export const NO_NAMES: Names = { known: new Set(), unset: new Set() };

const found = new WeakMap<Block, Names>();

/** @param before expressions of the frame that come before `body`: the defaults of parameters */
export function namesOf(body: Block, before?: unknown): Names {
  const names = found.get(body) ?? findNames(body, before);
  found.set(body, names);
  return names;
}

function findNames(body: Block, before: unknown): Names {
  const known = namesIn(before);
  const unset = new Set<string>();
  const read = (part: unknown): void => {
    for (const name of namesIn(part)) known.add(name);
  };
  const set = (target: unknown, isSure: boolean): void => {
    for (const name of namesIn(target)) if (isSure && !known.has(name)) unset.add(name);
    read(target);
  };
  const visit = (block: Block, isSure: boolean): void => {
    for (const statement of block)
      switch (statement.kind) {
        case 'output':
          read(statement.value);
          break;
        case 'if':
          read(statement.test);
          visit(statement.yes, false);
          visit(statement.no, false);
          break;
        case 'for':
          read(statement.over);
          break;
        case 'set':
          read(statement.value);
          set(statement.target, isSure);
          break;
        case 'setBlock':
          set(statement.target, isSure);
          break;
        case 'filterBlock':
          read(statement.filters);
          break;
        case 'with':
          read(statement.values.map(([, value]) => value));
          break;
        case 'macro':
          set({ kind: 'name', name: statement.routine.name }, isSure);
          break;
        case 'callBlock':
          read(statement.call);
          break;
      }
  };
  visit(body, true);
  return { known, unset };
}

/** Names anywhere in a part of a template, frames within included. */
export function namesIn(part: unknown): Set<string> {
  const names = new Set<string>();
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    if ('kind' in node && node.kind === 'name' && 'name' in node) names.add(String(node.name));
    else if ('kind' in node && node.kind === 'field' && 'of' in node) names.add(String(node.of));
    else for (const inner of Object.values(node)) visit(inner);
  };
  visit(part);
  return names;
}
