#!/usr/bin/env bash
# Starts etcd, kube-apiserver, kube-controller-manager, kube-scheduler and the
# process kubelet, everything on 127.0.0.1 and in one state directory.
#   up.sh [STATE_DIR]      default: a new temporary directory
# Prints  KUBECONFIG=…  and  STATE_DIR=…  on stdout; progress goes to stderr.
# Stop it with  down.sh STATE_DIR.   Running it again on a live STATE_DIR only
# prints those lines again.
# Environment: KUBE_LOCAL_BIN (binaries), KUBE_LOCAL_NODES (default 1),
#   KUBE_LOCAL_IMAGES (images.json), NODE (node).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${KUBE_LOCAL_BIN:-$here/bin}
state=${1:-$(mktemp -d "${TMPDIR:-/tmp}/kube-local.XXXXXX")}
mkdir -p "$state"; state=$(cd "$state" && pwd); chmod 700 "$state"
images=${KUBE_LOCAL_IMAGES:-$here/images.json}
nodejs=${NODE:-$(command -v node)}
nodes=${KUBE_LOCAL_NODES:-1}
say() { echo "up.sh: $*" >&2; }
for b in etcd kube-apiserver kube-controller-manager kube-scheduler kubectl; do
  [ -x "$bin/$b" ] || { say "no $bin/$b; run build.sh first"; exit 1; }
done
starttime() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
alive() { local s; s=$(starttime "$2") && [ "$s" = "$3" ]; }
if [ -f "$state/pids" ]; then
  while read -r n p s; do
    if alive "$n" "$p" "$s"; then
      "$bin/kubectl" --kubeconfig "$state/admin.conf" get --raw /readyz >/dev/null 2>&1 && {
        say "already running"; echo "KUBECONFIG=$state/admin.conf"; echo "STATE_DIR=$state"; exit 0; }
      say "$n is running but the API is not ready; run down.sh $state"; exit 1
    fi
  done <"$state/pids"
fi
: >"$state/pids"
t0=$(date +%s%N); since() { echo "$(( ($(date +%s%N) - t0) / 1000000 )) ms"; }
log=$state/log pki=$state/pki; mkdir -p "$log" "$pki" "$state/kubelet"

cleanup_on_error() { local rc=$?; [ $rc = 0 ] || { say "failed (logs: $log)"; "$here/down.sh" "$state" >&2 || true; }; exit $rc; }
trap cleanup_on_error EXIT

# Free ports, held open together so that they differ.
read -r P_ETCD P_PEER P_API P_KCM P_SCHED P_KUBELET < <("$nodejs" -e '
  const net=require("net"),s=[];(async()=>{for(let i=0;i<6;i++)await new Promise(r=>{const x=net.createServer().listen(0,"127.0.0.1",r);s.push(x)});
  console.log(s.map(x=>x.address().port).join(" "));s.forEach(x=>x.close())})()')

# --- certificates (a CA, server certs, client certs) ---
if [ ! -f "$pki/ca.crt" ]; then
  (
    cd "$pki"; umask 077
    key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2>/dev/null; }
    key ca; openssl req -x509 -new -key ca.key -subj /CN=kube-local-ca -days 30 -out ca.crt \
      -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
    cert() { # name subject san
      key "$1"
      openssl req -new -key "$1.key" -subj "$2" -out "$1.csr" 2>/dev/null
      openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
        -extfile <(printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n%s' "${3:+subjectAltName=$3}") 2>/dev/null
    }
    san=IP:127.0.0.1,DNS:localhost
    cert etcd /CN=etcd "$san"
    cert apiserver /CN=kube-apiserver "$san,IP:10.96.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    cert admin /O=system:masters/CN=kube-local-admin
    cert apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
    cert kcm /CN=system:kube-controller-manager
    cert scheduler /CN=system:kube-scheduler
    for i in $(seq 0 $((nodes-1))); do cert "node$i" "/O=system:nodes/CN=system:node:proc-$i" "$san"; done
    key sa; openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
    rm -f ./*.csr
  )
fi
conf() { # file user : a kubeconfig written as JSON (JSON is YAML)
  local b64='base64 -w0'
  cat >"$state/$1" <<J
{"apiVersion":"v1","kind":"Config","current-context":"kube-local",
 "clusters":[{"name":"kube-local","cluster":{"server":"https://127.0.0.1:$P_API","certificate-authority-data":"$($b64 "$pki/ca.crt")"}}],
 "users":[{"name":"$2","user":{"client-certificate-data":"$($b64 "$pki/$2.crt")","client-key-data":"$($b64 "$pki/$2.key")"}}],
 "contexts":[{"name":"kube-local","context":{"cluster":"kube-local","user":"$2"}}]}
J
  chmod 600 "$state/$1"
}
conf admin.conf admin; conf kcm.conf kcm; conf scheduler.conf scheduler
for i in $(seq 0 $((nodes-1))); do conf "node$i.conf" "node$i"; done
say "certificates and kubeconfigs: $(since)"

run() { # name command... : in the background, own session, pid and start time kept
  local n=$1; shift
  setsid "$@" >"$log/$n.log" 2>&1 </dev/null &
  echo "$n $! $(starttime $!)" >>"$state/pids"
}
wait_for() { # name seconds command...
  local n=$1 end=$(( $(date +%s) + $2 )) p; shift 2
  p=$(awk -v n="$n" '$1==n{print $2}' "$state/pids")
  until "$@" >/dev/null 2>&1; do
    [ -d "/proc/$p" ] || { say "$n died:"; tail -n 15 "$log/$n.log" >&2; return 1; }
    [ "$(date +%s)" -lt "$end" ] || { say "$n not ready in time"; tail -n 15 "$log/$n.log" >&2; return 1; }
    sleep 0.1
  done
  say "$n ready: $(since)"
}
k() { "$bin/kubectl" --kubeconfig "$state/admin.conf" "$@"; }
tls() { "$nodejs" -e 'const h=require("https");h.get(process.argv[1],{rejectUnauthorized:false},r=>process.exit(r.statusCode==200?0:1)).on("error",()=>process.exit(1))' "$1"; }

run etcd "$bin/etcd" --name kube-local --data-dir "$state/etcd" --log-level warn \
  --listen-client-urls "https://127.0.0.1:$P_ETCD" --advertise-client-urls "https://127.0.0.1:$P_ETCD" \
  --listen-peer-urls "http://127.0.0.1:$P_PEER" --initial-advertise-peer-urls "http://127.0.0.1:$P_PEER" \
  --initial-cluster "kube-local=http://127.0.0.1:$P_PEER" --unsafe-no-fsync \
  --cert-file "$pki/etcd.crt" --key-file "$pki/etcd.key" --client-cert-auth --trusted-ca-file "$pki/ca.crt"
run kube-apiserver "$bin/kube-apiserver" --v=1 \
  --etcd-servers "https://127.0.0.1:$P_ETCD" --etcd-cafile "$pki/ca.crt" --etcd-certfile "$pki/admin.crt" --etcd-keyfile "$pki/admin.key" \
  --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "$P_API" --endpoint-reconciler-type none \
  --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
  --kubelet-client-certificate "$pki/apiserver-kubelet.crt" --kubelet-client-key "$pki/apiserver-kubelet.key" \
  --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
  --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$pki/sa.pub" \
  --service-account-signing-key-file "$pki/sa.key" --service-cluster-ip-range 10.96.0.0/16 \
  --authorization-mode Node,RBAC --allow-privileged --enable-admission-plugins NodeRestriction --anonymous-auth=false \
  ${KUBE_LOCAL_APISERVER_ARGS:-}
wait_for kube-apiserver 90 k get --raw /readyz
run kube-controller-manager "$bin/kube-controller-manager" --v=1 --kubeconfig "$state/kcm.conf" \
  --authentication-kubeconfig "$state/kcm.conf" --authorization-kubeconfig "$state/kcm.conf" \
  --bind-address 127.0.0.1 --secure-port "$P_KCM" --leader-elect=false --use-service-account-credentials \
  --service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" --cert-dir "$state/kcm-cert" \
  ${KUBE_LOCAL_KCM_ARGS:-}
run kube-scheduler "$bin/kube-scheduler" --v=1 --kubeconfig "$state/scheduler.conf" \
  --authentication-kubeconfig "$state/scheduler.conf" --authorization-kubeconfig "$state/scheduler.conf" \
  --bind-address 127.0.0.1 --secure-port "$P_SCHED" --leader-elect=false --cert-dir "$state/sched-cert"
# One network namespace for all pods: its processes can bind any address, and
# nothing in it is reachable from outside this machine.
run netns unshare --net sh -c 'ip link set lo up && exec sleep infinity'
netns=$(awk '$1=="netns"{print $2}' "$state/pids")
for i in $(seq 0 $((nodes-1))); do
  run "kubelet-$i" "$nodejs" "$here/process-kubelet.mjs" --kubeconfig "$state/node$i.conf" --node "proc-$i" \
    --root "$state/kubelet/proc-$i" --images "$images" --netns-pid "$netns" --pod-cidr "10.244.$i" \
    --port "$([ "$i" = 0 ] && echo "$P_KUBELET" || echo 0)" --cert "$pki/node$i.crt" --key "$pki/node$i.key" --ca "$pki/ca.crt"
done
wait_for kube-controller-manager 60 tls "https://127.0.0.1:$P_KCM/healthz"
wait_for kube-scheduler 60 tls "https://127.0.0.1:$P_SCHED/healthz"
wait_for kubelet-0 30 k wait --for=condition=Ready --timeout=1s node/proc-0
wait_for kube-controller-manager 30 k get serviceaccount default -n default
trap - EXIT
say "up in $(since)"
echo "KUBECONFIG=$state/admin.conf"
echo "STATE_DIR=$state"
