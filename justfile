# The mall's recipes. `just` lists them. All but those of the group `code` need Docker, bash and curl only.

set shell := ["bash", "-euo", "pipefail", "-c"]

ours := "gateway order-0 order-1 order-2 repository-0 repository-1 repository-2 statistics"

[private]
default:
    @{{ just_executable() }} --justfile {{ justfile() }} --list --unsorted

# Build the image, start everything, wait until it is healthy
[group('mall')]
[no-exit-message]
up:
    @.just/up.sh

# Stop everything and forget its data
[group('mall')]
down:
    docker compose down -v --remove-orphans

# A table: state, health, memory, and the orders that wait
[group('mall')]
[no-exit-message]
status:
    @.just/status.sh

# Follow the logs, of some services or of all: just logs order-1 repository-1
[group('mall')]
logs *services:
    docker compose logs -f --tail 100 {{ services }}

# Look for what keeps the mall from starting on this machine
[group('mall')]
[no-exit-message]
doctor:
    @.just/doctor.sh

# Three orders to each region, each followed through every log
[group('try')]
[no-exit-message]
test:
    @.just/test.sh

# Order in one region: just order 1
[group('try')]
order region:
    curl -sS -w '\nstatus %{http_code}\n' -d 'partition={{ region }}' "http://$(docker compose port gateway 80)/submit-order"

# Kill one container, as a crash would: just kill order-1
[group('try')]
kill name:
    docker compose kill -s KILL {{ name }}
    @echo 'Back again: just revive {{ name }}'

# Start what was killed
[group('try')]
revive name:
    docker start "$(docker compose ps -aq {{ name }})" >/dev/null

# Freeze one container: its connections stay open, and nothing answers
[group('try')]
pause name:
    docker compose pause {{ name }}
    @echo 'On again: just resume {{ name }}'

# Let it go on
[group('try')]
resume name:
    docker compose unpause {{ name }}

# Run the mall in one process, without Docker
[group('code')]
run *args:
    cargo run --release --bin mall -- {{ args }}

# Build the image anew and restart our services, or some: just reload gateway order
[group('code')]
reload *services=ours:
    docker compose build topics
    docker compose up -d --no-build --no-deps --wait --wait-timeout 60 {{ replace_regex(services + ' ', '\b(order|repository) ', '$1-0 $1-1 $1-2 ') }}

# Format, lints, tests
[group('code')]
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo test --workspace --locked

# All that continuous integration does
[group('code')]
ci:
    .ci/run

# Print the manifests: just k8s-render k8s/overlays/production
[group('k8s')]
k8s-render directory='k8s':
    kubectl kustomize {{ directory }}

# Hold every overlay, with every component, to the schemas of Kubernetes; needs no cluster
[group('k8s')]
[no-exit-message]
k8s-validate:
    #!/usr/bin/env bash
    set -euo pipefail
    command -v kubernetes-validate >/dev/null || { echo 'Install the validator: pip install kubernetes-validate' >&2; exit 1; }
    for overlay in . overlays/local overlays/production; do
      work=target/k8s-validate
      mkdir -p $work
      components=$(for name in traefik gateway-api node-selector autoscaling; do echo "../../k8s/components/$name,"; done)
      echo "{namespace: kafka-demo, resources: [../../k8s/$overlay], components: [$components]}" >$work/kustomization.yaml
      kubectl kustomize $work >$work/rendered.yaml
      # It knows the objects of Kubernetes, not those of Traefik and of the Gateway API.
      kubernetes-validate --strict --quiet --no-warn $work/rendered.yaml
      echo "✅ k8s/$overlay, with every component: $(grep -c '^kind:' $work/rendered.yaml) objects"
    done

# Start the mall in the cluster that kubectl is set to, and wait: just k8s-apply k8s
[group('k8s')]
k8s-apply directory='k8s/overlays/local':
    kubectl apply -k {{ directory }}
    for workload in $(kubectl -n kafka-demo get statefulsets,deployments -o name); do kubectl -n kafka-demo rollout status $workload --timeout 300s; done
    @echo 'Next: just k8s-test'

# What runs where, and what is kept
[group('k8s')]
k8s-status:
    kubectl -n kafka-demo get deployments,statefulsets,persistentvolumeclaims
    kubectl -n kafka-demo get pods -o wide

# Three orders to each region, each followed through every log of the cluster
[group('k8s')]
[no-exit-message]
k8s-test:
    @.just/test.sh k8s

# Stop the mall in the cluster; the namespace stays, with the volumes
[group('k8s')]
k8s-delete directory='k8s/overlays/local':
    kubectl delete -k {{ directory }} -l 'app.kubernetes.io/component!=namespace' --ignore-not-found
    kubectl -n kafka-demo delete configmaps -l app.kubernetes.io/part-of=mall # of earlier settings
    @echo 'The data is still there: kubectl delete namespace kafka-demo deletes it.'
