# One image, one binary: every service is `mall` with another command.
# Both stages are Debian 12: a binary that was linked on a newer one asks for a glibc that the runtime does not have.
ARG REGISTRY=
ARG RUST=1.95
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

FROM ${REGISTRY}rust:${RUST}-slim-bookworm AS build
# librdkafka is built by configure and make, OpenSSL by perl.
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends g++ make perl \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The profile of Cargo.toml would link for a minute after each changed line. Two units are a little larger, and use two
# cores.
ENV CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=2
COPY . .
# The caches outlive the build, so that a changed line compiles our crates only. Cargo judges by modification times,
# which say nothing where two checkouts share a cache: only what differs from the last successful build gets a new one.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=mall-target,target=/src/target,sharing=locked \
    set -eu; \
    touch target/sources; \
    find . -path ./target -prune -o -type f -exec sha256sum {} + >/tmp/sources; \
    cut -c67- /tmp/sources | xargs touch -d @0; \
    { grep -vxFf target/sources /tmp/sources || true; } | cut -c67- | xargs -r touch; \
    cargo build --release --locked --bin mall; \
    cp /tmp/sources target/sources; \
    cp target/release/mall /mall

FROM ${RUNTIME}
COPY --from=build /mall /mall
USER 65532:65532
EXPOSE 80
ENTRYPOINT ["/mall"]
ARG REVISION=
LABEL org.opencontainers.image.title="mall" \
      org.opencontainers.image.description="Order services with an identity on Kafka, one partition each" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}"
