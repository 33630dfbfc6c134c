/** Ends with 0 when grpc.health.v1.Health/Check says SERVING. Arguments: address, port, service. Without any package. */
import { connect } from 'node:http2';

const [address, port, service] = process.argv.slice(2);
const fail = () => process.exit(1);
const name = Buffer.from(service);
// HealthCheckRequest {service = 1}, after the five bytes of a gRPC frame.
const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
const frame = Buffer.alloc(5);
frame.writeUInt32BE(message.length, 1);
const call = connect(`http://${address}:${port}`).on('error', fail).request({
  ':method': 'POST',
  ':path': '/grpc.health.v1.Health/Check',
  'content-type': 'application/grpc',
  te: 'trailers',
});
const chunks = [];
call.on('error', fail).on('data', (chunk) => chunks.push(chunk));
// HealthCheckResponse {status = 1}: SERVING is 1.
call.on('end', () =>
  process.exit(
    Buffer.concat(chunks)
      .subarray(5)
      .equals(Buffer.from([0x08, 0x01]))
      ? 0
      : 1,
  ),
);
call.end(Buffer.concat([frame, message]));
