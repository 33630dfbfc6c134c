/** The onebyte command, but its processes kill themselves where a test wants it: crash-points.ts says how. Runs compiled alone. */
import { TrainerClient } from '../../proto/gen/onebyte.ts';
import { JoinStreams } from '../../trainer/transport/join-streams.ts';
import { layCrashPoints } from './crash-points.ts';
import { bin } from './onebyte.ts';

layCrashPoints(JoinStreams.prototype, TrainerClient.prototype);
await import(bin);
