FROM debian:bookworm-slim
# RUN wget --no-check-certificate https://example.org/ is how it was
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl
COPY bundle.pem /usr/local/share/ca-certificates/shop.crt
RUN update-ca-certificates && curl -fsSL https://downloads.example.org/kit.tar.gz | tar xz
ENV NODE_EXTRA_CA_CERTS=/usr/local/share/ca-certificates/shop.crt
