/** What happens to a trainer, one thing after the other: events, which may share a turn, and work that has a turn of its own. */
import type { Event } from './core/state.ts';

/** Events that share a turn, and so one fsync, at most. */
const MAX_GROUP = 256;

type Work = () => Promise<void>;

export class EventQueue {
  private readonly waiting: (Event | Work)[] = [];
  private running = false;
  private readonly process: (events: readonly Event[]) => Promise<void>;
  private readonly fail: (error: unknown) => void;

  /** @param process takes the events of a turn @param fail is told what a turn threw; none follows it */
  constructor(process: (events: readonly Event[]) => Promise<void>, fail: (error: unknown) => void) {
    this.process = process;
    this.fail = fail;
  }

  push(item: Event | Work): void {
    this.waiting.push(item);
    if (!this.running) this.run().catch(this.fail);
  }

  /** Where it throws, `running` stays true: nothing more is heard or said. */
  private async run(): Promise<void> {
    this.running = true;
    for (let item = this.waiting.shift(); item !== undefined; item = this.waiting.shift())
      if (typeof item === 'function') await item();
      else await this.process(this.groupFrom(item));
    this.running = false;
  }

  /** `first`, and the events that wait right behind it. */
  private groupFrom(first: Event): Event[] {
    const events = [first];
    for (let next = this.waiting[0]; next && typeof next !== 'function'; next = this.waiting[0]) {
      if (events.length === MAX_GROUP) break;
      events.push(next);
      this.waiting.shift();
    }
    return events;
  }
}
