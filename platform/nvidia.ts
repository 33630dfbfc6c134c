/** NVIDIA GPUs of this machine: how many this process may use, and how they multiply. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';

/**
 * The device files of the driver, `/dev/nvidia0`, `/dev/nvidia1` …, or on WSL2, which has none, those that `nvidia-smi` lists; of these what
 * CUDA_VISIBLE_DEVICES leaves, where it is set. None where there is no driver.
 */
export function nvidiaGpus(env: NodeJS.ProcessEnv = process.env, devices = '/dev'): number {
  const files = existsSync(devices) ? readdirSync(devices) : [];
  const gpus = files.includes('dxg') ? listedGpus(env) : files.filter((name) => /^nvidia\d+$/.test(name)).length;
  const visible = env.CUDA_VISIBLE_DEVICES?.split(',').map((name) => name.trim());
  if (visible === undefined) return gpus;
  // CUDA's list ends at the first entry that names no GPU: by its number, or by a UUID, which is not looked up.
  const invalid = visible.findIndex((name) => !(/^\d+$/.test(name) ? Number(name) < gpus : /^(GPU|MIG)-/.test(name)));
  return Math.min(gpus, invalid < 0 ? visible.length : invalid);
}

/** A line of `nvidia-smi -L` is `GPU 0: NVIDIA H100 …`. */
const listedGpus = (env: NodeJS.ProcessEnv): number => smi(['-L'], env).match(/^GPU \d+:/gm)?.length ?? 0;

/** A driver that does not answer for so long keeps no worker from starting. */
const SMI_MS = 10_000;

/** What the driver's `nvidia-smi` prints; nothing where it is not there. */
const smi = (args: readonly string[], env: NodeJS.ProcessEnv): string =>
  spawnSync('nvidia-smi', args, { encoding: 'utf8', env, timeout: SMI_MS }).stdout ?? '';

/** Bytes of the memory of GPU `device`, counted as after `prepareCuda`; undefined where the driver's `nvidia-smi` does not say. */
export function nvidiaMemory(device: number, env: NodeJS.ProcessEnv = process.env): number | undefined {
  const name = env.CUDA_VISIBLE_DEVICES?.split(',')[device]?.trim() ?? String(device);
  const query = ['--query-gpu=memory.total', '--format=csv,noheader,nounits', '-i', name];
  const mebibytes = Number.parseInt(smi(query, env), 10);
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
