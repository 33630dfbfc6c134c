// A long run under kill -9 beside two members that do all that robustness.md names, in turn; nothing may be lost or wrong. Linux only:
//   node scripts/soak.mjs [--minutes 30] [--out DIR]
import { register } from 'tsx/esm/api';

register();
await import('./soak/soak.ts');
