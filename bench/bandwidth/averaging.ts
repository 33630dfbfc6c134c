/** Process: the alternative to gradient bytes, over the same gRPC: a server that averages float32 gradients, or one of its workers. */
import { credentials, makeGenericClientConstructor, Server, ServerCredentials } from '@grpc/grpc-js';

/** What the parent process says. A server answers with its port, a worker with the ms of each of its steps. */
export type AveragingAssignment =
  | { readonly role: 'server'; readonly host: string; readonly workers: number }
  | { readonly role: 'worker'; readonly address: string; readonly elements: number; readonly steps: number };

const bytes = (data: Buffer): Buffer => data;
const service = {
  average: {
    path: '/onebyte.bench.Averaging/Average',
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  },
} as const;
const UNLIMITED = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };

function serve(host: string, workers: number): void {
  type Reply = (error: null, mean: Buffer) => void;
  let waiting: { gradient: Float32Array; reply: Reply }[] = [];
  const server = new Server(UNLIMITED);
  server.addService(service, {
    average: ({ request }: { request: Buffer }, reply: Reply) => {
      waiting.push({ gradient: new Float32Array(Uint8Array.from(request).buffer), reply });
      if (waiting.length < workers) return;
      const mean = waiting[0]!.gradient.map((_, i) => waiting.reduce((sum, { gradient }) => sum + gradient[i]!, 0));
      const answer = Buffer.from(mean.map((sum) => sum / workers).buffer);
      for (const each of waiting) each.reply(null, answer);
      waiting = [];
    },
  });
  server.bindAsync(`${host}:0`, ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    process.send?.(port);
  });
}

async function work(address: string, elements: number, steps: number): Promise<void> {
  const Client = makeGenericClientConstructor(service, 'Averaging');
  const client = new Client(address, credentials.createInsecure(), UNLIMITED);
  const gradient = Buffer.from(Float32Array.from({ length: elements }, (_, i) => Math.sin(i)).buffer);
  const ms: number[] = [];
  for (let step = 0; step < steps; step++) {
    const begin = performance.now();
    await new Promise<void>((resolve, reject) => {
      client.average!(gradient, (error: Error | null) => (error ? reject(error) : resolve()));
    });
    ms.push(performance.now() - begin);
  }
  client.close();
  process.send?.(ms);
}

process.once('message', (assignment: AveragingAssignment) => {
  process.once('disconnect', () => process.exit());
  if (assignment.role === 'server') return serve(assignment.host, assignment.workers);
  work(assignment.address, assignment.elements, assignment.steps).catch((error) => {
    throw error;
  });
});
