// The onebyte command, but its processes kill themselves where a test wants it: crash-points.ts says how.
import { register } from 'tsx/esm/api';

register();
await import('./crash-points.ts');
await import('../../cli/main.ts');
