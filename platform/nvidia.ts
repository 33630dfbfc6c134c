/** NVIDIA GPUs of this machine: how many this process may use, and how they multiply. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

/**
 * Those that CUDA_VISIBLE_DEVICES names, where it is set, else the device files of the driver: `/dev/nvidia0`, `/dev/nvidia1` …
 * None where there is no driver.
 */
export function nvidiaGpus(env: NodeJS.ProcessEnv = process.env, devices = '/dev'): number {
  const visible = env.CUDA_VISIBLE_DEVICES;
  const files = readdirSync(devices).filter((name) => /^nvidia\d+$/.test(name)).length;
  if (visible === undefined) return files;
  return Math.min(files, visible.split(',').filter((name) => name.trim() !== '').length);
}

/** Bytes of the memory of GPU `device`, counted as CUDA does; undefined where the driver's `nvidia-smi` does not say. */
export function nvidiaMemory(device: number, env: NodeJS.ProcessEnv = process.env): number | undefined {
  const name = env.CUDA_VISIBLE_DEVICES?.split(',')[device]?.trim() ?? String(device);
  const query = ['--query-gpu=memory.total', '--format=csv,noheader,nounits', '-i', name];
  const { stdout } = spawnSync('nvidia-smi', query, { encoding: 'utf8', env });
  const mebibytes = Number.parseInt(stdout ?? '', 10);
  return Number.isNaN(mebibytes) ? undefined : mebibytes * 2 ** 20;
}

/** The variable that NVIDIA's libraries read when CUDA starts: 0 keeps products of float32 from being made of rounded factors. */
export const TF32_OVERRIDE = 'NVIDIA_TF32_OVERRIDE';

/** Turns TF32 off where the user has not said otherwise. On the main thread, before CUDA starts: a thread's environment is a copy. */
export function turnOffTf32(env: NodeJS.ProcessEnv = process.env): void {
  env[TF32_OVERRIDE] ??= '0';
}
