/** Network addresses as users write them, and which of them are this machine alone. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { isLoopback, joinAddress, splitAddress } from '../../platform/address.ts';

it('an address is split and joined again', () => {
  for (const [address, host, port] of [
    ['127.0.0.1:0', '127.0.0.1', 0],
    ['trainer.example:65535', 'trainer.example', 65_535],
    ['[::1]:50051', '::1', 50_051],
  ] as const) {
    assert.deepEqual(splitAddress(address), { host, port });
    assert.equal(joinAddress(host, port), address);
  }
});

for (const address of ['trainer.example', 'trainer.example:', ':50051', '::1:50051', '[::1]', 'trainer:65536', 'a:1:2'])
  it(`what is none is refused: ${address}`, () =>
    assert.throws(() => splitAddress(address), {
      exitCode: 2,
      message: /expected host:port, or \[IPv6\]:port, port 0…65535$/,
    }));

it('loopback is told by the whole address: a name may begin like one', () => {
  const own = ['127.0.0.1', '127.9.9.9', '::1', 'localhost'];
  const others = ['127.0.0.1.example', '128.0.0.1', '12.0.0.1', '0.0.0.0', '::', '::2', 'localhost.example', ''];
  assert.deepEqual([...own, ...others].map(isLoopback), [...own.map(() => true), ...others.map(() => false)]);
});
