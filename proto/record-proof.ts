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

/** The secret by which one membership of a worker is resumed. The same after a restart of the trainer. */
export const resumeSecretOf = (runSecret: Uint8Array, worker: number, name: string, membership: number): Buffer =>
  createHmac('sha256', runSecret).update(`resume/${membership}/${worker}/${name}`).digest().subarray(0, SECRET_BYTES);

/** A number in 0…1 for `what`, the same whenever it is asked for, that nobody without the run's secret can tell beforehand. */
export const secretDraw = (runSecret: Uint8Array, what: string): number =>
  createHmac('sha256', runSecret).update(`draw/${what}`).digest().readUInt32LE() / 2 ** 32;

/** Compares in constant time. */
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);
