/** A backend that is not exact is never used, and the user is told. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Backend } from '../../kernels/backend.ts';
import { referenceBackend } from '../../kernels/reference.ts';
import { selectBackend, selectFrom } from '../../kernels/select-backend.ts';
import { EXIT } from '../../proto/operating-error.ts';

/** The reference, but for one unit in the last place of one element. */
const brokenUpdate = (closed: { count: number }): Backend => ({
  ...referenceBackend,
  name: 'broken',
  async update(theta, terms, scale, stripes) {
    await referenceBackend.update(theta, terms, scale, stripes);
    new Uint32Array(theta.buffer, theta.byteOffset)[theta.length - 1]! ^= 1;
  },
  async close() {
    closed.count++;
  },
});

const brokenPerturb: Backend = {
  ...referenceBackend,
  async perturb(p, scratch) {
    await referenceBackend.perturb(p, scratch);
    scratch[0] = -scratch[0]!;
  },
};

/** One direction's product is off by a hundred thousandth. */
const brokenProject: Backend = {
  ...referenceBackend,
  async project(...args) {
    return (await referenceBackend.project(...args)).map((g, k) => (k === 3 ? g * 1.00001 : g));
  },
};

describe('the choice of a backend', () => {
  it('takes simd by itself and says why', async () => {
    const { backend, reason } = await selectBackend('auto', 2);
    assert.equal(backend.name, 'simd');
    assert.equal(reason, 'simd, 2 threads: self-check passed');
    await backend.close();
  });

  it('takes the backend that was asked for', async () => {
    for (const choice of ['reference', 'simd', 'gpu-webasm', 'gpu-cpu'] as const) {
      const { backend } = await selectBackend(choice, 1);
      assert.equal(backend.name, choice);
      await backend.close();
    }
  });

  it('refuses a backend whose update differs in one bit, and closes it', async () => {
    const closed = { count: 0 };
    await assert.rejects(selectFrom([['broken', () => brokenUpdate(closed)]], 'broken'), {
      name: 'OperatingError',
      exitCode: EXIT.usage,
      message: /broken refused: update differs from the reference/,
    });
    assert.equal(closed.count, 1);
  });

  it('refuses a backend whose perturbed adapters differ', async () => {
    await assert.rejects(selectFrom([['broken', () => brokenPerturb]], 'broken'), /perturb differs from the reference/);
  });

  it('refuses a backend whose dot products are off by more than rounding', async () => {
    await assert.rejects(
      selectFrom([['broken', () => brokenProject]], 'broken'),
      /project differs .* more than rounding/,
    );
  });

  it('passes over what is broken or cannot run, and says so', async () => {
    const { backend, reason } = await selectFrom(
      [
        [
          'absent',
          () => {
            throw new Error('no adapter');
          },
        ],
        ['broken', () => brokenPerturb],
        ['reference', () => referenceBackend],
      ],
      'auto',
    );
    assert.equal(backend, referenceBackend);
    assert.match(reason, /^reference: self-check passed; absent cannot run here: no adapter; broken refused: /);
  });
});
