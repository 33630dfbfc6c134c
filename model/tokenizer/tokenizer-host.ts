/** The other side of tokenizer-process.ts: starts it when it is needed, asks, and makes errors of how it ends. */
import { type Deferred, deferred } from '../../platform/deferred.ts';
import { forkModule } from '../../platform/fork-module.ts';
import { EXIT, OperatingError, usageError } from '../../proto/operating-error.ts';
import type { Chat } from './chat-template.ts';
import type { EncodedChat, EncodedText, Refused } from './rust-tokenizer.ts';
import type { TokenizerReply, TokenizerRequest } from './tokenizer-process.ts';

/** What the process writes before it ends is kept up to here, in characters. */
const MAX_STDERR = 2 ** 16;
/** A large tokenizer.json takes a part of it; a chat template may ask for any amount. */
const HEAP = '--max-old-space-size=2048';
/** A panic of the library: where, then why. */
const PANIC = /panicked at [^\n]*\n([^\n]*)/;
/** What V8 says last where no memory is left, or a list outgrows it. */
const TOO_LARGE = /FATAL ERROR: |Fatal JavaScript invalid size error/;

type LoadRequest = Extract<TokenizerRequest, { kind: 'load' }>;

/** One tokenizer.json in a process of its own, which runs from a request until `stop` and does not keep this one alive. */
export class TokenizerHost {
  private readonly loading: LoadRequest;
  private running: Running | undefined;
  /** Settles when no request is under way. */
  private idle: Promise<unknown> = Promise.resolve();

  constructor(loading: LoadRequest) {
    this.loading = loading;
  }

  /** The id of the request's eosToken; undefined for an unknown one. @throws OperatingError (usage) that names the file */
  async load(): Promise<number | undefined> {
    const { file } = this.loading;
    this.running = startProcess();
    const reply = await this.running.ask(this.loading).catch((error: unknown) => {
      throw asPanic(error, `${file}: not a tokenizer that is supported`);
    });
    if (reply.kind === 'loaded') return reply.eosId;
    this.stop();
    const reason = reply.kind === 'failed' ? reply.reason : reply.kind;
    throw usageError(reason.startsWith(file) ? reason : `${file}: not a tokenizer that is supported: ${reason}`);
  }

  /** @throws OperatingError (usage) that names the file and the text; one text is tried after the other to find it */
  encode(texts: readonly string[]): Promise<readonly EncodedText[]> {
    return this.inTurn('encode', texts, async (texts) => {
      const reply = await this.running!.ask({ kind: 'encode', texts });
      return reply.kind === 'encoded' ? reply.texts : reply;
    });
  }

  /** @throws as `encode`; a chat that is refused is told in its place */
  encodeChats(chats: readonly Chat[], asPrompts: boolean): Promise<readonly (EncodedChat | Refused)[]> {
    return this.inTurn('encode', chats, async (chats) => {
      const reply = await this.running!.ask({ kind: 'encodeChats', chats, asPrompts });
      return reply.kind === 'encodedChats' ? reply.chats : reply;
    });
  }

  /** @throws OperatingError (usage) that names the file and the ids */
  decode(rows: readonly (readonly number[])[]): Promise<readonly string[]> {
    return this.inTurn('decode', rows, async (rows) => {
      const reply = await this.running!.ask({ kind: 'decode', rows });
      return reply.kind === 'decoded' ? reply.texts : reply;
    });
  }

  stop(): void {
    this.running?.stop();
    this.running = undefined;
  }

  /** One call after the other, since the process answers one request at a time. */
  private inTurn<Given, Got>(verb: string, given: readonly Given[], ask: Ask<Given, Got>): Promise<readonly Got[]> {
    const result = this.idle.then(() => this.askNow(verb, given, ask));
    this.idle = result.catch(() => {});
    return result;
  }

  private async askNow<Given, Got>(
    verb: string,
    given: readonly Given[],
    ask: Ask<Given, Got>,
  ): Promise<readonly Got[]> {
    const where = `${this.loading.file}: cannot ${verb} ${JSON.stringify(given[0])?.slice(0, 100)}`;
    let failure: unknown;
    try {
      if (this.running === undefined) await this.load();
      const reply = await ask(given);
      if (!('kind' in reply)) return reply;
      failure = usageError(`${where}: ${reply.kind === 'failed' ? reply.reason : reply.kind}`);
    } catch (error) {
      this.stop();
      failure = asPanic(error, where);
    }
    if (given.length > 1) for (const one of given) await this.askNow(verb, [one], ask);
    throw failure;
  }
}

/** Asks the process that runs; anything but the answer that is hoped for is handed back. */
type Ask<Given, Got> = (given: readonly Given[]) => Promise<readonly Got[] | TokenizerReply>;

/** A process that was started. */
interface Running {
  /** One request at a time. @throws ProcessEnded when the process ends, or has ended, without an answer */
  ask(request: TokenizerRequest): Promise<TokenizerReply>;
  stop(): void;
}

function startProcess(): Running {
  const child = forkModule(new URL('./tokenizer-process', import.meta.url), [], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'advanced',
    env: { ...process.env, RUST_BACKTRACE: '0', NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} ${HEAP}` },
    // Ctrl-C in a terminal reaches this process alone.
    detached: true,
  });
  let said = '';
  let waiting: Deferred<TokenizerReply> | undefined;
  let ended: Error | undefined;
  const end = (error: Error): void => {
    ended ??= error;
    waiting?.reject(ended);
  };
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < MAX_STDERR) said += text;
  });
  child.on('message', (reply: TokenizerReply) => waiting?.resolve(reply));
  child.on('error', end);
  child.on('close', (code, signal) => end(new ProcessEnded(code ?? signal, said)));
  const stderr = child.stderr as unknown as { ref(): void; unref(): void };
  /** Whether the process keeps this one alive. */
  const hold = (held: boolean): void => {
    for (const handle of [child, stderr, child.channel]) handle?.[held ? 'ref' : 'unref']();
  };
  return {
    async ask(request) {
      if (ended) throw ended;
      waiting = deferred();
      hold(true);
      // When it cannot be sent, `close` says why.
      child.send(request, () => {});
      try {
        return await waiting.promise;
      } finally {
        waiting = undefined;
        hold(false);
      }
    },
    stop: () => void child.kill('SIGKILL'),
  };
}

class ProcessEnded extends Error {
  /** What the library said, or what V8 said of the memory; undefined for any other end. */
  readonly reason?: string;

  constructor(how: number | string | null, said: string) {
    super(`the tokenizer's process ended with ${how}: ${said.trim().slice(-500)}`);
    const panic = PANIC.exec(said)?.[1];
    if (panic !== undefined) this.reason = `the tokenizers library gave up: ${panic.slice(0, 500)}`;
    else if (TOO_LARGE.test(said)) this.reason = 'it takes more memory than there is for it';
  }
}

/** A panic at somebody's file or text, or a chat template that fills the memory, is theirs to mend; any other end is not. */
function asPanic(error: unknown, where: string): unknown {
  if (!(error instanceof ProcessEnded)) return error;
  if (error.reason === undefined) return new OperatingError(EXIT.internal, `${where}: ${error.message}`);
  return usageError(`${where}: ${error.reason}`, { cause: error });
}
