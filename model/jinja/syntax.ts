/** What a template consists of. */
import type { Comparison, Operator } from './operators.ts';
import type { Value } from './values.ts';

export type Expression =
  | { readonly kind: 'constant'; readonly value: Value }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'list' | 'tuple'; readonly items: readonly Expression[] }
  | { readonly kind: 'dict'; readonly entries: readonly (readonly [Expression, Expression])[] }
  | { readonly kind: 'attribute'; readonly of: Expression; readonly name: string }
  | { readonly kind: 'item'; readonly of: Expression; readonly key: Expression }
  /** Bounds that are not written are null. */
  | { readonly kind: 'slice'; readonly of: Expression; readonly bounds: readonly (Expression | null)[] }
  | { readonly kind: 'call'; readonly callee: Expression; readonly args: CallArguments }
  | { readonly kind: 'filter'; readonly name: string; readonly of: Expression; readonly args: CallArguments }
  | { readonly kind: 'test'; readonly name: string; readonly of: Expression; readonly args: CallArguments }
  | { readonly kind: 'not' | 'negative' | 'positive'; readonly of: Expression }
  | { readonly kind: 'and' | 'or'; readonly left: Expression; readonly right: Expression }
  | { readonly kind: 'operation'; readonly operator: Operator; readonly left: Expression; readonly right: Expression }
  /** a < b < c: each operator with what stands right of it */
  | {
      readonly kind: 'comparison';
      readonly first: Expression;
      readonly rest: readonly (readonly [Comparison, Expression])[];
    }
  | {
      readonly kind: 'condition';
      readonly test: Expression;
      readonly yes: Expression;
      readonly no: Expression | undefined;
    };

export interface CallArguments {
  readonly positional: readonly Expression[];
  readonly named: readonly (readonly [string, Expression])[];
  /** `*values` and `**values` */
  readonly spread: Expression | undefined;
  readonly namedSpread: Expression | undefined;
}

/** What a set or a for gives a value: a name, a field of a namespace, or a tuple of them. */
export type Target =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'field'; readonly of: string; readonly name: string }
  | { readonly kind: 'targets'; readonly targets: readonly Target[] };

export interface Parameter {
  readonly name: string;
  readonly otherwise: Expression | undefined;
}

/** A macro, or the body of a call block. */
export interface Routine {
  readonly name: string;
  readonly parameters: readonly Parameter[];
  readonly body: Block;
  /** Which of caller, varargs and kwargs are read in the body. */
  readonly reads: ReadonlySet<string>;
}

export type Block = readonly Statement[];

/** `line` is that of the template, from 1. */
export type Statement = { readonly line: number } & (
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'output'; readonly value: Expression }
  | { readonly kind: 'if'; readonly test: Expression; readonly yes: Block; readonly no: Block }
  | {
      readonly kind: 'for';
      readonly target: Target;
      readonly over: Expression;
      readonly test: Expression | undefined;
      readonly body: Block;
      readonly otherwise: Block;
    }
  | { readonly kind: 'set'; readonly target: Target; readonly value: Expression }
  /** The filters are applied to the text of the body, in order. */
  | {
      readonly kind: 'setBlock';
      readonly target: Target;
      readonly filters: readonly AppliedFilter[];
      readonly body: Block;
    }
  | { readonly kind: 'filterBlock'; readonly filters: readonly AppliedFilter[]; readonly body: Block }
  | { readonly kind: 'with'; readonly values: readonly (readonly [Target, Expression])[]; readonly body: Block }
  | { readonly kind: 'macro'; readonly routine: Routine }
  | { readonly kind: 'callBlock'; readonly call: Extract<Expression, { kind: 'call' }>; readonly caller: Routine }
  | { readonly kind: 'generation'; readonly body: Block }
  | { readonly kind: 'break' }
  | { readonly kind: 'continue' }
);

export interface AppliedFilter {
  readonly name: string;
  readonly args: CallArguments;
}
