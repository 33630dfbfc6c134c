/** What a container finds in it: environment and volumes. */
import { chmodSync, chownSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Replaces $(NAME) by its value in `env`; $$ is a dollar sign. */
export const expand = (text, env) =>
  text.replace(/\$(\$|\(([^)]+)\))/g, (whole, dollar, name) =>
    dollar === '$' ? '$' : Object.hasOwn(env, name) ? env[name] : whole,
  );

/** The environment of a container. Rejects while a Secret or ConfigMap is missing. */
export async function environmentOf(api, pod, container, image) {
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOSTNAME: pod.hostname };
  Object.assign(env, image.env);
  for (const { name, value, valueFrom } of container.env ?? []) {
    if (!valueFrom) env[name] = expand(value ?? '', env);
    else if (valueFrom.fieldRef) env[name] = fieldOf(pod, valueFrom.fieldRef.fieldPath);
    else {
      const { secretKeyRef, configMapKeyRef } = valueFrom;
      const files = secretKeyRef
        ? await filesOf(api, pod, 'secrets', secretKeyRef.name)
        : await filesOf(api, pod, 'configmaps', configMapKeyRef.name);
      const { key } = secretKeyRef ?? configMapKeyRef;
      if (!files[key]) throw new Error(`${name}: no key ${key}`);
      env[name] = files[key].toString();
    }
  }
  return env;
}

function fieldOf({ object, address }, path) {
  const { metadata } = object;
  const mapped = path.match(/^metadata\.(labels|annotations)\['(.+)'\]$/);
  if (mapped) return metadata[mapped[1]]?.[mapped[2]] ?? '';
  if (path === 'status.podIP') return address;
  const known = {
    'metadata.name': metadata.name,
    'metadata.namespace': metadata.namespace,
    'metadata.uid': metadata.uid,
  };
  if (!Object.hasOwn(known, path)) throw new Error(`field ${path} is not supported`);
  return known[path];
}

/** Keys of a Secret or ConfigMap as buffers. */
async function filesOf(api, { object }, kind, name) {
  const { data = {} } = await api.get(`/api/v1/namespaces/${object.metadata.namespace}/${kind}/${name}`);
  const encoding = kind === 'secrets' ? 'base64' : 'utf8';
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, encoding)]));
}

/** Makes the pod's volumes. Rejects while what they come from is missing. @returns {path, readOnly} by name */
export async function makeVolumes(api, pod) {
  const { volumes = [], securityContext = {} } = pod.object.spec;
  const made = {};
  for (const volume of volumes) {
    const directory = join(pod.directory, 'volumes', volume.name);
    mkdirSync(directory, { recursive: true });
    made[volume.name] = await makeVolume(api, pod, volume, directory, securityContext.fsGroup);
  }
  return made;
}

async function makeVolume(api, pod, { name, emptyDir, configMap, secret, persistentVolumeClaim }, directory, fsGroup) {
  const own = (path, mode) => {
    if (fsGroup !== undefined) chownSync(path, statSync(path).uid, fsGroup);
    chmodSync(path, mode);
  };
  if (emptyDir) {
    own(directory, 0o2777);
    return { path: directory, readOnly: false };
  }
  if (persistentVolumeClaim) {
    const { claimName, readOnly = false } = persistentVolumeClaim;
    const path = await pathOfClaim(api, pod.object.metadata.namespace, claimName);
    mkdirSync(path, { recursive: true });
    own(path, 0o2775);
    return { path, readOnly };
  }
  const source = configMap ?? secret;
  if (!source) throw new Error(`volume ${name}: its kind is not supported`);
  const files = configMap
    ? await filesOf(api, pod, 'configmaps', configMap.name)
    : await filesOf(api, pod, 'secrets', secret.secretName);
  for (const { key, path } of source.items ?? Object.keys(files).map((each) => ({ key: each, path: each }))) {
    if (!files[key]) throw new Error(`volume ${name}: no key ${key}`);
    const file = join(directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, files[key]);
    own(file, source.defaultMode ?? 0o644);
  }
  return { path: directory, readOnly: true };
}

/** Where the bound volume of a claim lies on this machine. */
async function pathOfClaim(api, namespace, claim) {
  const { spec } = await api.get(`/api/v1/namespaces/${namespace}/persistentvolumeclaims/${claim}`);
  if (!spec.volumeName) throw new Error(`claim ${claim} is not bound`);
  return (await api.get(`/api/v1/persistentvolumes/${spec.volumeName}`)).spec.hostPath.path;
}
