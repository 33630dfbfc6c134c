/** The pages that watch a run by server-sent events. Each is sent what it lacks when something changed, at its own pace. */
import type { ServerResponse } from 'node:http';
import type { RunHistory } from '../metrics/history.ts';
import { type Cursor, formatCursor, updateFor } from './page-update.ts';

/** Pages at once. */
export const MAX_PAGES = 64;
/** Shortest time between two updates, and between two with the worker table, ms. */
const UPDATE_MS = 250;
const WORKERS_MS = 1000;
/**
 * Updates made from one tick to the next. Pages at one cursor share one, so that few are needed: but who asks may name any cursor, and the
 * update of a long run takes milliseconds. A page beyond it has its turn in a later tick.
 */
const MADE_PER_TICK = 4;
/** How often a silent stream shows that it lives, ms. */
const KEEPALIVE_MS = 15_000;
/** How long a page may take to read the last word, ms. */
const LAST_WORD_MS = 1000;
/** How soon a page comes back when the trainer is gone, ms. */
const RETRY_MS = 1000;

interface Page {
  readonly response: ServerResponse;
  cursor: Cursor | undefined;
  /** Something was observed since it was sent an update, or it was sent none. */
  isBehind: boolean;
  sentMs: number;
  workersMs: number;
}

interface Made {
  readonly text: string;
  /** Where it ends. */
  readonly cursor: Cursor;
  /** Something was observed since. */
  isOld: boolean;
}

export class EventStream {
  private readonly history: RunHistory;
  private readonly nowMs: () => number;
  private readonly most: number;
  private readonly pages = new Set<Page>();
  private readonly timer: NodeJS.Timeout;
  /** The updates of this tick, by where they begin. */
  private readonly made = new Map<string, Made>();

  /** @param most pages at once */
  constructor(history: RunHistory, nowMs: () => number, most = MAX_PAGES) {
    this.most = most;
    this.history = history;
    this.nowMs = nowMs;
    this.timer = setInterval(() => this.tick(), UPDATE_MS).unref();
  }

  /** Takes a page in that is at `cursor`; false when there are too many. A HEAD request gets the headers alone. */
  add(response: ServerResponse, cursor: Cursor | undefined): boolean {
    if (this.pages.size >= this.most) return false;
    const page: Page = { response, cursor, isBehind: true, sentMs: 0, workersMs: Number.NEGATIVE_INFINITY };
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' });
    if (response.req.method === 'HEAD') {
      response.end();
      return true;
    }
    response.write(`retry: ${RETRY_MS}\n\n`);
    response.on('close', () => this.pages.delete(page));
    this.pages.add(page);
    this.send(page, true);
    return true;
  }

  /** Something was observed. */
  touch(): void {
    for (const page of this.pages) page.isBehind = true;
    for (const made of this.made.values()) made.isOld = true;
  }

  /** Sends the last word and ends all streams. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    this.made.clear();
    await Promise.all(
      [...this.pages].map(async (page) => {
        this.write(page, true);
        const timer = setTimeout(() => page.response.destroy(), LAST_WORD_MS);
        await new Promise((closed) => page.response.end().once('close', closed));
        clearTimeout(timer);
      }),
    );
  }

  private tick(): void {
    const now = this.nowMs();
    this.made.clear();
    for (const page of [...this.pages]) {
      // A page that does not read is left alone: what it lacks is sent when it reads again.
      if (page.response.writableNeedDrain) continue;
      if (page.isBehind) this.send(page, now - page.workersMs >= WORKERS_MS);
      else if (now - page.workersMs >= WORKERS_MS && page.workersMs < page.sentMs) this.send(page, true);
      else if (now - page.sentMs >= KEEPALIVE_MS) {
        page.response.write(': still here\n\n');
        page.sentMs = now;
        page.workersMs = now;
      }
    }
  }

  /** Sends the page what it lacks, unless too much was made in this tick. */
  private send(page: Page, withWorkers: boolean): void {
    if (this.made.size >= MADE_PER_TICK && !this.made.has(keyOf(page, withWorkers))) return;
    this.write(page, withWorkers);
    // Those that were left out come first in the next tick.
    this.pages.delete(page);
    this.pages.add(page);
  }

  private write(page: Page, withWorkers: boolean): void {
    const key = keyOf(page, withWorkers);
    const made = this.made.get(key) ?? this.make(page, withWorkers);
    this.made.set(key, made);
    page.response.write(made.text);
    page.cursor = made.cursor;
    page.isBehind = made.isOld;
    page.sentMs = this.nowMs();
    if (withWorkers) page.workersMs = page.sentMs;
  }

  private make({ cursor: known }: Page, withWorkers: boolean): Made {
    const { update, cursor } = updateFor(this.history, known, withWorkers);
    return { text: `id: ${formatCursor(cursor)}\ndata: ${JSON.stringify(update)}\n\n`, cursor, isOld: false };
  }
}

const keyOf = ({ cursor }: Page, withWorkers: boolean): string =>
  `${cursor === undefined ? '' : formatCursor(cursor)} ${withWorkers}`;
