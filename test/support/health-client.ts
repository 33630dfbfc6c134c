/** A client of grpc.health.v1, as the kubelet has one. */
import * as grpc from '@grpc/grpc-js';
import { service as definition } from 'grpc-health-check';

interface HealthClient extends grpc.Client {
  check(request: { service: string }, options: object, reply: (error: Error | null, response: Answer) => void): void;
}
interface Answer {
  readonly status: string;
}

const Client = grpc.makeClientConstructor(definition as grpc.ServiceDefinition, 'Health') as unknown as new (
  address: string,
  credentials: grpc.ChannelCredentials,
) => HealthClient;

/** The status of `service` at `address`: SERVING, NOT_SERVING. Rejects when there is no answer within 2 s. */
export async function checkHealth(address: string, service: string): Promise<string> {
  const client = new Client(address, grpc.credentials.createInsecure());
  try {
    return await new Promise((resolve, reject) =>
      client.check({ service }, { deadline: Date.now() + 2000 }, (error, response) =>
        error ? reject(error) : resolve(response.status),
      ),
    );
  } finally {
    client.close();
  }
}
