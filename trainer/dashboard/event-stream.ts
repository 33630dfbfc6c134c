/** The pages that watch a run by server-sent events. Each is sent what it lacks when something changed, at its own pace. */
import type { ServerResponse } from 'node:http';
import type { RunHistory } from '../metrics/history.ts';
import { type Cursor, formatCursor, updateFor } from './page-update.ts';

/** Pages at once. */
const MAX_PAGES = 64;
/** Shortest time between two updates, and between two with the worker table, ms. */
const UPDATE_MS = 250;
const WORKERS_MS = 1000;
/** How often a silent stream shows that it lives, ms. */
const KEEPALIVE_MS = 15_000;
/** How long a page may take to read the last word, ms. */
const LAST_WORD_MS = 1000;
/** How soon a page comes back when the trainer is gone, ms. */
const RETRY_MS = 1000;

interface Page {
  readonly response: ServerResponse;
  cursor: Cursor | undefined;
  sentMs: number;
  workersMs: number;
}

export class EventStream {
  private readonly history: RunHistory;
  private readonly nowMs: () => number;
  private readonly pages = new Set<Page>();
  private readonly timer: NodeJS.Timeout;
  private changed = false;

  constructor(history: RunHistory, nowMs: () => number) {
    this.history = history;
    this.nowMs = nowMs;
    this.timer = setInterval(() => this.tick(), UPDATE_MS).unref();
  }

  /** Takes a page in that is at `cursor`; false when there are too many. A HEAD request gets the headers alone. */
  add(response: ServerResponse, cursor: Cursor | undefined): boolean {
    if (this.pages.size >= MAX_PAGES) return false;
    const page: Page = { response, cursor, sentMs: 0, workersMs: Number.NEGATIVE_INFINITY };
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
    this.changed = true;
  }

  /** Sends the last word and ends all streams. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all(
      [...this.pages].map(async (page) => {
        this.send(page, true);
        const timer = setTimeout(() => page.response.destroy(), LAST_WORD_MS);
        await new Promise((closed) => page.response.end().once('close', closed));
        clearTimeout(timer);
      }),
    );
  }

  private tick(): void {
    const now = this.nowMs();
    for (const page of this.pages) {
      // A page that does not read is left alone: what it lacks is sent when it reads again.
      if (page.response.writableNeedDrain) continue;
      if (this.changed) this.send(page, now - page.workersMs >= WORKERS_MS);
      else if (now - page.workersMs >= WORKERS_MS && page.workersMs < page.sentMs) this.send(page, true);
      else if (now - page.sentMs >= KEEPALIVE_MS) {
        page.response.write(': still here\n\n');
        page.sentMs = now;
        page.workersMs = now;
      }
    }
    this.changed = false;
  }

  private send(page: Page, withWorkers: boolean): void {
    const { update, cursor } = updateFor(this.history, page.cursor, withWorkers);
    page.response.write(`id: ${formatCursor(cursor)}\ndata: ${JSON.stringify(update)}\n\n`);
    page.cursor = cursor;
    page.sentMs = this.nowMs();
    if (withWorkers) page.workersMs = page.sentMs;
  }
}
