/** The one place where what went wrong becomes a gRPC status. */
import { status } from '@grpc/grpc-js';
import type { Refusal } from '../core/state.ts';

export interface GrpcStatus {
  readonly code: status;
  readonly details: string;
}

const OF_REFUSAL: { readonly [refusal in Refusal]: status } = {
  invalid: status.INVALID_ARGUMENT,
  config: status.FAILED_PRECONDITION,
  taken: status.ALREADY_EXISTS,
  busy: status.RESOURCE_EXHAUSTED,
  full: status.RESOURCE_EXHAUSTED,
  ahead: status.FAILED_PRECONDITION,
  deviant: status.PERMISSION_DENIED,
  replaced: status.ABORTED,
  silent: status.CANCELLED,
};

export const statusOfRefusal = (refusal: Refusal, details: string): GrpcStatus => ({
  code: OF_REFUSAL[refusal],
  details,
});

/** Something was thrown. It stays inside: a peer learns only that it happened. */
export const INTERNAL: GrpcStatus = { code: status.INTERNAL, details: 'internal error of the trainer' };

/** A peer that has not shown the run's join token. */
export const UNAUTHENTICATED: GrpcStatus = {
  code: status.UNAUTHENTICATED,
  details: 'the join token is missing or wrong: give --join-token-file or ONEBYTE_JOIN_TOKEN',
};

/** A peer that takes more than its share; the same call may do later. */
export const exhausted = (details: string): GrpcStatus => ({ code: status.RESOURCE_EXHAUSTED, details });

/** A peer that said nothing for too long. */
export const timedOut = (details: string): GrpcStatus => ({ code: status.DEADLINE_EXCEEDED, details });
