/** Lets WebGPU find SwiftShader, the software adapter that comes with Debian's chromium, where that is installed. */
import { existsSync } from 'node:fs';

export const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

/** Call before the first use of WebGPU. A machine that names its own Vulkan drivers keeps them. */
export function useSoftwareAdapter(): void {
  if (!existsSync(SWIFTSHADER)) return;
  process.env.VK_ICD_FILENAMES ??= SWIFTSHADER;
  process.env.XDG_RUNTIME_DIR ??= '/tmp';
}
