/** Models by name, from a local server that speaks the Hub's routes: what is fetched, resumed, cached and refused. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { type DownloadProgress, type ResolveOptions, resolveModel } from '../../../model/hub/hub.ts';
import { hubNameOf } from '../../../model/hub/hub-cache.ts';
import { downloadBlob } from '../../../model/hub/hub-download.ts';
import { openChatTemplate } from '../../../model/tokenizer/chat-template.ts';
import { loadTokenizer } from '../../../model/tokenizer/tokenizer.ts';
import { COMMIT, hubServer } from '../../support/hub-server.ts';
import { tinyReviews } from '../../support/onebyte.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const TINY = join(tinyReviews, 'model/');
const MODEL_FILES = [
  'config.json',
  'generation_config.json',
  'model.safetensors',
  'tokenizer.json',
  'tokenizer_config.json',
];
const tiny = new Map(MODEL_FILES.map((name) => [name, readFileSync(join(TINY, name))]));
const UNREACHABLE = 'http://127.0.0.1:1';

async function hubOf(test: TestContext, files: ReadonlyMap<string, Buffer> = tiny) {
  const hub = await hubServer(test, files);
  const home = temporaryDirectory();
  const resolve = (change: Record<string, string> = {}, options: ResolveOptions = {}, name = 'org/tiny') =>
    resolveModel(name, {
      retryMs: [0, 0],
      ...options,
      environment: { HF_HOME: home, HF_ENDPOINT: hub.endpoint, ...change },
    });
  return { hub, home, resolve, blobs: join(home, 'hub', 'models--org--tiny', 'blobs') };
}
const refused = (promise: Promise<unknown>, message: RegExp) =>
  assert.rejects(promise, { name: 'OperatingError', message });

describe('a model by name', () => {
  it('is downloaded into the usual cache: only what a model directory needs', async (t) => {
    const more = ['README.md', 'pytorch_model.bin', 'consolidated.safetensors', 'onnx/config.json', 'model.onnx'];
    const { hub, home, resolve } = await hubOf(
      t,
      new Map([...tiny, ...more.map((name) => [name, Buffer.from('x')] as const)]),
    );
    const directory = await resolve();
    assert.equal(directory, join(home, 'hub', 'models--org--tiny', 'snapshots', COMMIT));
    assert.equal(hubNameOf(directory), 'org/tiny');
    assert.equal(hubNameOf('/home/someone/tiny'), undefined);
    assert.deepEqual(readdirSync(directory).sort(), MODEL_FILES);
    for (const [name, data] of tiny) assert.deepEqual(readFileSync(join(directory, name)), data);
    assert.equal(readFileSync(join(home, 'hub/models--org--tiny/refs/main'), 'utf8'), COMMIT);
    const tokenizer = await loadTokenizer(directory);
    assert.equal((await tokenizer.encode(['It was'])).length, 1);
    tokenizer.close();
    assert.deepEqual(hub.sent.map(({ file }) => file).sort(), MODEL_FILES);
  });

  it('comes with its chat templates and the file of its special tokens', async (t) => {
    const files = {
      'chat_template.jinja': 'd{{ bos_token }}',
      'additional_chat_templates/tool_use.jinja': 't{{ bos_token }}',
      'special_tokens_map.json': '{"bos_token": "<old>"}',
    };
    const texts = Object.entries(files).map(([name, text]) => [name, Buffer.from(text)] as const);
    const { resolve } = await hubOf(t, new Map([...tiny, ...texts]));
    const directory = await resolve();
    const messages = [{ role: 'user', content: 'a' }];
    assert.equal(openChatTemplate(directory)?.render({ messages }).text, 'd<old>');
    assert.equal(openChatTemplate(directory, true)?.render({ messages }).text, 't<old>');
  });

  it('is not fetched again, and without network the cached one is taken and that is said', async (t) => {
    const { hub, resolve } = await hubOf(t);
    const directory = await resolve();
    hub.sent.length = 0;
    assert.equal(await resolve(), directory);
    assert.equal(await resolve({ HF_HUB_OFFLINE: '1', HF_ENDPOINT: UNREACHABLE }), directory);
    const notices: string[] = [];
    assert.equal(
      await resolve({ HF_ENDPOINT: UNREACHABLE }, { onNotice: (notice) => notices.push(notice) }),
      directory,
    );
    assert.match(notices.join(), /127.0.0.1:1 cannot be used: .*; the cached model is used/);
    assert.deepEqual(hub.sent, []);
  });

  it('may name a commit', async (t) => {
    const { resolve } = await hubOf(t);
    const directory = await resolve({}, {}, `org/tiny@${COMMIT}`);
    assert.equal(await resolve({ HF_HUB_OFFLINE: 'true' }, {}, `org/tiny@${COMMIT}`), directory);
  });

  it('in shards is fetched whole, and is no whole model while a shard is missing', async (t) => {
    const index = { weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } };
    const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
    const files = new Map([
      ...[...tiny].filter(([name]) => name !== 'model.safetensors'),
      ['model.safetensors.index.json', Buffer.from(JSON.stringify(index))] as const,
      ...shards.map((name) => [name, Buffer.alloc(3000, name)] as const),
    ]);
    const { hub, resolve } = await hubOf(t, files);
    hub.fault = (path) =>
      path.endsWith('00002.safetensors') && path.includes('00002-of') ? { status: 500 } : undefined;
    await refused(resolve(), /answers 500/);
    await refused(resolve({ HF_HUB_OFFLINE: '1' }), /does not hold the whole model/);
    hub.fault = () => undefined;
    assert.deepEqual(readdirSync(await resolve()).sort(), [...files.keys()].sort());
  });

  it('goes on where the connection broke, within a run and in the next', async (t) => {
    const { hub, resolve, blobs } = await hubOf(t);
    const size = tiny.get('model.safetensors')!.length;
    hub.fault = (path) => (path.endsWith('model.safetensors') ? { bytes: 300_000 } : undefined);
    await resolve();
    const starts = () => hub.sent.filter(({ file }) => file === 'model.safetensors').map(({ start }) => start);
    assert(starts().length >= Math.floor(size / 300_000) && starts()[1]! > 0, `${starts()}`);

    const second = await hubOf(t);
    second.hub.fault = (path) => (path.endsWith('model.safetensors') ? { bytes: 0 } : undefined);
    await refused(second.resolve(), /cannot be used/);
    const name = readdirSync(blobs).find((blob) => blob.length === 64)!;
    writeFileSync(join(second.blobs, `${name}.incomplete`), tiny.get('model.safetensors')!.subarray(0, 1000));
    second.hub.fault = () => undefined;
    second.hub.sent.length = 0;
    await second.resolve();
    assert.deepEqual(second.hub.sent, [{ file: 'model.safetensors', start: 1000 }]);
  });

  it('goes on only when what came before the break has been written', async () => {
    const data = Buffer.alloc(1 << 26, 'onebyte');
    const etag = createHash('sha256').update(data).digest('hex');
    const starts: number[] = [];
    const remote = {
      name: 'large',
      bytes: data.length,
      etag,
      async open(start: number) {
        const breaks = starts.push(start) === 1;
        const chunks = breaks ? [data.subarray(0, -1)] : [data.subarray(start)];
        return new ReadableStream<Uint8Array>({
          pull(controller) {
            const chunk = chunks.pop();
            if (chunk !== undefined) controller.enqueue(chunk);
            else if (breaks) controller.error(new Error('the connection broke'));
            else controller.close();
          },
        });
      },
    };
    const blob = join(temporaryDirectory(), etag);
    await downloadBlob(remote, blob, { onBytes: () => {}, retryMs: [0, 0], signal: undefined });
    assert.deepEqual(starts, [0, data.length - 1]);
  });

  it('reports its progress over all files', async (t) => {
    const { resolve } = await hubOf(t);
    const seen: DownloadProgress[] = [];
    await resolve({}, { onProgress: (progress) => seen.push(progress) });
    const total = [...tiny.values()].reduce((sum, { length }) => sum + length, 0);
    assert(seen.every(({ bytes, totalBytes }, i) => totalBytes === total && bytes >= (seen[i - 1]?.bytes ?? 0)));
    assert.equal(seen.at(-1)?.bytes, total);
  });

  it('is asked for with the token, of HF_TOKEN or of the file that a login left', async (t) => {
    const { hub, home, resolve } = await hubOf(t);
    await resolve({ HF_TOKEN: 'hf_a' });
    assert.deepEqual([...hub.tokens], ['Bearer hf_a']);
    writeFileSync(join(home, 'token'), 'hf_b\n');
    await resolve();
    assert.deepEqual([...hub.tokens], ['Bearer hf_a', 'Bearer hf_b']);
  });

  it('is waited for while another fetches it, but not where that process died', async (t) => {
    const { hub, resolve, blobs } = await hubOf(t);
    const digest = createHash('sha256').update(tiny.get('model.safetensors')!).digest('hex');
    mkdirSync(blobs, { recursive: true });
    const lock = join(blobs, `${digest}.lock`);
    writeFileSync(lock, '');
    utimesSync(lock, 0, 0);
    const [first, second] = await Promise.all([resolve(), resolve()]);
    assert.equal(first, second);
    assert.equal(hub.sent.length, MODEL_FILES.length);
  });
});

describe('a model is refused with what to do', () => {
  it('when the Hub does not give it', async (t) => {
    const { hub, resolve } = await hubOf(t);
    hub.fault = () => ({ status: 401 });
    await refused(resolve(), /org\/tiny: .* refuses it \(401\): .* set HF_TOKEN to a token/);
    await refused(resolve({ HF_TOKEN: 'hf_x' }), /the token in HF_TOKEN may not read it/);
    hub.fault = () => ({ status: 403 });
    await refused(resolve(), /\(403\): .*licence must be accepted/);
    hub.fault = () => undefined;
    await refused(resolve({}, {}, 'org/other'), /org\/other: .* no such model or revision \(404\); check the name/);
    await refused(resolve({}, {}, 'org/tiny@nowhere'), /\(404\)/);
  });

  it('when it is offline, unreachable or no name at all', async (t) => {
    const { resolve } = await hubOf(t);
    await refused(resolve({ HF_HUB_OFFLINE: 'ON' }), /HF_HUB_OFFLINE is set and .*hub does not hold the whole model/);
    await refused(
      resolve({ HF_ENDPOINT: UNREACHABLE }),
      /127.0.0.1:1 cannot be used: .*name a directory, or try again$/,
    );
    const proxied = { HF_ENDPOINT: UNREACHABLE, https_proxy: 'http://proxy.example:3128' };
    await refused(resolve(proxied), /try again\. https_proxy is set, but .* with NODE_USE_ENV_PROXY=1 alone/);
    // Node.js learnt both at once.
    const isHeeded = process.allowedNodeEnvironmentFlags.has('--use-env-proxy');
    const asked = isHeeded ? /try again$/ : /try again\. https_proxy is set, but .* \(this is v\d/;
    await refused(resolve({ ...proxied, NODE_USE_ENV_PROXY: '1' }), asked);
    for (const name of ['no-such-directory', './a/b', '../a/b', 'a/b/c', 'org/na me', ''])
      await refused(resolve({}, {}, name), /no such directory, and not a name on the Hugging Face Hub/);
    await refused(resolve({}, {}, join(TINY, 'config.json')), /is a file, expected the directory/);
  });

  it('when it has no weights that can be read', async (t) => {
    const { resolve } = await hubOf(
      t,
      new Map([
        ['config.json', Buffer.from('{}')],
        ['pytorch_model.bin', Buffer.from('x')],
      ]),
    );
    await refused(resolve(), /no model.safetensors; other weight formats are not read/);
  });

  it('when the data is not what its digest says, and nothing of it stays', async (t) => {
    const files = new Map(tiny);
    const { hub, resolve, blobs } = await hubOf(t, files);
    hub.fault = (path) => {
      if (path.endsWith('/tokenizer.json'))
        files.set('tokenizer.json', Buffer.alloc(tiny.get('tokenizer.json')!.length, 'x'));
      return undefined;
    };
    await refused(resolve(), /org\/tiny\/tokenizer.json: what was downloaded does not have the digest/);
    assert.deepEqual(
      readdirSync(blobs).filter((name) => name.includes('.')),
      [],
    );
  });

  it('when its signal is aborted, with the reason of the signal', async (t) => {
    const { resolve } = await hubOf(t);
    const reason = new Error('stop');
    await assert.rejects(resolve({}, { signal: AbortSignal.abort(reason) }), reason);
  });
});

describe('a local directory', () => {
  it('is taken as it is, whatever the environment says', async () => {
    assert.equal(await resolveModel(TINY, { environment: { HF_ENDPOINT: UNREACHABLE, HF_HUB_OFFLINE: '1' } }), TINY);
  });
});
