/** What must hold after every event, whatever fails. The first breach ends a simulation. */

import type { LearningRule } from '../../kernels/learning-rule.ts';
import { type ReplicaState, replicaDigest } from '../../kernels/replica.ts';
import { Record } from '../../proto/gen/onebyte.ts';
import { entriesOf } from '../../proto/record.ts';
import { measureVirtually } from './virtual-replica.ts';

export class Breach extends Error {}

const encoded = (record: Record): string =>
  Buffer.from(Record.encode({ ...record, proof: undefined }).finish()).toString('hex');

export class Invariants {
  private readonly rule: LearningRule;
  /** Records that left the trainer, by round. */
  private readonly issued: string[] = [];
  private readonly digests: string[] = [];
  private readonly counted = new Set<string>();
  /** Numbers that are a name's for good. */
  private readonly numberOfName = new Map<string, number>();
  /** Numbers under which an adversary may have contributed: what it sends is its own affair. */
  private readonly hostile = new Set<number>();
  /** Numbers that a contribution was heard of. */
  private readonly heard = new Set<number>();

  constructor(rule: LearningRule) {
    this.rule = rule;
  }

  /** Records that any process outside the trainer may have seen. */
  get issuedRounds(): number {
    return this.issued.length;
  }

  /** The log now holds `record`. */
  onAppended(record: Record, knownRounds: number): void {
    const { round } = record;
    this.check(record.round === knownRounds, `record ${round} appended behind ${knownRounds} records`);
    const before = this.issued[round];
    this.check(before === undefined || before === encoded(record), `record ${round} was acknowledged and remade`);
    for (const entry of entriesOf(record)) {
      const { worker, firstDirection, gradientBytes } = entry;
      const measured = round - entry.staleness;
      this.check(entry.staleness <= this.rule.maxStaleness, `record ${round} holds bytes of round ${measured}`);
      const n = gradientBytes.length;
      const isOwn =
        this.hostile.has(worker) ||
        measureVirtually(this.rule, worker, measured, firstDirection, n).equals(gradientBytes);
      this.check(isOwn, `record ${round} counts bytes of another place`);
      for (let direction = firstDirection; direction < firstDirection + n; direction++) {
        const place = `${measured}/${worker}/${direction}`;
        this.check(before !== undefined || !this.counted.has(place), `record ${round} counts ${place} again`);
        this.counted.add(place);
      }
    }
  }

  /** A log that a crash left lost these records before anybody saw them: they may count elsewhere. */
  onDropped(records: readonly Record[]): void {
    for (const record of records)
      if (this.issued[record.round] === undefined)
        for (const { staleness, worker, firstDirection, gradientBytes } of entriesOf(record))
          for (let i = 0; i < gradientBytes.length; i++)
            this.counted.delete(`${record.round - staleness}/${worker}/${firstDirection + i}`);
  }

  /** `record` goes to a worker. */
  onIssued(record: Record, durableRounds: number): void {
    this.check(record.round < durableRounds, `record ${record.round} was sent before it was durable`);
    const bytes = encoded(record);
    const before = this.issued[record.round];
    this.issued[record.round] = bytes;
    this.check(before === undefined || before === bytes, `record ${record.round} was acknowledged and remade`);
  }

  /** A replica stands after `replica.normaliser.round` records. */
  onReplica(who: string, replica: ReplicaState): void {
    const { round } = replica.normaliser;
    const digest = replicaDigest(replica).toString('hex');
    this.digests[round] ??= digest;
    this.check(this.digests[round] === digest, `${who} holds another replica after ${round} records`);
  }

  /** True when the replica is the run's. */
  isTrue(replica: ReplicaState): boolean {
    return (this.digests[replica.normaliser.round] ?? '') === replicaDigest(replica).toString('hex');
  }

  /** A stream of `name` is told that it is `worker`. */
  onWelcome(name: string, worker: number): void {
    const before = this.numberOfName.get(name);
    this.check(before === undefined || before === worker, `${name} was worker ${before}, and now ${worker}`);
    for (const [other, number] of this.numberOfName)
      this.check(other === name || number !== worker, `worker number ${worker} of ${other} went to ${name}`);
  }

  /** The log now says that `worker` is `name`'s for good. */
  onNamed(name: string, worker: number): void {
    this.onWelcome(name, worker);
    this.check(this.heard.has(worker), `worker number ${worker} was given away for good, and never contributed`);
    this.numberOfName.set(name, worker);
  }

  /** The trainer hears a contribution of `worker`. */
  onContribution(worker: number): void {
    this.heard.add(worker);
  }

  /** An adversary speaks for `worker`. */
  onHostile(worker: number): void {
    this.hostile.add(worker);
  }

  /** The flipped bit may have been in the frame that gave a name its number: only `known` names are sure to keep theirs. */
  onNumbersLost(known: ReadonlySet<string>): void {
    for (const name of this.numberOfName.keys()) if (!known.has(name)) this.numberOfName.delete(name);
  }

  check(holds: boolean, text: string): void {
    if (!holds) throw new Breach(text);
  }
}
