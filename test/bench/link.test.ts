import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DelayLine, withHeaders } from '../../bench/bandwidth/link.ts';

const payload = (bytes: number) => ({ length: bytes });
/** 66 bytes of headers and 934 of payload: a second at 8 kbit/s. */
const ONE_SECOND = payload(934);

test('a message takes its bytes at the rate, headers included, and half the round trip', () => {
  const line = new DelayLine({ rate: 8000, roundTripMs: 300 });
  line.enter(5000, ONE_SECOND);
  assert.equal(line.nextMs, 6150);
  assert.deepEqual(line.leave(6149), []);
  assert.deepEqual(line.leave(6150), [ONE_SECOND]);
  assert.equal(line.nextMs, undefined);
});

test('messages wait for those before them, and the delay of one overlaps with the sending of the next', () => {
  const line = new DelayLine({ rate: 8000, roundTripMs: 4000 });
  line.enter(0, ONE_SECOND);
  line.enter(0, ONE_SECOND);
  line.enter(10_000, ONE_SECOND);
  assert.deepEqual([line.leave(2999).length, line.leave(3000).length, line.leave(4000).length], [0, 1, 1]);
  assert.equal(line.nextMs, 13_000);
});

test('a line without a rate delays alone', () => {
  const line = new DelayLine({ rate: Number.POSITIVE_INFINITY, roundTripMs: 50 });
  line.enter(100, payload(1e6));
  assert.equal(line.nextMs, 125);
});

test('payload on the way is counted until it leaves', () => {
  const line = new DelayLine({ rate: 8000, roundTripMs: 0 });
  line.enter(0, payload(934));
  line.enter(0, payload(10));
  assert.equal(line.bytes, 944);
  line.leave(1000);
  assert.equal(line.bytes, 10);
});

test('every full segment brings headers of its own', () => {
  assert.deepEqual([withHeaders(1), withHeaders(1448), withHeaders(1449)], [67, 1514, 1581]);
});
