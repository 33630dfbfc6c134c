/** The dashboard's HTTP server: the page and its event stream, /status (JSON), /metrics (Prometheus) and /healthz. Read only. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { joinAddress, splitAddress } from '../../platform/address.ts';
import { freeDescriptors } from '../../platform/descriptors.ts';
import { listen } from '../../platform/listener.ts';
import type { RunHistory } from '../metrics/history.ts';
import { createExposition } from '../metrics/prometheus.ts';
import type { MetricsSink } from '../metrics/run-metrics.ts';
import { isAllowedHost } from './allowed-hosts.ts';
import { EventStream, MAX_PAGES } from './event-stream.ts';
import { type PageFile, readPageFiles } from './page-files.ts';
import { parseCursor, summaryOf } from './page-update.ts';

/**
 * Connections at once, and the part of the free descriptors that they may take. One more ends the one that has been without a request
 * for longest; pages that watch the run stay.
 */
const MAX_CONNECTIONS = 256;
const PART_OF_DESCRIPTORS = 1 / 8;
/** Requests of one connection; then it is closed, and who asks comes back. */
const MAX_REQUESTS = 1000;
/** How long /status and /metrics are of use to others who ask: making them takes milliseconds of the thread that closes rounds. */
const FRESH_MS = 1000;

const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-store',
};

export interface Dashboard extends MetricsSink {
  /** Where a browser finds it. */
  readonly url: string;
  /** The bound `host:port`. */
  readonly address: string;
}

/** Serves `history` on `address` (`host:port`). @throws OperatingError usage: bad address, port in use, too few descriptors */
export async function startDashboard(
  address: string,
  history: RunHistory,
  nowMs: () => number = () => performance.now(),
): Promise<Dashboard> {
  const { host } = splitAddress(address);
  const exposition = createExposition(history);
  const most = Math.min(MAX_CONNECTIONS, Math.floor(freeDescriptors() * PART_OF_DESCRIPTORS));
  // Pages stay: half of the connections are left to all others.
  const stream = new EventStream(history, nowMs, Math.min(MAX_PAGES, most >> 1));
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000 });
  server.maxRequestsPerSocket = MAX_REQUESTS;
  const site: Site = {
    host,
    status: shared(() => statusJson(history), nowMs),
    metrics: shared(() => exposition.text(), nowMs),
    metricsType: exposition.contentType,
    stream,
    files: readPageFiles(),
    keep: limitConnections(server, most),
  };
  /** Connections whose request is not answered yet. */
  const answering = new WeakSet<Socket>();
  server.on('request', (request, response) => {
    const { socket } = request;
    // Neither browsers nor scrapers ask before they have their answer; whoever does, thousands of times, would have all of them made.
    if (answering.has(socket)) {
      socket.destroy();
      return;
    }
    answering.add(socket);
    response.on('close', () => answering.delete(socket));
    answer(site, request, response).catch((error: Error) => response.destroy(error));
  });
  const { port } = await listen(server, address, 'dashboard');
  const everywhere = host === '0.0.0.0' || host === '::';
  return {
    url: `http://${joinAddress(everywhere ? 'localhost' : host, port)}/`,
    address: joinAddress(host, port),
    onObservation(seen) {
      exposition.onObservation(seen);
      stream.touch();
    },
    async close() {
      await stream.close();
      await exposition.close();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

/**
 * Refused, the newest would have to wait for those that say nothing: a few hundred of them made the page blind.
 * @returns keeps a connection from being ended for another one
 */
function limitConnections(server: Server, most: number): (socket: Socket) => void {
  let open = 0;
  /** Those that may be ended, the longest without a request first; one that does not read its answer is among them. */
  const idle = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open++;
    idle.add(socket);
    socket.on('close', () => {
      open--;
      idle.delete(socket);
    });
    if (open > most) for (const oldest of [...idle].slice(0, 1)) oldest.destroy();
  });
  server.prependListener('request', ({ socket }: IncomingMessage) => {
    idle.delete(socket);
    idle.add(socket);
  });
  return (socket) => idle.delete(socket);
}

interface Site {
  readonly host: string;
  readonly status: () => string;
  readonly metrics: () => Promise<string>;
  readonly metricsType: string;
  readonly stream: EventStream;
  readonly files: ReadonlyMap<string, PageFile>;
  /** The connection of a page that watches the run stays. */
  readonly keep: (socket: Socket) => void;
}

async function answer(site: Site, request: IncomingMessage, response: ServerResponse): Promise<void> {
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
  if (!isAllowedHost(site.host, request.headers.host)) {
    say(response, 403, `the dashboard answers to its address and to localhost, not to ${request.headers.host}`);
    return;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    say(response, 405, 'the dashboard is read only');
    return;
  }
  const path = (request.url ?? '/').split('?', 1)[0]!;
  const file = site.files.get(path);
  if (file) send(response, file.type, file.content);
  else if (path === '/events') {
    const id = request.headers['last-event-id'];
    if (!site.stream.add(response, parseCursor(typeof id === 'string' ? id : undefined)))
      say(response, 503, 'too many pages watch this run');
    else if (request.method === 'GET') site.keep(request.socket);
  } else if (path === '/status') send(response, 'application/json', site.status());
  else if (path === '/metrics') send(response, site.metricsType, await site.metrics());
  else if (path === '/healthz') say(response, 200, 'ok');
  else say(response, 404, 'not here; see / , /status , /metrics , /healthz');
}

/** `make`, at most once in FRESH_MS: who asks meanwhile gets what was made. */
function shared<T>(make: () => T, nowMs: () => number): () => T {
  let made: { readonly content: T; readonly atMs: number } | undefined;
  return () => {
    if (made === undefined || nowMs() - made.atMs >= FRESH_MS) made = { content: make(), atMs: nowMs() };
    return made.content;
  };
}

const statusJson = (history: RunHistory): string =>
  JSON.stringify({ ...summaryOf(history), workers: [...history.workers.values()] });

function send(response: ServerResponse, type: string, content: string | Buffer): void {
  response.writeHead(200, { 'content-type': type, 'content-length': Buffer.byteLength(content) });
  response.end(content);
}

function say(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
}
