/** Proofs and secrets that only a run's own trainers can make: HMAC-SHA-256 under the key in the round log's header. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Record } from './gen/onebyte.ts';

const PROOF_BYTES = 8;
const SECRET_BYTES = 16;

const proofOf = (runSecret: Uint8Array, record: Record): Buffer =>
  createHmac('sha256', runSecret)
    .update('record')
    .update(Record.encode({ ...record, proof: undefined }).finish())
    .digest()
    .subarray(0, PROOF_BYTES);

/** `record` as it goes out: with its proof. */
export const withProof = (runSecret: Uint8Array, record: Record): Record => ({
  ...record,
  proof: proofOf(runSecret, record),
});

/** True when a trainer of this run sent out exactly this record. */
export const isProven = (runSecret: Uint8Array, record: Record): boolean =>
  sameBytes(record.proof ?? Buffer.alloc(0), proofOf(runSecret, record));

/** The secret by which the worker with this name and number resumes. The same after a restart of the trainer. */
export const resumeSecretOf = (runSecret: Uint8Array, worker: number, name: string): Buffer =>
  createHmac('sha256', runSecret).update(`resume/${worker}/${name}`).digest().subarray(0, SECRET_BYTES);

/** Compares in constant time. */
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);
