/** The API server, spoken to as a node. */
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';

export const STRATEGIC_MERGE = 'application/strategic-merge-patch+json';
export const MERGE = 'application/merge-patch+json';

/** Reads a kubeconfig in JSON. @returns request, get, listWatch */
export function connect(kubeconfig) {
  const { clusters, users } = JSON.parse(readFileSync(kubeconfig, 'utf8'));
  const { server, 'certificate-authority-data': authority } = clusters[0].cluster;
  const { 'client-certificate-data': certificate, 'client-key-data': clientKey } = users[0].user;
  const [ca, cert, key] = [authority, certificate, clientKey].map((text) => Buffer.from(text, 'base64'));
  const agent = new https.Agent({ keepAlive: true, ca, cert, key });

  /** Resolves with the parsed answer; rejects with an error whose `code` is the HTTP status. */
  const request = (method, path, body, type = 'application/json') =>
    new Promise((resolve, reject) => {
      const data = body ? JSON.stringify(body) : '';
      // Node.js leaves the length of a DELETE's body out.
      const headers = body ? { 'content-type': type, 'content-length': Buffer.byteLength(data) } : {};
      const call = https.request(server + path, { method, agent, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => {
          const answer = text.startsWith('{') ? JSON.parse(text) : text;
          if (response.statusCode < 300) resolve(answer);
          else {
            const message = `${method} ${path}: ${response.statusCode} ${answer.message ?? text}`;
            reject(Object.assign(new Error(message), { code: response.statusCode }));
          }
        });
      });
      call.on('error', reject);
      call.end(data);
    });
  const get = (path) => request('GET', path);

  const watch = (path, from, onEvent) =>
    new Promise((resolve, reject) => {
      const separator = path.includes('?') ? '&' : '?';
      const query = `watch=1&allowWatchBookmarks=true&resourceVersion=${from}`;
      const onResponse = (response) => {
        let rest = '';
        response.setEncoding('utf8').on('data', (chunk) => {
          const lines = (rest + chunk).split('\n');
          rest = lines.pop();
          for (const line of lines) {
            const { type, object } = JSON.parse(line);
            if (type === 'ERROR') response.destroy(new Error(object.message));
            else if (type !== 'BOOKMARK') onEvent(type, object);
          }
        });
        response.on('end', resolve).on('error', reject);
      };
      https.get(`${server}${path}${separator}${query}`, { agent }, onResponse).on('error', reject);
    });

  /** Lists, then watches, again and again for ever. */
  const listWatch = async (path, onList, onEvent) => {
    for (;;)
      try {
        const { items, metadata } = await get(path);
        onList(items);
        await watch(path, metadata.resourceVersion, onEvent);
      } catch (error) {
        log('watch', path, error.message);
        await pause(500);
      }
  };
  return { request, get, listWatch };
}

export const log = (...words) => console.log(new Date().toISOString(), ...words);

/** The time as the API writes it. */
export const now = () => new Date().toISOString().replace(/\.\d+Z/, 'Z');
