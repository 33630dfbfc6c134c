/** What applying a gradient costs in PyTorch's MeZO: torch.normal with a seed, then add_. */
import { spawnSync } from 'node:child_process';

const SCRIPT = `
import time, torch
theta = torch.zeros(1_000_000)
def apply(seed):
    torch.manual_seed(seed)
    theta.add_(torch.normal(mean=0.0, std=1.0, size=theta.shape), alpha=-1e-6)
rates = []
for seed in range(12):
    start = time.perf_counter()
    apply(seed)
    rates.append(theta.numel() / (time.perf_counter() - start))
print(sorted(rates)[6])
`;

/** Elements per second of one gradient on this machine (median of 12, d = 1,000,000); undefined without python3 and torch. */
export function torchNormalRate(): number | undefined {
  const { status, stdout } = spawnSync('python3', ['-c', SCRIPT], { encoding: 'utf8' });
  return status === 0 ? Number(stdout) : undefined;
}
