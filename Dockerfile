# syntax=docker/dockerfile:1
# The image of wva: one program, no shell, no root.
#   docker build -t REGISTRY/wva:0.1.0 .
#   docker run --rm REGISTRY/wva:0.1.0 --version
# Both stages are of the same Debian release, so that the program finds the C library that it was linked against. Linking that
# library in instead would break name lookups, which it loads at run time.

FROM rust:1.95-bookworm AS builder
WORKDIR /source
COPY . .
# Caches survive between builds on one machine, which is why the program is copied out of the target folder within the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target,sharing=locked \
    cargo build --profile dist --locked --package wva --bin wva \
    && install -D --mode=0755 target/dist/wva /out/wva

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="wva" \
      org.opencontainers.image.description="Keeps a fleet of LLM model servers at the cheapest size that still meets its latency objectives" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /out/wva /usr/local/bin/wva
COPY LICENSE /licenses/LICENSE
# nonroot, as a number: kubelets cannot tell from a name that it is not root.
USER 65532:65532
# Health and metrics; external metrics; the KEDA scaler.
EXPOSE 8080 6443 9443
ENTRYPOINT ["/usr/local/bin/wva"]
CMD ["controller"]
