// The onebyte command, but its processes kill themselves where a test wants it: crash-points.ts says how.
import { register } from 'tsx/esm/api';

const compiled = process.env.ONEBYTE_COMPILED !== undefined;
const product = (module) =>
  import(new URL(compiled ? `../../dist/${module}.js` : `../../${module}.ts`, import.meta.url));

const unregister = register();
const { layCrashPoints } = await import('./crash-points.ts');
if (compiled) await unregister();
const { JoinStreams } = await product('trainer/transport/join-streams');
const { TrainerClient } = await product('proto/gen/onebyte');
layCrashPoints(JoinStreams.prototype, TrainerClient.prototype);
await product('cli/main');
