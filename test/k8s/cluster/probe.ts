/** Prints the health status that `host:port` gives for a service. Arguments: address, service. */
import { checkHealth } from '../../support/health-client.ts';

process.stdout.write(await checkHealth(process.argv[2]!, process.argv[3]!));
