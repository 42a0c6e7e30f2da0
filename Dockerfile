# syntax=docker/dockerfile:1
#
#   docker build -t ringwire .
#   docker run --rm --network host \
#       -e RINGWIRE_SECRET=... -e RINGWIRE_PUBLIC_IP=203.0.113.7 \
#       -v ringwire-data:/data ringwire
#
# Host networking: SIP and RTP carry addresses and ports in their messages, and
# publishing ten thousand RTP ports one by one is slow. Behind a published range
# set RINGWIRE_RTP_PORTS to it (host and container ports must be the same) and
# RINGWIRE_PUBLIC_IP to the host's address.
#
# io_uring: the default seccomp profile of Docker and podman refuses it; the
# gateway then falls back to recvmmsg/sendmmsg by itself and says so at start.
# docs/BARE-METAL.md says how to allow it. Many calls need many sockets:
#       --ulimit nofile=1048576
# `docker run --rm --network host ringwire doctor` says what else is missing.

FROM rust:1.95-bookworm AS build
# cmake builds libopus.
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin ringwire \
    && cp target/release/ringwire /usr/local/bin/ringwire

FROM debian:bookworm-slim
# Certificates: hooks are posted to https URLs. OpenSSL: DTLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home ringwire \
    && install -d -o ringwire -g ringwire -m 0750 /data
COPY --from=build /usr/local/bin/ringwire /usr/local/bin/ringwire
USER ringwire
ENV RINGWIRE_DATA_DIR=/data
VOLUME /data
EXPOSE 8008/tcp 5060/udp 7882/udp 30000-40000/udp
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/bin/ringwire", "healthy"]
# SIGTERM drains: no new calls, then BYE to those left (calls.drain_timeout_s).
# Give it time: docker stop --time 40.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/ringwire"]
