/** The dashboard's HTTP face: what it serves, to whom, and that a page which comes back misses nothing. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { get, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { hostname } from 'node:os';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import parsePrometheus from 'parse-prometheus-text-format';
import { isAllowedHost } from '../../../trainer/dashboard/allowed-hosts.ts';
import { EventStream } from '../../../trainer/dashboard/event-stream.ts';
import { type PageUpdate, parseCursor, updateFor } from '../../../trainer/dashboard/page-update.ts';
import { type Dashboard, startDashboard } from '../../../trainer/dashboard/server.ts';
import { emptyHistory, observe, type RunHistory } from '../../../trainer/metrics/history.ts';
import type { EvaluationLine } from '../../../trainer/metrics/line.ts';
import { evaluationLine, roundLine, START } from '../../support/observed-run.ts';
import type { Cleanup } from '../../support/temporary-directory.ts';

async function served(test: Cleanup, nowMs?: () => number): Promise<{ dashboard: Dashboard; history: RunHistory }> {
  const history = emptyHistory();
  const dashboard = await startDashboard('127.0.0.1:0', history, nowMs);
  test.after(() => dashboard.close());
  for (const seen of [
    START,
    { kind: 'joined', at: 1, worker: 1, name: 'w', resumed: false } as const,
    roundLine(1, { trainingLoss: { perRow: 2, perToken: 0.5 } }),
  ]) {
    observe(history, seen);
    dashboard.onObservation(seen);
  }
  return { dashboard, history };
}

const statusWithHost = (dashboard: Dashboard, host: string): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    request(dashboard.url, { headers: { host } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end();
  });

describe('the dashboard', () => {
  it('serves the page and all that it needs from itself, under a strict policy', async (test) => {
    const { dashboard } = await served(test);
    const response = await fetch(dashboard.url);
    const html = await response.text();
    const policy = response.headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*/);
    assert.doesNotMatch(html, /<script(?! type="module" src="page.js")|style=|https?:\/\/(?!www\.w3\.org)/);
    for (const [, file] of html.matchAll(/(?:src|href)="([\w.-]+\.(?:js|css))"/g))
      assert.equal((await fetch(new URL(file!, dashboard.url))).status, 200, file);
  });

  it('answers to its own names only', async (test) => {
    const { dashboard } = await served(test);
    assert.equal(await statusWithHost(dashboard, dashboard.address), 200);
    assert.equal(await statusWithHost(dashboard, 'localhost:1'), 200);
    assert.equal(await statusWithHost(dashboard, 'attacker.example'), 403);
    const own = hostname().toUpperCase();
    const answered: [string, string | undefined][] = [
      ['0.0.0.0', '10.0.0.5:80'],
      ['0.0.0.0', own],
      ['::1', '[::1]:80'],
      ['Trainer.example', 'tRAINER.example:80'],
    ];
    const refused: typeof answered = [
      ['127.0.0.1', '10.0.0.5:80'],
      ['127.0.0.1', own],
      ['0.0.0.0', 'attacker.example'],
      ['0.0.0.0', 'localhost:80.attacker.example'],
      ['0.0.0.0', undefined],
    ];
    for (const [bound, header] of answered) assert(isAllowedHost(bound, header), `${header} at ${bound}`);
    for (const [bound, header] of refused) assert(!isAllowedHost(bound, header), `${header} at ${bound}`);
  });

  it('counts the connections that are open, however many there were', async (test) => {
    const { dashboard } = await served(test);
    const health = new URL('healthz?of=all', dashboard.url);
    for (let i = 0; i < 260; i++) await (await fetch(health, { headers: { connection: 'close' } })).text();
    const waiting = connect(Number(health.port), health.hostname);
    await once(waiting, 'connect');
    assert.equal(await (await fetch(health)).text(), 'ok\n');
    waiting.end('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    assert.match(await text(waiting), /^HTTP\/1\.1 200 /);
  });

  it('answers at once beside hundreds of connections that ask for nothing, and keeps the pages that watch', async (test) => {
    const { dashboard, history } = await served(test);
    const page = await new Promise<IncomingMessage>((resolve) => get(new URL('events', dashboard.url), resolve));
    test.after(() => page.destroy());
    const { hostname, port } = new URL(dashboard.url);
    const slow = Array.from({ length: 600 }, () => connect(Number(port), hostname).on('error', () => {}));
    test.after(() => {
      for (const socket of slow) socket.destroy();
    });
    await Promise.all(slow.map((socket) => once(socket, 'connect')));
    for (const socket of slow.slice(0, 300)) socket.write('GET / HTTP/1.1\r\nHost: ');
    const answered = await fetch(new URL('healthz', dashboard.url), { signal: AbortSignal.timeout(5_000) });
    assert.equal(answered.status, 200);
    const more = once(page.resume(), 'data');
    observe(history, roundLine(2));
    dashboard.onObservation(roundLine(2));
    await more;
  });

  it('keeps no connection that asked for the heading of the stream of events alone', async (test) => {
    const { dashboard } = await served(test);
    const { hostname, port } = new URL(dashboard.url);
    const open = Array.from({ length: 300 }, () => connect(Number(port), hostname).on('error', () => {}));
    test.after(() => {
      for (const socket of open) socket.destroy();
    });
    for (const socket of open) socket.write('HEAD /events HTTP/1.1\r\nHost: localhost\r\n\r\n');
    // Some of them make way for others.
    await Promise.all(open.map((socket) => new Promise((told) => socket.once('data', told).once('close', told))));
    assert.equal((await fetch(new URL('healthz', dashboard.url))).status, 200);
  });

  it('answers one request of a connection after the other, and ends one that does not wait', async (test) => {
    const { dashboard } = await served(test);
    const { hostname, port } = new URL(dashboard.url);
    for (const path of ['metrics', 'status', 'healthz']) {
      const socket = connect(Number(port), hostname).on('error', () => {});
      socket.end(`GET /${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`.repeat(300));
      const answers = (await text(socket).catch(() => '')).split('HTTP/1.1 200').length - 1;
      assert(answers <= 1, `${answers} answers of ${path}`);
    }
  });

  it('makes metrics and status once a second, however many ask', async (test) => {
    let nowMs = 0;
    const { dashboard, history } = await served(test, () => nowMs);
    const rounds = async (): Promise<(string | undefined)[]> => {
      const [metrics, status] = await Promise.all(
        ['metrics', 'status'].map(async (path) => (await fetch(new URL(path, dashboard.url))).text()),
      );
      return [/^onebyte_rounds_total (\d+)/m.exec(metrics!)?.[1], /"round":(\d+)/.exec(status!)?.[1]];
    };
    const first = await rounds();
    observe(history, roundLine(2));
    const second = await rounds();
    nowMs += 1000;
    assert.deepEqual(
      [first, second, await rounds()],
      [
        ['1', '1'],
        ['1', '1'],
        ['2', '2'],
      ],
    );
  });

  /** A stream of events under a clock of its own, and pages that tell what they were sent. */
  const watched = (test: TestContext, most?: number) => {
    test.mock.timers.enable({ apis: ['setInterval'] });
    const clock = { ms: 0 };
    const history = emptyHistory();
    const stream = new EventStream(history, () => clock.ms, most);
    const come = () => {
      const page = Object.assign(new EventEmitter(), {
        req: { method: 'GET' },
        writableNeedDrain: false,
        sent: [] as string[],
        writeHead: () => {},
        write: (text: string) => page.sent.push(text),
        end() {
          setImmediate(() => page.emit('close'));
          return page;
        },
        /** Rounds that it was told of since it was asked last, and whether the workers came along. */
        told: () =>
          page.sent.splice(0).flatMap((text) => {
            const data = /^data: (.*)$/m.exec(text)?.[1];
            if (data === undefined) return text.startsWith(':') ? ['alive'] : [];
            const { summary, workers }: PageUpdate = JSON.parse(data);
            return [`${summary.round}${workers ? ' with workers' : ''}`];
          }),
      });
      return { page, isIn: stream.add(page as unknown as ServerResponse, undefined) };
    };
    const see = (round: number): void => {
      observe(history, roundLine(round));
      stream.touch();
    };
    const tick = (): void => {
      clock.ms += 250;
      test.mock.timers.tick(250);
    };
    return { stream, come, see, tick };
  };

  it('tells a page what changed four times a second, the workers once, and that it lives', (test) => {
    const { come, see, tick } = watched(test);
    const { page } = come();
    assert.deepEqual(page.told(), ['0 with workers']);
    const told = [1, 2, 3, 4, 5, 6].map((round) => {
      see(round);
      tick();
      return page.told().join();
    });
    assert.deepEqual(told, ['1', '2', '3', '4 with workers', '5', '6']);
    const later = Array.from({ length: 63 }, () => {
      tick();
      return page.told().join();
    });
    assert.deepEqual(
      later.flatMap((what, i) => (what === '' ? [] : [[i, what]])),
      [
        [1, '6 with workers'],
        [61, 'alive'],
      ],
    );
  });

  it('tells a page that came as something changed, one that reads again, and all at the end', async (test) => {
    const { stream, come, see, tick } = watched(test, 2);
    const first = come().page;
    see(1);
    const { page } = come();
    const third = come();
    assert.deepEqual([third.isIn, third.page.sent], [false, []]);
    tick();
    assert.deepEqual(
      [first, page].map(({ sent }) => sent.length),
      [3, 3],
    );
    assert.match(page.told().at(-1)!, /^1/);
    page.writableNeedDrain = true;
    see(2);
    tick();
    assert.deepEqual(page.told(), []);
    page.writableNeedDrain = false;
    tick();
    assert.deepEqual(page.told(), ['2']);
    first.emit('close');
    assert(come().isIn);
    see(3);
    await stream.close();
    assert.deepEqual(page.told(), ['3 with workers']);
  });

  it('makes few updates a tick for pages at cursors that they made up, and leaves none of them out', (test) => {
    test.mock.timers.enable({ apis: ['setInterval'] });
    const stream = new EventStream(emptyHistory(), () => 0);
    const pages = Array.from({ length: 18 }, (_, rows) => {
      const page = Object.assign(new PassThrough(), { req: { method: 'GET' }, writeHead: () => {} });
      stream.add(page as unknown as ServerResponse, { run: '0'.repeat(16), stride: 1, rows, evaluations: 0 });
      return page;
    });
    let known = 0;
    const updated = (): number => {
      for (const page of pages) known += String(page.read() ?? '').split('data: ').length - 1;
      return known;
    };
    const counts = [updated()];
    for (let tick = 0; tick < 5; tick++) {
      test.mock.timers.tick(250);
      counts.push(updated());
    }
    assert.deepEqual(counts, [4, 8, 12, 16, 18, 18]);
  });

  it('says what to do when its port is in use, or its address is not of this machine', async (test) => {
    const { dashboard, history } = await served(test);
    await assert.rejects(startDashboard(dashboard.address, history), {
      exitCode: 2,
      message: /^dashboard 127.*: the port is in use: choose another/,
    });
    await assert.rejects(startDashboard('203.0.113.1:0', history), {
      exitCode: 2,
      message:
        'dashboard 203.0.113.1:0: no interface of this machine has this address: 0.0.0.0 or [::] listens on all of them',
    });
  });

  it('is read only', async (test) => {
    const { dashboard } = await served(test);
    assert.equal((await fetch(dashboard.url, { method: 'POST' })).status, 405);
    assert.equal((await fetch(new URL('/../package.json', dashboard.url))).status, 404);
  });

  it('exposes metrics that an independent parser reads', async (test) => {
    const { dashboard } = await served(test);
    const families = parsePrometheus(await (await fetch(new URL('metrics', dashboard.url))).text());
    const value = (name: string): unknown => families.find((family) => family.name === name)?.metrics[0];
    assert.deepEqual(value('onebyte_rounds_total'), { value: '1' });
    assert.deepEqual(value('onebyte_payload_bytes_total'), { value: '16' });
    assert.deepEqual(value('onebyte_training_loss_nats'), { value: '2' });
    assert.deepEqual(value('onebyte_training_loss_per_token_nats'), { value: '0.5' });
    assert.deepEqual(value('onebyte_worker_up'), { value: '1', labels: { worker: '1' } });
    assert.equal(families.find(({ name }) => name === 'onebyte_round_duration_seconds')?.type, 'HISTOGRAM');
    for (const { name, type } of families.filter((family) => family.name.startsWith('onebyte_')))
      assert.equal(name.endsWith('_total'), type === 'COUNTER', `${name} is a ${type}`);
  });

  it('ends though a page does not read', async () => {
    const history = emptyHistory();
    const dashboard = await startDashboard('127.0.0.1:0', history);
    history.text = 'more than a socket holds'.repeat(2 ** 20);
    const page = await new Promise<IncomingMessage>((resolve) => get(new URL('events', dashboard.url), resolve));
    await dashboard.close();
    page.destroy();
  });

  it('answers HEAD on the stream of events with an end', async (test) => {
    const { dashboard } = await served(test);
    const { hostname, port } = new URL(dashboard.url);
    const socket = connect(Number(port), hostname);
    socket.write(`HEAD /events HTTP/1.1\r\nHost: ${hostname}\r\nConnection: close\r\n\r\n`);
    assert.match(await text(socket), /text\/event-stream[\s\S]*\r\n\r\n$/);
  });

  it('gives the same numbers as JSON', async (test) => {
    const { dashboard } = await served(test);
    const status = JSON.parse(await (await fetch(new URL('status', dashboard.url))).text());
    assert.equal(status.round, 1);
    assert.equal(status.totals.gradients, 16);
    assert.equal(status.workers[0].name, 'w');
  });

  it('sends a page that comes back all rows that it lacks, and everything to one that knows another run', async (test) => {
    const { dashboard, history } = await served(test);
    const first = await firstEvent(dashboard, undefined);
    for (const round of [2, 3, 4]) observe(history, roundLine(round));
    const back = await firstEvent(dashboard, first.id);
    assert.equal(back.update.from, 0);
    assert.deepEqual(back.update.columns.round, [1, 2, 3, 4]);
    const again = await firstEvent(dashboard, back.id);
    assert.equal(again.update.from, 3, 'the last row may have grown');
    const other = await firstEvent(dashboard, `${'0'.repeat(16)}.1.4.0`);
    assert.equal(other.update.from, 0);
  });

  it('lets a page at any cursor of this run join what it has and what it gets', () => {
    const history = emptyHistory();
    observe(history, START);
    let cursor = updateFor(history, undefined, true).cursor;
    const rounds: number[] = [];
    const evaluations: EvaluationLine[] = [];
    const update = (): void => {
      const sent = updateFor(history, cursor, false);
      rounds.splice(sent.update.from, rounds.length, ...sent.update.columns.round);
      evaluations.splice(sent.update.evaluationsFrom, evaluations.length, ...sent.update.evaluations);
      cursor = sent.cursor;
      assert.deepEqual(rounds.length, history.series.columns.round.length);
      assert.deepEqual(evaluations.length, history.evaluations.length);
    };
    for (let round = 1; round <= 9000; round++) {
      observe(history, roundLine(round));
      if (round % 3 === 0) observe(history, evaluationLine(round - 1));
      if (round % 7 === 0) update();
    }
    update();
    assert.deepEqual(rounds, history.series.columns.round);
    assert.deepEqual(evaluations, history.evaluations);
    assert.equal(parseCursor('0123456789abcdef.1.-1.0'), undefined);
    const [ahead, other] = [{ ...cursor, rows: 1e9 }, emptyHistory()];
    assert.equal(updateFor(history, ahead, false).update.from, rounds.length - 1);
    observe(other, { ...START, at: 501 });
    assert.notEqual(updateFor(other, undefined, false).cursor.run, cursor.run, 'a run that was begun anew');
  });

  it('sends of the evaluations of a long run only what the page lacks', () => {
    const history = emptyHistory();
    observe(history, START);
    for (let round = 1; round <= 4000; round++) {
      observe(history, roundLine(round));
      observe(history, evaluationLine(round));
    }
    const { cursor } = updateFor(history, undefined, true);
    observe(history, evaluationLine(4001));
    const { update } = updateFor(history, cursor, true);
    assert.deepEqual([update.evaluationsFrom, update.evaluations.map(({ round }) => round)], [3999, [4000, 4001]]);
  });
});

/** The first event that a page gets which knows `id`. */
function firstEvent(dashboard: Dashboard, id: string | undefined) {
  const headers: Record<string, string> = id === undefined ? {} : { 'last-event-id': id };
  return new Promise<{ id: string; update: PageUpdate }>((resolve, reject) => {
    get(new URL('events', dashboard.url), { headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        const match = /^id: (.*)\ndata: (.*)\n\n/m.exec(text);
        if (!match) return;
        response.destroy();
        resolve({ id: match[1]!, update: JSON.parse(match[2]!) });
      });
    }).on('error', reject);
  });
}
