# One image, one binary: every service is `mall` with another command.
# Both stages are Debian 13: a binary that was linked on a newer one asks for a glibc that the runtime does not have.
# Tags, not digests: a build gets Debian's security updates. For builds that repeat to the byte, set RUST and RUNTIME to
# names with @sha256:….
ARG RUST=rust:1.95-slim-trixie
ARG RUNTIME=gcr.io/distroless/cc-debian13:nonroot

FROM ${RUST} AS build
# Mirrors of deb.debian.org and of crates.io, for networks that reach neither.
ARG APT_MIRROR=
ARG CRATES_MIRROR=
# librdkafka is built by configure and make. cargo-auditable writes into the binary which crates it is made of, for trivy,
# syft and cargo audit.
RUN if [ -n "$APT_MIRROR" ]; then \
      find /etc/apt -name '*.sources' -o -name '*.list' | xargs sed -i "s|https\?://deb.debian.org|${APT_MIRROR%/}|"; \
    fi \
 && apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends cargo-auditable g++ libssl-dev libzstd-dev make pkg-config \
 && rm -rf /var/lib/apt/lists/*
RUN if [ -n "$CRATES_MIRROR" ]; then \
      printf '[source.crates-io]\nreplace-with = "mirror"\n[source.mirror]\nregistry = "%s"\n' "$CRATES_MIRROR" >>"$CARGO_HOME/config.toml"; \
    fi
WORKDIR /src
# Debian's OpenSSL, statically: to compile OpenSSL takes as long as all the rest. What the runtime image says of its
# packages is where scanners look for it.
ENV OPENSSL_NO_VENDOR=1 OPENSSL_STATIC=1 OPENSSL_LIBS=ssl:crypto:zstd OPENSSL_INCLUDE_DIR=/usr/include
RUN dpkg-query --status libssl-dev >/libssl-dev
# The profile of Cargo.toml would link for a minute after each changed line. Two units are a little larger, and use two
# cores.
ENV CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=2
COPY . .
# The caches outlive the build, so that a changed line compiles our crates only. Cargo judges by modification times,
# which say nothing where two checkouts share a cache: only what differs from the last successful build gets a new one.
# The list of that build is emptied first: a build that fails or is interrupted has already changed the cache.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=mall-target-trixie,target=/src/target,sharing=locked \
    set -eu; \
    export OPENSSL_LIB_DIR=/usr/lib/$(gcc -print-multiarch); \
    touch target/sources; \
    find . -path ./target -prune -o -type f -exec sha256sum {} + >/tmp/sources; \
    cut -c67- /tmp/sources | xargs touch -d @0; \
    { grep -vxFf target/sources /tmp/sources || true; } | cut -c67- | xargs -r touch; \
    : >target/sources; \
    cargo auditable build --release --locked --bin mall; \
    cp /tmp/sources target/sources; \
    cp target/release/mall /mall

FROM ${RUNTIME}
COPY --from=build /libssl-dev /var/lib/dpkg/status.d/libssl-dev
COPY --from=build /mall /mall
USER 65532:65532
EXPOSE 80
ENTRYPOINT ["/mall"]
ARG REVISION=
LABEL org.opencontainers.image.title="mall" \
      org.opencontainers.image.description="Order services with an identity on Kafka, one partition each" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}"
