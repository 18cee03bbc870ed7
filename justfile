# The mall's recipes. `just` lists them. All but those of the group `code` need Docker, bash and curl only.

set shell := ["bash", "-euo", "pipefail", "-c"]

local := "k8s/overlays/local"

[private]
default:
    @{{ just_executable() }} --justfile {{ justfile() }} --list --unsorted

# Build the image, start everything, wait for it
[group('mall')]
[no-exit-message]
up:
    @.just/up.sh

# Stop everything and forget its data
[group('mall')]
[no-exit-message]
down:
    @.just/down.sh

# What runs, whether it is ready, and what waits
[group('mall')]
[no-exit-message]
status:
    @.just/status.sh

# Follow logs: just logs order-1 repository-1
[group('mall')]
[no-exit-message]
logs *services:
    @docker compose logs -f --tail 100 {{ services }}

# Look for what keeps the mall from starting here
[group('mall')]
[no-exit-message]
doctor:
    @.just/doctor.sh

# Follow three orders to each region through every log
[group('try')]
[no-exit-message]
test:
    @.just/test.sh

# Order in one region: just order 1
[group('try')]
[no-exit-message]
order region:
    @.just/order.sh {{ quote(region) }}

# What became of an order: just find ID
[group('try')]
[no-exit-message]
find id:
    @.just/find.sh {{ quote(id) }}

# Kill a container, as a crash would: just kill order-1
[group('try')]
[no-exit-message]
kill name:
    @.just/container.sh kill {{ quote(name) }}

# Start what was killed
[group('try')]
[no-exit-message]
revive name:
    @.just/container.sh revive {{ quote(name) }}

# Freeze one: connections stay open, nothing answers
[group('try')]
[no-exit-message]
pause name:
    @.just/container.sh pause {{ quote(name) }}

# Let it go on
[group('try')]
[no-exit-message]
resume name:
    @.just/container.sh resume {{ quote(name) }}

# Break it under load: just drill kill-order
[group('prove')]
[no-exit-message]
drill *names:
    @.just/lab.sh drill {{ names }}

# Order at a steady rate: just load --rate 1000
[group('prove')]
[no-exit-message]
load *options:
    @.just/lab.sh load {{ options }}

# Has it kept its promises? Reads every record
[group('prove')]
[no-exit-message]
audit *options:
    @.just/lab.sh audit {{ options }}

# Run one replica on this machine: just attach order-1
[group('code')]
[no-exit-message]
attach name port='':
    @.just/attach.sh {{ quote(name) }} {{ port }}

# Put it back into its container
[group('code')]
[no-exit-message]
detach name:
    @.just/detach.sh {{ quote(name) }}

# Run the mall in one process, without Docker
[group('code')]
run *args:
    cargo run --release --bin mall -- {{ args }}

# Build, then restart our services or some
[group('code')]
[no-exit-message]
reload *services:
    @.just/reload.sh {{ services }}

# Format, lints, tests
[group('code')]
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo test --workspace --locked

# All that continuous integration does
[group('code')]
[no-exit-message]
ci:
    .ci/run

# Print the manifests of an overlay
[group('k8s')]
[no-exit-message]
k8s-render dir='k8s':
    @kubectl kustomize {{ dir }}

# Hold every overlay to the schemas of Kubernetes
[group('k8s')]
[no-exit-message]
k8s-validate:
    @.just/k8s.sh validate

# Start the mall in kubectl's cluster, and wait
[group('k8s')]
[no-exit-message]
k8s-apply dir=local:
    @.just/k8s.sh apply {{ dir }}

# What runs where, and what is kept
[group('k8s')]
[no-exit-message]
k8s-status:
    @.just/k8s.sh status

# just test, in the cluster
[group('k8s')]
[no-exit-message]
k8s-test:
    @.just/test.sh k8s

# Stop it; the namespace and the volumes stay
[group('k8s')]
[no-exit-message]
k8s-delete dir=local:
    @.just/k8s.sh delete {{ dir }}
