/** Logs of older formats: they replay to the states that the version which wrote them reached. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { referenceBackend } from '../../../kernels/reference.ts';
import { replicaDigest } from '../../../kernels/replica.ts';
import { replayLog } from '../../../trainer/store/replay.ts';
import { readRoundLog } from '../../../trainer/store/round-log.ts';
import { goldenFiles } from '../../support/onebyte.ts';

interface OldLog {
  readonly format: number;
  readonly writtenBy: string;
  /** Replica digests after 0, 1, … 6 records, by that version. */
  readonly digests: readonly string[];
}

/**
 * Made by: onebyte simulate examples/tiny-reviews/run.yaml --seed 9007199254740881 --rounds 6 --workers 3
 * with adapter rank 1 and targets [q_proj], and learning directions 32, rows 1, estimator oneSided, maxStaleness 1 (the name
 * of the base model was shortened). Records hold up to 672 bytes, more than the cap of 64, and bytes of the round before.
 */
const LOGS: readonly OldLog[] = [
  {
    format: 2,
    writtenBy: 'version 0.1.0',
    digests: [
      '5c64b27df708033f9d1096da5cb6f8c178dd0f40af34f190f429ed7590ce4e1e',
      '0f2a58566e2f7da4b4b4a70fe024830d4b8e020978dd101e3d4ee82404964d17',
      '6be4b21a9dfbb8f2278263c2bfd6ba9c936b2c48dd757c0ca71ef02d0927977b',
      'd1012b2dedda14a9c7a43870157670772e5f470a1d18ab26e8e31a31d5a04d15',
      '089fc911dcf8e322eb3c1b0d2e0b25c89e0619b73f19309588819632b187cb45',
      '940320f6ba8c1e0df4c0a05f02ade9f6ef46c897a4081999aa8626a123c5671e',
      '698334a1f91ddfe0342c673ff52297dcbbc824b1a489e8735a38525b1c8de5f8',
    ],
  },
  {
    format: 3,
    writtenBy: 'the sources before format 4',
    digests: [
      '5c64b27df708033f9d1096da5cb6f8c178dd0f40af34f190f429ed7590ce4e1e',
      '48f8b33c6f5816e05947f1d945168dd739235b693a950b688233bb3dce7d9144',
      '00a67d487b31f31b00fb25dbeea4a5d493755d336524e45336236b676e3357d2',
      'd4f9bca88e3dcf0142fa07cc010a07fc8162e4076e3500ed60979745ac7cda6f',
      'bcf4624b663a8d8f30cafc0d23b1cf26b694ba33f87374e085de4f279463ed28',
      'b97da8209155927ce97ab5081b2ebb5a3e1946fe42cc514cdf35017871b0d738',
      '3bc5579432f919050da436ee50f2037f7e17f3a7e148af72c8f786f7806ea6c4',
    ],
  },
];

for (const { format, writtenBy, digests } of LOGS)
  it(`a log of format ${format} replays to the digests of ${writtenBy}`, async () => {
    const log = await readRoundLog(join(goldenFiles, `round-logs/format-${format}.log`));
    assert.equal(log.header.format, format);
    for (const [round, digest] of digests.entries()) {
      const { replica } = await replayLog(log, referenceBackend, round);
      assert.equal(replicaDigest(replica).toString('hex'), digest, `after ${round} records`);
    }
  });
