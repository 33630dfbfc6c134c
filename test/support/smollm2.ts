/** SmolLM2-135M-Instruct where its example keeps it: `scripts/install-test-tools.sh` puts it there, as does who runs the example. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './onebyte.ts';

export const smollm2Directory = join(root, 'examples/smollm2-sentiment/model');

/** The `skip` of tests that need it. */
export const skipWithoutSmollm2 =
  !existsSync(join(smollm2Directory, 'model.safetensors')) &&
  'SmolLM2 is not here (269 MB): examples/smollm2-sentiment/fetch-model.sh';
