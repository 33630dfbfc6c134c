/** What every command does alike. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { it } from 'node:test';
import { drainOnSignal } from '../../cli/command.ts';
import { EXIT } from '../../proto/operating-error.ts';

it('drains for a signal that came while the command was loaded and that nobody has heard yet', async () => {
  const early = (): void => assert.fail('heard by who listened before');
  process.on('SIGTERM', early);
  const later = once(process, 'SIGUSR2');
  // Signals alone keep no process.
  const alive = setInterval(() => {}, 1000);
  // Both wait for the event loop.
  process.kill(process.pid, 'SIGTERM');
  process.kill(process.pid, 'SIGUSR2');
  const { signal } = drainOnSignal();
  await later;
  clearInterval(alive);
  assert.equal(signal.reason?.exitCode, EXIT.drained);
});
