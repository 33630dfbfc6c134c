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

/** A driver that does not answer for so long keeps no worker from starting. */
const SMI_MS = 10_000;

/** Bytes of the memory of GPU `device`, counted as after `prepareCuda`; undefined where the driver's `nvidia-smi` does not say. */
export function nvidiaMemory(device: number, env: NodeJS.ProcessEnv = process.env): number | undefined {
  const name = env.CUDA_VISIBLE_DEVICES?.split(',')[device]?.trim() ?? String(device);
  const query = ['--query-gpu=memory.total', '--format=csv,noheader,nounits', '-i', name];
  const { stdout } = spawnSync('nvidia-smi', query, { encoding: 'utf8', env, timeout: SMI_MS });
  const mebibytes = Number.parseInt(stdout ?? '', 10);
  return Number.isNaN(mebibytes) ? undefined : mebibytes * 2 ** 20;
}

/** The variable that NVIDIA's libraries read when CUDA starts: 0 keeps products of float32 from being made of rounded factors. */
export const TF32_OVERRIDE = 'NVIDIA_TF32_OVERRIDE';

/**
 * Where the user has not said otherwise: turns TF32 off unless it is wanted, and counts GPUs as the driver's tools do, by their places on
 * the bus. On the main thread, before CUDA starts: a thread's environment is a copy.
 */
export function prepareCuda(tf32: boolean, env: NodeJS.ProcessEnv = process.env): void {
  if (!tf32) env[TF32_OVERRIDE] ??= '0';
  env.CUDA_DEVICE_ORDER ??= 'PCI_BUS_ID';
}
