/** Where the control plane that test/k8s/control-plane builds lies, outside the tree. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Folder with etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl, once they are built. */
export const kubeBinaries =
  process.env.KUBE_LOCAL_BIN ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'onebyte-kube/bin');

export const kubectl = join(kubeBinaries, 'kubectl');
