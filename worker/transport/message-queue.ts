/** Messages that a stream brought and nobody took yet, in order, with an end. */
import { type Deferred, deferred } from '../../platform/deferred.ts';

export class MessageQueue<T> {
  private readonly messages: T[] = [];
  private ended: { error: unknown } | undefined;
  private arrival: Deferred<void> | undefined;

  push(message: T): void {
    this.messages.push(message);
    this.arrival?.resolve();
  }

  /** No message comes after those already here; `take` then throws `error`. */
  end(error: unknown): void {
    this.ended ??= { error };
    this.arrival?.resolve();
  }

  /** The next message if one is here. @throws what `end` was given, once all messages are taken */
  take(): T | undefined {
    if (this.messages.length === 0 && this.ended) throw this.ended.error;
    return this.messages.shift();
  }

  /** Resolves when `take` has something to say. */
  async wait(): Promise<void> {
    if (this.messages.length > 0 || this.ended) return;
    this.arrival = deferred();
    await this.arrival.promise;
    this.arrival = undefined;
  }
}
