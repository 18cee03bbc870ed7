#!/usr/bin/env bash
# The mall in the cluster that kubectl is set to: k8s.sh apply DIRECTORY | delete DIRECTORY | status | validate
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

namespace=kafka-demo
command -v kubectl >/dev/null || fail "There is no \`kubectl\`." "https://kubernetes.io/docs/tasks/tools"
need_cluster() {
  kubectl version >/dev/null 2>&1 ||
    fail "The cluster of kubectl's context \"$(kubectl config current-context 2>/dev/null || echo none)\" does not answer." \
      "kubectl config get-contexts lists those that there are."
}

apply() {
  need_cluster
  kubectl apply -k k8s/namespace
  kubectl apply -k "$1"
  local workload
  for workload in $(kubectl -n $namespace get statefulsets,deployments -o name); do
    kubectl -n $namespace rollout status "$workload" --timeout 300s ||
      fail "$workload is not ready within 300 s." "just k8s-status" "kubectl -n $namespace describe $workload"
  done
  echo 'Next: just k8s-test'
}

delete() {
  need_cluster
  kubectl delete -k "$1" --ignore-not-found
  kubectl -n $namespace delete configmaps -l app.kubernetes.io/part-of=mall # of earlier settings
  echo "The data is still there: kubectl delete namespace $namespace"
  echo "deletes it."
}

status() {
  need_cluster
  kubectl -n $namespace get deployments,statefulsets,persistentvolumeclaims
  kubectl -n $namespace get pods -o wide
}

# Needs no cluster.
validate() {
  command -v kubernetes-validate >/dev/null || fail "There is no validator." "pip install kubernetes-validate"
  local overlay work=target/k8s-validate components
  for overlay in namespace . overlays/local overlays/production; do
    mkdir -p $work
    components=$(for name in traefik gateway-api node-selector autoscaling monitoring; do echo "../../k8s/components/$name,"; done)
    [[ $overlay != namespace ]] || components=
    echo "{namespace: $namespace, resources: [../../k8s/$overlay], components: [$components]}" >$work/kustomization.yaml
    kubectl kustomize $work >$work/rendered.yaml
    # It knows the objects of Kubernetes, not those of Traefik, of the Gateway API and of Prometheus.
    kubernetes-validate --strict --quiet --no-warn $work/rendered.yaml
    ok "k8s/$overlay, with every component: $(grep -c '^kind:' $work/rendered.yaml) objects"
  done
}

"$@"
