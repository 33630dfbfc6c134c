/** A server at 127.0.0.1 that speaks the Hugging Face Hub's routes for one model, and can be made to fail. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const NAME = 'org/tiny';

export interface HubServer {
  readonly endpoint: string;
  /** Files sent, with the first byte asked for, in order. */
  readonly sent: { file: string; start: number }[];
  readonly tokens: Set<string | undefined>;
  /** Called for each answer: a status to answer with, or how many bytes of the data to send before the connection breaks. */
  fault: (path: string) => { status?: number; bytes?: number } | undefined;
  close(): Promise<void>;
}

/** Serves `files`; those that end in .safetensors as LFS files are, by sha-256. Closed after the test. */
export async function hubServer(test: TestContext, files: ReadonlyMap<string, Buffer>): Promise<HubServer> {
  const server = createServer((request, response) => answer(request, response));
  const hub: HubServer = {
    endpoint: '',
    sent: [],
    tokens: new Set(),
    fault: () => undefined,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
  function answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? '', 'http://x');
    hub.tokens.add(request.headers.authorization);
    const fault = hub.fault(pathname);
    const json = (status: number, value: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    };
    const file = pathname.startsWith(`/${NAME}/resolve/${COMMIT}/`) ? pathname.split('/').slice(5).join('/') : '';
    const data = files.get(file);
    if (fault?.status !== undefined) json(fault.status, { error: 'no' });
    else if (/^\/api\/models\/org\/tiny\/revision\/(main|[0-9a-f]{40})$/.test(pathname))
      json(200, { _id: 'x', id: NAME, sha: COMMIT, lastModified: '2026-01-01T00:00:00Z' });
    else if (pathname === `/api/models/${NAME}/tree/${COMMIT}`) json(200, Array.from(files, entry));
    else if (data !== undefined) send(file, data, request, response, fault?.bytes);
    else json(404, { error: 'Repository not found' });
  }
  function send(file: string, data: Buffer, request: IncomingMessage, response: ServerResponse, bytes?: number): void {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const start = Number(from ?? 0);
    const part = data.subarray(start, to === undefined ? data.length : Number(to) + 1);
    const asked = { etag: `"${entry([file, data]).oid}"`, 'content-length': part.length };
    const range = { 'content-range': `bytes ${start}-${start + part.length - 1}/${data.length}` };
    response.writeHead(from === undefined ? 200 : 206, from === undefined ? asked : { ...asked, ...range });
    const isProbe = from === '0' && to === '0';
    if (!isProbe) hub.sent.push({ file, start });
    if (bytes === undefined || isProbe) response.end(part);
    else response.write(part.subarray(0, bytes), () => response.destroy());
  }
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  test.after(() => hub.close());
  return Object.assign(hub, { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

function entry([path, data]: [string, Buffer]) {
  const git = createHash('sha1').update(`blob ${data.length}\0`).update(data).digest('hex');
  const lfs = { oid: createHash('sha256').update(data).digest('hex'), size: data.length, pointerSize: 130 };
  return { type: 'file', path, size: data.length, oid: git, ...(path.endsWith('.safetensors') ? { lfs } : {}) };
}
