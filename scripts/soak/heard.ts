/** The records that anybody outside a trainer has heard of: what a run may not lose or remake. */
import { createHash } from 'node:crypto';
import { Record } from '../../proto/gen/onebyte.ts';
import { entriesOf } from '../../proto/record.ts';

const sha256Of = (record: Record): string =>
  createHash('sha256')
    .update(Record.encode({ ...record, proof: undefined }).finish())
    .digest('hex');

export class Heard {
  /** By round. */
  private readonly records = new Map<number, string>();
  private readonly faults: string[] = [];

  get rounds(): number {
    return this.records.size;
  }

  hear(record: Record): void {
    const sha256 = sha256Of(record);
    const before = this.records.get(record.round);
    if (before !== undefined && before !== sha256)
      this.faults.push(`record ${record.round} was heard twice, differently`);
    this.records.set(record.round, sha256);
  }

  /** What `log`, the records of a round log with `maxStaleness` 0, should hold and does not, and what counts twice in it. */
  faultsOf(log: readonly Record[]): string[] {
    const faults = [...this.faults];
    for (const [round, sha256] of this.records) {
      const record = log[round];
      if (!record) faults.push(`record ${round} was acknowledged and is lost`);
      else if (sha256Of(record) !== sha256)
        faults.push(`record ${round} was acknowledged and is another one in the log`);
    }
    const places = new Set<string>();
    for (const [i, record] of log.entries()) {
      if (record.round !== i) faults.push(`record ${record.round} stands where record ${i} belongs`);
      for (const { worker, staleness } of entriesOf(record)) {
        const place = `round ${record.round - staleness} of worker ${worker}`;
        if (places.has(place)) faults.push(`record ${record.round} counts ${place} again`);
        places.add(place);
      }
    }
    return faults;
  }
}
