/** How many cores this process may use. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** The affinity mask's cores, or fewer where the cgroup (v2) grants less CPU time; at least 1. */
export function usableCores(cgroupFile = '/sys/fs/cgroup/cpu.max'): number {
  const cores = availableParallelism();
  try {
    const [quota, period] = readFileSync(cgroupFile, 'utf8').trim().split(' ').map(Number);
    return quota && period ? Math.max(1, Math.min(cores, Math.floor(quota / period))) : cores;
  } catch {
    return cores;
  }
}
